"""Metrics of scored pairs that stand alone: correlation with a similarity, or a decision with a threshold."""

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import expit
from scipy.stats import rankdata
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import precision_recall_curve

Numbers = npt.NDArray[np.floating]


def correlations(labels: Numbers, predicted: Numbers) -> dict[str, float]:
    """Return Pearson's and Spearman's correlation of two arrays of shape (pairs,); NaN where one is constant."""
    return {"pearson": _pearson(labels, predicted), "spearman": _pearson(rankdata(labels), rankdata(predicted))}


def _pearson(a: Numbers, b: Numbers) -> float:
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    a, b = a - a.mean(), b - b.mean()
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))


def average_precision(positive: npt.NDArray[np.bool_], scores: Numbers) -> float:
    """Return the mean, over the positives, of the precision at the score of each; NaN where there is none.

    Equal scores share the precision after the last of them. It is measured on thousands of resamples, for which
    scikit-learn's checks take too long.
    """
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    last = np.append(np.flatnonzero(ranked[1:] != ranked[:-1]), len(ranked) - 1)
    found = np.cumsum(positive[order])[last]
    if not found[-1]:
        return float("nan")
    return float((np.diff(found, prepend=0) * found / (last + 1)).sum() / found[-1])


def best_threshold(positive: npt.NDArray[np.bool_], scores: Numbers) -> float:
    """Return the threshold with the highest F1 for "positive when the score is at least this", on these pairs.

    Every score is tried, whatever the scores' range; of equals, the highest.
    """
    precision, recall, thresholds = precision_recall_curve(positive, scores)
    with np.errstate(invalid="ignore"):
        f1 = np.nan_to_num(2 * precision * recall / (precision + recall))[:-1]
    return float(thresholds[np.flatnonzero(f1 == f1.max())[-1]])


def decisions(positive: npt.NDArray[np.bool_], scores: Numbers, threshold: float) -> dict[str, float]:
    """Return F1, precision, recall and accuracy of "score >= threshold", and average precision, which needs none.

    Precision and F1 are 0 where nothing is called positive.
    """
    called = scores >= threshold
    hits, calls, positives = (int(np.count_nonzero(flags)) for flags in (called & positive, called, positive))
    return {
        "f1": 2 * hits / max(1, calls + positives),
        "precision": hits / max(1, calls),
        "recall": hits / max(1, positives),
        "accuracy": float(np.mean(called == positive)),
        "average_precision": average_precision(positive, scores),
    }


def calibrated(positive: npt.NDArray[np.bool_], scores: Numbers, others: Numbers) -> Numbers:
    """Return the probabilities of ``others`` by a logistic curve fitted to these pairs (Platt 1999)."""
    fit = LogisticRegression(C=1e6).fit(scores.reshape(-1, 1), positive)
    return expit(others * fit.coef_[0, 0] + fit.intercept_[0])


def calibration_curve(positive: npt.NDArray[np.bool_], probability: Numbers, *, bins: int) -> pd.DataFrame:
    """Return predicted (mean probability), observed (share of positives) and pairs, for bins of equal size."""
    order = np.array_split(np.argsort(probability, kind="stable"), bins)
    rows = [(probability[part].mean(), positive[part].mean(), len(part)) for part in order if len(part)]
    return pd.DataFrame(rows, columns=["predicted", "observed", "pairs"])
