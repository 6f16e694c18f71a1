"""Measure systems that rank candidate lists: means over users, chance among them, and paired tests."""

from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import average_precision_score, roc_auc_score

from rerank.errors import UserError
from rerank.lists import cold, warm
from rerank.measure.intervals import SAMPLES, best_other, comparison, mean_interval, paired_test, resamples
from rerank.measure.metrics import METRICS, by_chance, per_user
from rerank.measure.scores import KEYS, check_comparable, scores_of, systems_of
from rerank.systems.registry import CHANCE, FINE_TUNED, FUSED

HEADINGS = {name: metric.heading for name, metric in METRICS.items()}
MAIN = "ndcg@10"
TOP = 10


def evaluate(
    validation: pd.DataFrame | None, test: pd.DataFrame, *, max_grade: int, seed: int, samples: int = SAMPLES
) -> dict[str, Any]:
    """Measure every system of a score table.

    Args:
        validation: not used: nothing is chosen here.
        test: a score table, see `rerank.measure.scores`.
        seed: of the resampled users behind each interval, and of the random sign flips of the paired test.
        samples: resamples of the users.

    Returns:
        The content of data/evaluation.json: what `_measured` says of the warm lists; ``cold``: the same of the cold
        ones, where a user has one with a positive and a negative; ``pooled``: two metrics over all warm pairs;
        ``shown``: what stands in the top ten of the warm lists.

    Raises:
        UserError: when nothing can be measured or compared.
    """
    check_comparable(test)
    lists, cold_lists = warm(test), with_both_labels(cold(test))
    _check_labels(lists)
    positive = lists["label"].to_numpy() > 0
    measured = {
        "task": "ranking",
        **_measured(lists, seed=seed, samples=samples),
        "pooled": {
            system: {
                "roc_auc": float(roc_auc_score(positive, scores_of(lists, system))),
                "average_precision": float(average_precision_score(positive, scores_of(lists, system))),
            }
            for system in systems_of(lists)
        },
        "shown": {system: _shown(lists, system) for system in systems_of(lists)},
    }
    return {**measured, "cold": _measured(cold_lists, seed=seed, samples=samples)} if len(cold_lists) else measured


def _measured(lists: pd.DataFrame, *, seed: int, samples: int) -> dict[str, Any]:
    """Return sizes, each system's metrics as means over users with their 95 % intervals, and the comparisons.

    ``comparison`` is the fine-tuned system against the other single one with the best mean nDCG@10, ``fusion`` the
    fused one, where there is one, against the best single one.
    """
    users, books, labels = (lists[key].to_numpy() for key in KEYS)
    measured = {CHANCE: by_chance(users, books, labels)}
    measured |= {system: per_user(users, books, labels, scores_of(lists, system)) for system in systems_of(lists)}
    drawn = resamples(len(measured[CHANCE]), samples=samples, seed=seed)
    systems = {
        system: {metric: mean_interval(values[metric], drawn) for metric in METRICS}
        for system, values in measured.items()
    }

    def compared(system: str) -> dict[str, Any]:
        baseline = best_other(systems, MAIN, system=system)
        values, others = measured[system][MAIN], measured[baseline][MAIN]
        return comparison(baseline, MAIN, *paired_test(values, others, seed=seed, samples=samples), system=system)

    by_user = (lists["label"] > 0).groupby(lists["user_id"])
    return {
        "users": len(by_user),
        "pairs": len(lists),
        "candidates_per_user": _spread(by_user.size()),
        "positives_per_user": _spread(by_user.sum()),
        "systems": systems,
        "comparison": compared(FINE_TUNED),
        **({"fusion": compared(FUSED)} if FUSED in systems else {}),
    }


def _shown(lists: pd.DataFrame, system: str) -> dict[str, float]:
    """Return how many different books stand in all top tens, and how many training readers liked one of them.

    A system that shows everyone the same ten books is seen by the first. The second is missing where popularity is.
    """
    order = np.lexsort((-scores_of(lists, system), lists["user_id"].to_numpy(dtype=str)))
    top = lists.iloc[order].groupby("user_id", sort=False).head(TOP)
    readers = {"readers": float(scores_of(top, "popularity").mean())} if "popularity" in systems_of(lists) else {}
    return {"different_books": int(top["book_id"].nunique()), **readers}


def with_both_labels(lists: pd.DataFrame) -> pd.DataFrame:
    """Return the lists that have a positive and a negative: any order of the others is as good as another."""
    return lists[(lists["label"] > 0).groupby(lists["user_id"]).transform("nunique") == 2]


def _check_labels(test: pd.DataFrame) -> None:
    positive = test["label"] > 0
    if not positive.any():
        raise UserError(f"test.parquet: column 'label' has no positive in {len(test):,} rows: add more data to it")
    if not positive.groupby(test["user_id"]).nunique().gt(1).any():
        raise UserError("test.parquet: column 'label' is above 0 in every row of every user with one: add negatives")


def _spread(counts: pd.Series) -> dict[str, Any]:
    return {"mean": float(counts.mean()), "min": int(counts.min()), "max": int(counts.max())}


def sizes(evaluation: dict[str, Any]) -> str:
    """Return the sizes that chance follows from, in words."""
    candidates, positives = (evaluation[f"{name}_per_user"]["mean"] for name in ("candidates", "positives"))
    return f"{evaluation['users']:,} test lists, {candidates:.1f} candidates each, {positives:.1f} positive"
