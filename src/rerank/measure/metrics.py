"""Ranking metrics of each user's candidate list, their confidence intervals and the paired test.

Every metric is computed for one user and then averaged over users: in one list of all pairs, a model that only knows
which users like much would look perfect. Tied scores are broken by a hash of (user, book), so neither the order of the
rows nor the labels can help or hurt, and a model that scores all candidates alike lands at chance.
"""

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import permutation_test

from rerank.errors import UserError

METRICS = ("ndcg@10", "mrr@10", "map", "precision@1", "precision@10", "roc_auc")
CONFIDENCE = 0.95
SIGN_FLIPS = 9_999
# Scores of a collapsed model differ in their last bits, with the shape of the batch that each was computed in.
SAME = 1e-6
# Resampled values held in memory at a time: 8 bytes each.
CHUNK_VALUES = 4_000_000
COLLAPSED = "training collapsed or diverged: lower lr and head_lr, or train longer (epochs)"
COLLAPSED_BI_ENCODER = "training collapsed or diverged: lower bi_encoder_lr, or train longer (bi_encoder_epochs)"
BROKEN_WEIGHTS = "its weights are broken, or all texts are the same: check base_model, bi_encoder and text_column"


def per_user(
    users: npt.ArrayLike, books: npt.ArrayLike, labels: npt.ArrayLike, scores: npt.ArrayLike, *, k: int = 10
) -> pd.DataFrame:
    """Measure each user's ranking of their own candidates.

    nDCG@k has gains 2^label - 1 (Burges et al. 2005) and discount log2(rank + 1) (Järvelin & Kekäläinen 2002), and
    its ideal is the user's own list. MRR@k is 1 / rank of the first positive, 0 below rank k. MAP is the mean over all
    positives of the precision at their rank. Precision@k is the share of positives among the first k ranks, which stay
    k in a shorter list. ROC AUC is the Mann-Whitney statistic, where ties count half.

    Args:
        users, books: ids of each pair, shape (pairs,); a (user, book) occurs once.
        labels: whole numbers, shape (pairs,); above 0 is a positive.
        scores: higher is better, shape (pairs,).

    Returns:
        One row a user, sorted by user_id, with columns ``ndcg@k, mrr@k, map, precision@1, precision@k, roc_auc`` in
        0..1. A user without positives has NaN in all; one without negatives has NaN in roc_auc.
    """
    ids, user = np.unique(np.asarray(users, dtype=str), return_inverse=True)
    label, score = np.asarray(labels, dtype=np.int64), np.asarray(scores, dtype=np.float64)
    size = np.bincount(user, minlength=len(ids))
    rank = 1 + np.arange(len(user)) - np.repeat(np.cumsum(size) - size, size)  # within each user of a sorted table

    def total(values: npt.ArrayLike) -> npt.NDArray[np.float64]:
        return np.bincount(user_of_row, weights=np.asarray(values, dtype=float), minlength=len(ids)).astype(float)

    user_of_row = np.sort(user)
    discount = np.where(rank <= k, 1 / np.log2(rank + 1), 0)
    ideal_dcg = total((2.0 ** label[np.lexsort((-label, user))] - 1) * discount)
    order = np.lexsort((_tie_breaker(users, books), -score, user))
    ranked = label[order]
    dcg = total((2.0**ranked - 1) * discount)
    positive = ranked > 0
    positives = total(positive)
    above = np.repeat(np.cumsum(positives) - positives, size)  # positives of the users above in the table
    found = np.cumsum(positive) - above
    rank_sum = total(pd.Series(score).groupby(user).rank().to_numpy()[order] * positive)
    with np.errstate(invalid="ignore", divide="ignore"):
        columns = {
            f"ndcg@{k}": dcg / ideal_dcg,
            f"mrr@{k}": total(positive * (found == 1) * (rank <= k) / rank),
            "map": total(positive * found / rank) / positives,
            "precision@1": total(positive & (rank == 1)),
            f"precision@{k}": total(positive & (rank <= k)) / k,
            "roc_auc": (rank_sum - positives * (positives + 1) / 2) / (positives * (size - positives)),
        }
    measured = pd.DataFrame(columns, index=pd.Index(ids.astype(object), name="user_id"))
    measured[positives == 0] = np.nan
    return measured


