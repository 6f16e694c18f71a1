"""Fusion: one score from those of several systems, weighed by what ranked best for validation readers.

Every system's scores are standardised within a candidate list, so that only their order and spacing there count. A
logistic regression on the labels gives each system a weight; its penalty is chosen by cross-validation over readers.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold

from rerank.errors import UserError
from rerank.lists import is_cold, numbers, warm
from rerank.measure.quality import ndcg

Matrix = npt.NDArray[np.float64]
# The inverse strength of the penalty; smaller draws the weights together to 0.
PENALTIES = (0.001, 0.01, 0.1, 1.0)
FOLDS = 5


def standardised(scores: npt.ArrayLike, lists: npt.ArrayLike, known: npt.ArrayLike | None = None) -> Matrix:
    """Return scores with mean 0 and variance 1 within each list, shape (pairs,).

    Args:
        scores: shape (pairs,).
        lists: the number of each pair's list, shape (pairs,).
        known: whether a system can judge the pair at all; None: it always can. What it can't judge gets
            the list's mean.

    Returns:
        0 throughout a list whose known scores are all the same.
    """
    value, number = np.asarray(scores, dtype=np.float64), np.asarray(lists)
    judged = np.ones(len(value), dtype=bool) if known is None else np.asarray(known, dtype=bool)
    groups = pd.Series(np.where(judged, value, np.nan)).groupby(number)
    mean, deviation = groups.transform("mean").to_numpy(), groups.transform("std", ddof=0).to_numpy()
    differs = judged & (deviation > 1e-9 * np.maximum(1, np.abs(mean)))
    return np.where(differs, (value - mean) / np.where(differs, deviation, 1), 0.0)


@dataclass(frozen=True)
class Fusion:
    """How systems are weighed.

    Attributes:
        weights: system → weight of its standardised scores.
        ndcg: mean validation nDCG@10, cross-validated over readers: ``fused``, ``single`` the best system alone, and
            ``without`` each system.
        penalty: the inverse strength that was best; None where the best single system is better than any fusion.
    """

    weights: dict[str, float]
    ndcg: dict[str, Any]
    penalty: float | None

    def scores(self, systems: Mapping[str, npt.ArrayLike], lists: npt.ArrayLike) -> Matrix:
        """Return the fused score of each pair from the systems' scores, which hold all of `weights`."""
        return self.fused({name: standardised(systems[name], lists) for name in self.weights})

    def fused(self, features: Mapping[str, npt.ArrayLike]) -> Matrix:
        """Return the weighed sum of standardised scores."""
        return np.sum([weight * np.asarray(features[name]) for name, weight in self.weights.items()], axis=0)


def _weights(features: Matrix, positive: npt.NDArray[np.bool_], *, penalty: float) -> Matrix:
    """Return one weight a column of ``features``."""
    return LogisticRegression(C=penalty, max_iter=1_000).fit(features, positive).coef_[0]


def cross_validated(features: Matrix, table: pd.DataFrame, *, penalty: float) -> Matrix:
    """Return the fused score of each row by the weights of the other folds of readers, shape (pairs,)."""
    positive = table["label"].to_numpy() > 0
    found = np.zeros(len(table))
    folds = GroupKFold(n_splits=min(FOLDS, table["user_id"].nunique()))
    for learnt, held_out in folds.split(features, groups=table["user_id"]):
        found[held_out] = features[held_out] @ _weights(features[learnt], positive[learnt], penalty=penalty)
    return found


def fit(table: pd.DataFrame, scores: Mapping[str, npt.ArrayLike]) -> tuple[Fusion, Matrix]:
    """Learn the weights from validation readers alone.

    Args:
        table: user_id, book_id, label and, where there are two lists a reader, cold.
        scores: system → scores, shape (pairs,), of two systems or more.

    Returns:
        The fusion, and each row's score by weights that were learnt from other readers.

    Raises:
        UserError: when there are fewer than two readers or systems.
    """
    systems = list(scores)
    if len(systems) < 2:
        raise UserError(f"--scores: nothing to fuse: only {', '.join(systems) or 'no system'} has scores of validation")
    if table["user_id"].nunique() < 2:
        raise UserError("validation.parquet: has fewer than two users to weigh systems with: raise validation_share")
    lists = numbers(table)
    columns = {name: standardised(scores[name], lists) for name in systems}

    def quality(values: npt.ArrayLike) -> float:
        return ndcg(warm(table), np.asarray(values)[~is_cold(table)])

    single = {name: quality(scores[name]) for name in systems}
    best_single = max(single, key=lambda name: single[name])
    features = np.column_stack(list(columns.values()))
    tried = {penalty: cross_validated(features, table, penalty=penalty) for penalty in PENALTIES}
    penalty = max(tried, key=lambda one: quality(tried[one]))
    without = {
        name: quality(cross_validated(np.delete(features, place, axis=1), table, penalty=penalty))
        for place, name in enumerate(systems)
    }
    fused = quality(tried[penalty])
    measured = {"fused": fused, "single": {best_single: single[best_single]}, "without": without}
    if fused <= single[best_single]:
        return Fusion({best_single: 1.0}, measured, None), columns[best_single]
    weights = _weights(features, table["label"].to_numpy() > 0, penalty=penalty)
    return Fusion(dict(zip(systems, map(float, weights), strict=True)), measured, penalty), tried[penalty]


def summary(fusion: Fusion) -> str:
    """Return the weights and what they gain on validation, in a line or two."""
    ((single, alone),) = fusion.ndcg["single"].items()
    gain = f"nDCG@10 {fusion.ndcg['fused']:.3f} cross-validated over validation readers, {single} alone {alone:.3f}"
    if fusion.penalty is None:
        return f"fused: {gain}: no fusion is better, so {single} is taken alone"
    weights = ", ".join(f"{weight:.2f} {name}" for name, weight in sorted(fusion.weights.items(), key=lambda w: -w[1]))
    return f"fused: {weights}\n{gain}"
