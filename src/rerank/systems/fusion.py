"""Fusion: one score from those of several systems, weighed by what ranked best for validation readers.

Every system's scores are standardised within a candidate list, so that only their order and spacing there count. A
logistic regression on the labels weighs a system or leaves it out; its penalty is chosen by cross-validation over
readers. Books of which no reader is known are weighed by a second regression, on the systems that read texts alone.
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
from rerank.json_file import rounded
from rerank.lists import is_cold, numbers, warm
from rerank.measure.quality import ndcg
from rerank.systems.registry import SYSTEMS

Matrix = npt.NDArray[np.float64]
Features = dict[str, Matrix]
Weights = dict[str, float]
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


def weighed(features: Mapping[str, npt.ArrayLike], weights: Mapping[str, float], *, rows: int) -> Matrix:
    """Return the weighed sum of standardised scores, shape (rows,); a system without scores adds 0."""
    some = [weight * np.asarray(features[name]) for name, weight in weights.items() if name in features]
    return np.sum(some, axis=0) if some else np.zeros(rows)


def fused(
    features: Mapping[str, npt.ArrayLike],
    *,
    weights: Mapping[str, float],
    text_weights: Mapping[str, float],
    lists: npt.ArrayLike,
    cold: npt.NDArray[np.bool_],
) -> Matrix:
    """Return one score a pair from standardised scores, shape (pairs,).

    Args:
        features: system → standardised scores, shape (pairs,).
        weights, text_weights: system → weight, see `Fusion`.
        lists: the number of each pair's list, shape (pairs,).
        cold: whether no reader of the book is known, shape (pairs,): then ``text_weights`` count, and so they do in a
            list that the others call all alike.
    """
    number = np.asarray(lists)
    total = weighed(features, weights, rows=len(number))
    silent = pd.Series(np.abs(total)).groupby(number).transform("max").to_numpy() == 0
    return np.where(cold | silent, weighed(features, text_weights, rows=len(number)), total)


@dataclass(frozen=True)
class Fusion:
    """How systems are weighed.

    Attributes:
        weights: system → weight of its standardised scores.
        text_weights: the same where no reader of a book is known, of the systems that don't need one.
        ndcg: mean validation nDCG@10 of warm lists, cross-validated over readers: ``fused``, ``single`` the best system
            alone, and ``without`` each system.
        penalty: the inverse strength that was best; None where the best single system is better than any fusion.
    """

    weights: Weights
    text_weights: Weights
    ndcg: dict[str, Any]
    penalty: float | None

    def scores(self, systems: Mapping[str, npt.ArrayLike], lists: npt.ArrayLike, cold: npt.NDArray[np.bool_]) -> Matrix:
        """Return the fused score of each pair from the systems' scores; see `fused`."""
        needed = {**self.weights, **self.text_weights}
        features = {name: standardised(systems[name], lists) for name in needed}
        return fused(features, weights=self.weights, text_weights=self.text_weights, lists=lists, cold=cold)


def learnt(features: Features, positive: npt.NDArray[np.bool_], *, penalty: float) -> Weights:
    """Return the weight of each system by a regression on the rows of ``features``; {} for no system.

    None is negative: what a system ranks high is never worse for it, but few readers make it look so. The system with
    the lowest weight is left out until all that stay are above 0. The weights have the decimals of their file, so that
    what is served is what was measured, and the last digits of a processor's solver change nothing.
    """
    left = dict(features)
    while left:
        model = LogisticRegression(C=penalty, max_iter=1_000).fit(np.column_stack(list(left.values())), positive)
        weights = rounded(dict(zip(left, map(float, model.coef_[0]), strict=True)))
        lowest = min(weights, key=lambda name: weights[name])
        if weights[lowest] > 0:
            return weights
        del left[lowest]
    return {}


def cross_validated(features: Features, table: pd.DataFrame, *, penalty: float) -> Matrix:
    """Return the weighed score of each row by the weights of the other folds of readers, shape (pairs,)."""
    positive = table["label"].to_numpy() > 0
    found = np.zeros(len(table))
    folds = GroupKFold(n_splits=min(FOLDS, table["user_id"].nunique()))
    for others, held_out in folds.split(positive, groups=table["user_id"]):
        weights = learnt(_rows(features, others), positive[others], penalty=penalty)
        found[held_out] = weighed(_rows(features, held_out), weights, rows=len(held_out))
    return found


def _rows(features: Features, rows: npt.NDArray[Any]) -> Features:
    return {name: values[rows] for name, values in features.items()}


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
    cold, positive = is_cold(table), table["label"].to_numpy() > 0
    every = {name: standardised(values, numbers(table)) for name, values in scores.items()}
    texts = {name: values for name, values in every.items() if not SYSTEMS[name].knows_warm_only}
    lists = warm(table)
    features = _rows(every, ~cold)

    def quality(values: npt.ArrayLike) -> float:
        return ndcg(lists, np.asarray(values))

    single = {name: quality(np.asarray(scores[name])[~cold]) for name in systems}
    best_single = max(single, key=lambda name: single[name])
    tried = {penalty: cross_validated(features, lists, penalty=penalty) for penalty in PENALTIES}
    penalty = max(tried, key=lambda one: quality(tried[one]))
    without = {
        left_out: quality(
            cross_validated(
                {name: values for name, values in features.items() if name != left_out}, lists, penalty=penalty
            )
        )
        for left_out in systems
    }
    best = quality(tried[penalty])
    measured = {"fused": best, "single": {best_single: single[best_single]}, "without": without}
    text_weights = learnt(texts, positive, penalty=penalty)
    held_out = cross_validated(texts, table, penalty=penalty)
    if best <= single[best_single]:
        held_out[~cold] = features[best_single]
        return Fusion({best_single: 1.0}, text_weights, measured, None), held_out
    held_out[~cold] = tried[penalty]
    return Fusion(learnt(features, positive[~cold], penalty=penalty), text_weights, measured, penalty), held_out


def summary(fusion: Fusion) -> str:
    """Return the weights and what they gain on validation, in some lines."""
    ((single, alone),) = fusion.ndcg["single"].items()
    gain = f"nDCG@10 {fusion.ndcg['fused']:.3f} cross-validated over validation readers, {single} alone {alone:.3f}"
    lines = [
        f"fused: {words(fusion.weights)}",
        f"where no reader of a book is known: {words(fusion.text_weights)}",
        gain,
    ]
    if fusion.penalty is None:
        lines.append(f"no fusion is better, so {single} is taken alone")
    return "\n".join(lines)


def words(weights: Mapping[str, float]) -> str:
    """Return the weights as a person reads them, the largest first."""
    ordered = sorted(weights.items(), key=lambda item: -item[1])
    return ", ".join(f"{weight:.2f} {SYSTEMS[name].label}" for name, weight in ordered) or "nothing"
