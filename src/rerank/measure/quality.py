"""The metrics that decide which weights are best: all that training sees of measuring.

A metric is one entry in `QUALITIES`, and a task names it in `rerank.tasks`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import spearmanr
from sklearn.metrics import average_precision_score

from rerank.errors import UserError

Scores = npt.NDArray[np.floating]
K = 10


def ndcg(pairs: pd.DataFrame, scores: Scores) -> float:
    """Return the mean nDCG@10 over users with a label above 0; NaN when there is none.

    Gains are 2^label - 1 (Burges et al. 2005), discounts log2(rank + 1) (Järvelin & Kekäläinen 2002), and the ideal is
    the user's own list. Tied scores are broken by a hash of (user, book), as in `rerank.measure.metrics`.
    """
    users = np.unique(pairs["user_id"].to_numpy(dtype=str), return_inverse=True)[1]
    labels = pairs["label"].to_numpy(dtype=np.float64)
    ids = pd.DataFrame({name: pairs[f"{name}_id"].astype(object) for name in ("user", "book")}, dtype=str)
    ties = pd.util.hash_pandas_object(ids, index=False).to_numpy()
    size = np.bincount(users)
    rank = 1 + np.arange(len(users)) - np.repeat(np.cumsum(size) - size, size)  # within each user of a sorted table
    discount = np.where(rank <= K, 1 / np.log2(rank + 1), 0)

    def dcg(order: npt.NDArray[np.intp]) -> npt.NDArray[np.float64]:
        return np.bincount(users[order], weights=(2.0 ** labels[order] - 1) * discount).astype(np.float64)

    ideal = dcg(np.lexsort((-labels, users)))
    found = dcg(np.lexsort((ties, -np.asarray(scores, dtype=np.float64), users)))
    known = ideal > 0
    return float((found[known] / ideal[known]).mean()) if known.any() else float("nan")


def spearman(pairs: pd.DataFrame, scores: Scores) -> float:
    """Return the rank correlation of the scores with the labels over all pairs; NaN when all labels are the same."""
    same = pairs["label"].nunique() < 2
    return float("nan") if same else float(spearmanr(pairs["label"], scores).statistic)


def average_precision(pairs: pd.DataFrame, scores: Scores) -> float:
    """Return the average precision of the labels above 0 over all pairs; NaN when no label is."""
    positive = pairs["label"] > 0
    return float(average_precision_score(positive, scores)) if positive.any() else float("nan")


@dataclass(frozen=True)
class Quality:
    """A metric of scored pairs, higher is better; ``undefined`` says which pairs it can't measure, and what to do."""

    measure: Callable[[pd.DataFrame, Scores], float]
    undefined: str


MORE = "correct the labels, or raise validation_share or validation_users in params.yaml"
QUALITIES = {
    "ndcg@10": Quality(ndcg, f"no user has a label above 0: {MORE}"),
    "spearman": Quality(spearman, f"all labels are the same: {MORE}"),
    "average_precision": Quality(average_precision, f"no label is above 0: {MORE}"),
}


def quality(metric: str, pairs: pd.DataFrame, scores: Scores, *, split: str) -> float:
    """Return a metric of scored pairs, higher is better.

    Args:
        metric: one of `QUALITIES`.
        pairs: frame with user_id, book_id and label.
        scores: one a row, shape (pairs,).
        split: what the error calls the pairs.

    Raises:
        UserError: when the pairs are such that the metric is no number.
    """
    value = QUALITIES[metric].measure(pairs, scores)
    if not np.isfinite(value):
        raise UserError(f"{split}: {metric} can't be measured, because {QUALITIES[metric].undefined}")
    return value
