"""Measure systems that rank candidate lists: means over users, chance among them, and a paired test."""

from typing import Any

import pandas as pd
from sklearn.metrics import average_precision_score, roc_auc_score

from rerank.errors import UserError
from rerank.measure.intervals import SAMPLES, best_other, comparison, mean_interval, paired_test, resamples
from rerank.measure.metrics import METRICS, by_chance, per_user
from rerank.measure.scores import KEYS, check_comparable, scores_of, systems_of
from rerank.systems.registry import CHANCE, FINE_TUNED

HEADINGS = {name: metric.heading for name, metric in METRICS.items()}
MAIN = "ndcg@10"


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
        The content of data/evaluation.json: sizes, each system's metrics as means over users with their 95 % intervals,
        two metrics over all pairs pooled, and the fine-tuned system against the other with the best mean nDCG@10.

    Raises:
        UserError: when nothing can be measured or compared.
    """
    check_comparable(test)
    _check_labels(test)
    users, books, labels = (test[key].to_numpy() for key in KEYS)
    measured = {CHANCE: by_chance(users, books, labels)}
    measured |= {system: per_user(users, books, labels, scores_of(test, system)) for system in systems_of(test)}
    drawn = resamples(len(measured[CHANCE]), samples=samples, seed=seed)
    systems = {
        system: {metric: mean_interval(values[metric], drawn) for metric in METRICS}
        for system, values in measured.items()
    }
    baseline = best_other(systems, MAIN)
    difference, p_value = paired_test(measured[FINE_TUNED][MAIN], measured[baseline][MAIN], seed=seed, samples=samples)
    positive = labels > 0
    lists = pd.Series(positive).groupby(users)
    return {
        "task": "ranking",
        "users": len(lists),
        "pairs": len(test),
        "candidates_per_user": _spread(lists.size()),
        "positives_per_user": _spread(lists.sum()),
        "systems": systems,
        "pooled": {
            system: {
                "roc_auc": float(roc_auc_score(positive, scores_of(test, system))),
                "average_precision": float(average_precision_score(positive, scores_of(test, system))),
            }
            for system in systems_of(test)
        },
        "comparison": comparison(baseline, MAIN, difference, p_value),
    }


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
