"""Metrics of scored pairs that stand alone: correlation with a similarity, or a decision with a threshold.

Pairs that share a text are not independent, so intervals come from a bootstrap over groups of connected pairs (see
`stages.group`), and all systems share the resamples: the interval of a difference is a paired one.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import expit
from scipy.stats import pearsonr, spearmanr
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, precision_recall_curve

from rerank.measure.metrics import CONFIDENCE

Numbers = npt.NDArray[np.floating]
Rows = npt.NDArray[np.intp]


def row_resamples(groups: pd.Series, *, samples: int, seed: int) -> Iterator[Rows]:
    """Yield the rows of each resample: whole groups, drawn with replacement; ``groups`` has one name a row."""
    group = pd.factorize(groups)[0]
    number = int(group.max()) + 1
    generator = np.random.default_rng(seed)
    for _ in range(samples):
        times = np.bincount(generator.integers(number, size=number), minlength=number)
        yield np.repeat(np.arange(len(group)), times[group])


def intervals(
    measure: Callable[[Rows], Mapping[str, Mapping[str, float]]], groups: pd.Series, *, samples: int, seed: int
) -> tuple[dict[str, dict[str, dict[str, float]]], pd.DataFrame]:
    """Measure all systems on all rows and on each resample.

    Args:
        measure: rows → system → metric → value.
        groups: the group of each row.

    Returns:
        system → metric → ``value``, and ``low`` and ``high`` of the 95 % percentile bootstrap interval (Efron &
        Tibshirani 1993, chapter 13); and the resampled values, one row a resample, columns (system, metric).
    """
    drawn = pd.DataFrame(
        [
            {(system, metric): value for system, values in measure(rows).items() for metric, value in values.items()}
            for rows in row_resamples(groups, samples=samples, seed=seed)
        ]
    )
    found = measure(np.arange(len(groups)))
    return {
        system: {metric: {"value": float(value), **span(drawn[system, metric])} for metric, value in values.items()}
        for system, values in found.items()
    }, drawn


def span(drawn: pd.Series) -> dict[str, float]:
    """Return ``low`` and ``high``, the middle 95 % of resampled values."""
    low, high = np.nanquantile(drawn, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return {"low": float(low), "high": float(high)}


def against_best(
    systems: Mapping[str, Mapping[str, Mapping[str, float]]], drawn: pd.DataFrame, *, system: str, metric: str
) -> dict[str, Any]:
    """Return the system with the best ``metric`` among the others, and how much better ``system`` is, paired."""
    baseline = max((name for name in systems if name != system), key=lambda name: systems[name][metric]["value"])
    difference = systems[system][metric]["value"] - systems[baseline][metric]["value"]
    between = span(drawn[system, metric] - drawn[baseline, metric])
    return {"baseline": baseline, f"{metric}_difference": {"value": difference, **between}}


def correlations(labels: Numbers, predicted: Numbers) -> dict[str, float]:
    """Return Pearson's and Spearman's correlation of two arrays of shape (pairs,)."""
    return {
        "pearson": float(pearsonr(labels, predicted).statistic),
        "spearman": float(spearmanr(labels, predicted).statistic),
    }


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
        "average_precision": float(average_precision_score(positive, scores)) if positive.any() else float("nan"),
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