def _tie_breaker(users: npt.ArrayLike, books: npt.ArrayLike) -> npt.NDArray[np.uint64]:
    pairs = pd.DataFrame({"user": np.asarray(users, dtype=object), "book": np.asarray(books, dtype=object)}, dtype=str)
    return pd.util.hash_pandas_object(pairs, index=False).to_numpy()


def check_scores(system: str, scores: npt.NDArray[np.floating], *, trained: bool = True) -> None:
    """Refuse scores that rank nothing.

    Args:
        system: the name of the system: ``cross_encoder``, ``bi_encoder_LOSS`` for a trained one, or another.
        scores: one a pair, shape (pairs,).
        trained: whether those two come from training here, which is then the likely cause.

    Raises:
        UserError: when a score is not finite, or all are the same; it names the system and the likely cause.
    """
    cause = BROKEN_WEIGHTS
    if trained and system == "cross_encoder":
        cause = COLLAPSED
    elif trained and system.startswith("bi_encoder_"):
        cause = COLLAPSED_BI_ENCODER
    broken = np.count_nonzero(~np.isfinite(scores))
    if broken:
        raise UserError(f"{system}: {broken:,} of {len(scores):,} scores are not finite numbers: {cause}")
    if np.ptp(scores) <= SAME * max(1.0, float(np.abs(scores).max())):
        raise UserError(f"{system}: all {len(scores):,} scores are {scores[0]:g}: {cause}")


def resamples(users: int, *, samples: int, seed: int) -> npt.NDArray[np.int32]:
    """Draw users with replacement: row numbers, shape (samples, users). One draw serves all systems and metrics."""
    return np.random.default_rng(seed).integers(users, size=(samples, users), dtype=np.int32)


def interval(values: npt.ArrayLike, resamples_index: npt.NDArray[np.int32]) -> dict[str, float]:
    """Return the mean over users and its 95 % percentile bootstrap interval (Efron & Tibshirani 1993, chapter 13).

    Args:
        values: one metric of each user, shape (users,); NaN is left out of every mean.
        resamples_index: from `resamples`, shape (samples, users).

    Returns:
        ``mean``, ``low``, ``high``; all NaN when every value is.
    """
    value = np.asarray(values, dtype=np.float64)
    known = ~np.isnan(value)
    if not known.any():
        return dict.fromkeys(("mean", "low", "high"), float("nan"))
    filled = np.where(known, value, 0)
    means = []
    rows = max(1, CHUNK_VALUES // len(value))
    for start in range(0, len(resamples_index), rows):
        drawn = resamples_index[start : start + rows]
        count = known[drawn].sum(axis=1)
        means.append(filled[drawn].sum(axis=1)[count > 0] / count[count > 0])
    low, high = np.quantile(np.concatenate(means), [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return {"mean": float(value[known].mean()), "low": float(low), "high": float(high)}


def paired_test(a: npt.ArrayLike, b: npt.ArrayLike, *, seed: int, samples: int) -> tuple[dict[str, float], float]:
    """Compare two systems on the same users.

    Args:
        a, b: the same metric of the same users, shape (users,); users with a NaN in either are left out.
        samples: number of bootstrap resamples. The test makes `SIGN_FLIPS` random sign flips, or all when there are
            fewer: its smallest p-value is 2 / (flips + 1).

    Returns:
        The mean of ``a - b`` with its bootstrap `interval`, and the two-sided p-value of the sign-flip permutation
        test (Fisher 1935; Smucker et al. 2007 for rankings): under the null hypothesis either system could have
        produced either value.
    """
    difference = np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64)
    difference = difference[~np.isnan(difference)]
    found = interval(difference, resamples(len(difference), samples=samples, seed=seed))
    if len(difference) == 1:
        return found, 1.0  # both sign flips are as extreme; SciPy asks for two users
    test = permutation_test(
        (difference,),
        lambda values, axis: values.mean(axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=SIGN_FLIPS,
        batch=max(1, CHUNK_VALUES // len(difference)),
        rng=np.random.default_rng(seed),
    )
    return found, float(test.pvalue)
