"""Ranking metrics of each user's candidate list: one entry a metric in `METRICS`, which tables and files follow.

Every metric is computed for one user and then averaged over users: in one list of all pairs, a model that only knows
which users like much would look perfect. Beside each stands its chance level in closed form: its expected value over
all orders of the user's own list, not what one random order happens to give.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import digamma, gammaln

from rerank.measure.rankings import Numbers, Rankings


def _discount(rank: npt.NDArray[np.integer], k: int) -> Numbers:
    return np.where(rank <= k, 1 / np.log2(rank + 1), 0)


def _ideal_dcg(lists: Rankings, k: int) -> Numbers:
    return lists.total((2.0**lists.best_label - 1) * _discount(lists.rank, k))


def ndcg(lists: Rankings, *, k: int) -> Numbers:
    """Return nDCG@k: gains 2^label - 1 (Burges et al. 2005), discount log2(rank + 1) (Järvelin & Kekäläinen 2002).

    The ideal is the user's own list.
    """
    return lists.total((2.0**lists.label - 1) * _discount(lists.rank, k)) / _ideal_dcg(lists, k)


def ndcg_by_chance(lists: Rankings, *, k: int) -> Numbers:
    """Return the mean gain of a candidate at every rank, discounted, over the ideal."""
    mean_gain = lists.total(2.0**lists.label - 1) / lists.size
    return mean_gain * lists.total(_discount(lists.rank, k)) / _ideal_dcg(lists, k)


def mrr(lists: Rankings, *, k: int) -> Numbers:
    """Return 1 / rank of the first positive, 0 below rank k."""
    return lists.total(lists.positive * (lists.found == 1) * (lists.rank <= k) / lists.rank)


def mrr_by_chance(lists: Rankings, *, k: int) -> Numbers:
    """Return the sum over ranks r to k of 1/r, times the chance C(n-r, p-1) / C(n, p) that the first positive is there.

    n candidates, p of them positive.
    """
    rank = np.arange(1, k + 1)
    n, p = lists.size[:, None].astype(float), lists.positives[:, None]
    possible = (n - rank >= p - 1) & (p > 0)
    below = np.where(possible, n - rank, p)  # candidates below the rank, among which the other positives are
    chance = np.exp(_log_binomial(below, p - 1) - _log_binomial(n, p))
    return np.where(possible, chance / rank, 0).sum(axis=1)


def _log_binomial(n: Numbers, k: Numbers) -> Numbers:
    return gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)


def mean_average_precision(lists: Rankings) -> Numbers:
    """Return the mean over all positives of the precision at their rank."""
    return lists.total(lists.positive * lists.found / lists.rank) / lists.positives


def mean_average_precision_by_chance(lists: Rankings) -> Numbers:
    """Return the sum over all ranks r of (1 + (r-1) (p-1) / (n-1)) / (n r), for p positives of n candidates."""
    n, p = lists.size.astype(float), lists.positives
    harmonic = digamma(n + 1) + np.euler_gamma
    return (harmonic + (n - harmonic) * (p - 1) / np.maximum(n - 1, 1)) / n


def precision(lists: Rankings, *, k: int) -> Numbers:
    """Return the share of positives among the first k ranks, which stay k in a shorter list."""
    return lists.total(lists.positive & (lists.rank <= k)) / k


def precision_by_chance(lists: Rankings, *, k: int) -> Numbers:
    """Return the share of positives in the list, at as many of the k ranks as it fills."""
    return lists.positives / lists.size * np.minimum(lists.size, k) / k


def roc_auc(lists: Rankings) -> Numbers:
    """Return the Mann-Whitney statistic: the share of (positive, negative) pairs in order; ties count half.

    NaN for a user without negatives.
    """
    p = lists.positives
    return (lists.total(lists.shared_rank * lists.positive) - p * (p + 1) / 2) / (p * (lists.size - p))


def roc_auc_by_chance(lists: Rankings) -> Numbers:
    """Return a half, and NaN for a user without negatives."""
    return np.where(lists.positives < lists.size, 0.5, np.nan)


@dataclass(frozen=True)
class Metric:
    """A metric of candidate lists.

    Attributes:
        heading: what tables and pictures call it.
        function: its value for each user, shape (users,); higher is better.
        chance: the mean of ``function`` over all orders of the list, shape (users,).
    """

    heading: str
    function: Callable[[Rankings], Numbers]
    chance: Callable[[Rankings], Numbers]


def _at(k: int, heading: str, function: Callable[..., Numbers], chance: Callable[..., Numbers]) -> Metric:
    return Metric(heading, partial(function, k=k), partial(chance, k=k))


# The first compares systems.
METRICS = {
    "ndcg@10": _at(10, "nDCG@10", ndcg, ndcg_by_chance),
    "mrr@10": _at(10, "MRR@10", mrr, mrr_by_chance),
    "map": Metric("MAP", mean_average_precision, mean_average_precision_by_chance),
    "precision@1": _at(1, "P@1", precision, precision_by_chance),
    "precision@10": _at(10, "P@10", precision, precision_by_chance),
    "roc_auc": Metric("ROC AUC", roc_auc, roc_auc_by_chance),
}


def per_user(users: npt.ArrayLike, books: npt.ArrayLike, labels: npt.ArrayLike, scores: npt.ArrayLike) -> pd.DataFrame:
    """Measure each user's ranking of their own candidates; the arguments are those of `Rankings`.

    Returns:
        One row a user, sorted by user_id, with a column in 0..1 for each of `METRICS`. A user without positives has NaN
        in all.
    """
    lists = Rankings(users, books, labels, scores)
    return _measured(lists, {name: metric.function for name, metric in METRICS.items()})


def by_chance(users: npt.ArrayLike, books: npt.ArrayLike, labels: npt.ArrayLike) -> pd.DataFrame:
    """Return what `per_user` gives in the mean over all orders of each list."""
    lists = Rankings(users, books, labels, np.zeros(np.shape(labels)))
    return _measured(lists, {name: metric.chance for name, metric in METRICS.items()})


def _measured(lists: Rankings, functions: dict[str, Callable[[Rankings], Numbers]]) -> pd.DataFrame:
    with np.errstate(invalid="ignore", divide="ignore"):
        columns = {name: function(lists) for name, function in functions.items()}
    measured = pd.DataFrame(columns, index=pd.Index(lists.ids.astype(object), name="user_id"))
    measured[lists.positives == 0] = np.nan
    return measured
