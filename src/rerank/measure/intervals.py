"""What a number is worth: 95 % bootstrap intervals over users or groups, and paired tests of two systems.

All systems and metrics share the resamples, so that the interval of a difference is a paired one.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import permutation_test

from rerank.systems.registry import CHANCE, FINE_TUNED, FUSED

Measured = dict[str, dict[str, dict[str, float]]]
Rows = npt.NDArray[np.intp]

SAMPLES = 2_000
CONFIDENCE = 0.95
SIGN_FLIPS = 9_999
# Below it a difference is a finding, where its interval leaves out 0 too.
SIGNIFICANT = 0.05
# Resampled values held in memory at a time: 8 bytes each.
CHUNK_VALUES = 4_000_000


def span(drawn: npt.ArrayLike) -> dict[str, float]:
    """Return ``low`` and ``high``, the middle 95 % of resampled values (Efron & Tibshirani 1993, chapter 13)."""
    low, high = np.nanquantile(np.asarray(drawn), [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return {"low": float(low), "high": float(high)}


def resamples(users: int, *, samples: int, seed: int) -> npt.NDArray[np.int32]:
    """Draw users with replacement: row numbers, shape (samples, users). One draw serves all systems and metrics."""
    return np.random.default_rng(seed).integers(users, size=(samples, users), dtype=np.int32)


def mean_interval(values: npt.ArrayLike, resamples_index: npt.NDArray[np.int32]) -> dict[str, float]:
    """Return the mean over users and its 95 % percentile bootstrap interval.

    Args:
        values: one metric of each user, shape (users,); NaN is left out of every mean.
        resamples_index: from `resamples`, shape (samples, users).

    Returns:
        ``value``, ``low``, ``high``; all NaN when every value is.
    """
    value = np.asarray(values, dtype=np.float64)
    known = ~np.isnan(value)
    if not known.any():
        return dict.fromkeys(("value", "low", "high"), float("nan"))
    filled = np.where(known, value, 0)
    means = []
    rows = max(1, CHUNK_VALUES // len(value))
    for start in range(0, len(resamples_index), rows):
        drawn = resamples_index[start : start + rows]
        count = known[drawn].sum(axis=1)
        means.append(filled[drawn].sum(axis=1)[count > 0] / count[count > 0])
    return {"value": float(value[known].mean()), **span(np.concatenate(means))}


def paired_test(a: npt.ArrayLike, b: npt.ArrayLike, *, seed: int, samples: int) -> tuple[dict[str, float], float]:
    """Compare two systems on the same users.

    Args:
        a, b: the same metric of the same users, shape (users,); users with a NaN in either are left out.
        samples: number of bootstrap resamples. The test makes `SIGN_FLIPS` random sign flips, or all when there are
            fewer: its smallest p-value is 2 / (flips + 1).

    Returns:
        The mean of ``a - b`` with its bootstrap interval, and the two-sided p-value of the sign-flip permutation test
        (Fisher 1935; Smucker et al. 2007 for rankings): under the null hypothesis either system could have produced
        either value.
    """
    difference = np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64)
    difference = difference[~np.isnan(difference)]
    found = mean_interval(difference, resamples(len(difference), samples=samples, seed=seed))
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


def row_resamples(groups: pd.Series, *, samples: int, seed: int) -> Iterator[Rows]:
    """Yield the rows of each resample: whole groups, drawn with replacement; ``groups`` has one name a row.

    Pairs that share a text are not independent, but those of different groups are.
    """
    group = pd.factorize(groups)[0]
    number = int(group.max()) + 1
    generator = np.random.default_rng(seed)
    for _ in range(samples):
        times = np.bincount(generator.integers(number, size=number), minlength=number)
        yield np.repeat(np.arange(len(group)), times[group])


def group_intervals(
    measure: Callable[[Rows], Mapping[str, Mapping[str, float]]], groups: pd.Series, *, samples: int, seed: int
) -> tuple[Measured, pd.DataFrame]:
    """Measure all systems on all rows and on each resample of groups.

    Args:
        measure: rows → system → metric → value.
        groups: the group of each row.

    Returns:
        system → metric → ``value``, ``low`` and ``high``; and the resampled values, one row a resample, columns
        (system, metric).
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


def best_other(systems: Measured, metric: str, *, system: str = FINE_TUNED) -> str:
    """Return the single system with the best ``metric`` beside ``system``: what its gain is measured from."""
    others = [name for name in systems if name not in (system, CHANCE, FUSED)]
    return max(others, key=lambda name: systems[name][metric]["value"])


def comparison(
    baseline: str, metric: str, difference: dict[str, float], p_value: float, *, system: str = FINE_TUNED
) -> dict[str, Any]:
    """Return how ``system`` compares with ``baseline``: by its difference, with an interval."""
    return {
        "system": system,
        "baseline": baseline,
        "metric": metric,
        "difference": difference,
        "p_value": p_value,
    }


def compared_by_groups(systems: Measured, drawn: pd.DataFrame, *, metric: str) -> dict[str, Any]:
    """Return the `comparison` with the best other system from what `group_intervals` returned.

    The p-value is that of the bootstrap (Efron & Tibshirani 1993, chapter 16): twice the share of resampled differences
    on the far side of 0, counting the sample itself, so never below 2 / (samples + 1).
    """
    baseline = best_other(systems, metric)
    difference = drawn[FINE_TUNED, metric] - drawn[baseline, metric]
    value = systems[FINE_TUNED][metric]["value"] - systems[baseline][metric]["value"]
    beyond = 1 + min((difference <= 0).sum(), (difference >= 0).sum())
    p_value = min(1.0, 2 * beyond / (1 + len(difference)))
    return comparison(baseline, metric, {"value": value, **span(difference)}, float(p_value))


def is_finding(comparison: Mapping[str, Any]) -> bool:
    """Whether the two systems can be told apart: by the interval of the difference, and by the test."""
    difference = comparison["difference"]
    return comparison["p_value"] < SIGNIFICANT and not difference["low"] <= 0 <= difference["high"]
