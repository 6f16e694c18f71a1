"""Measure systems that predict a similarity: their scores' correlation with the label."""

from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit

from rerank.errors import UserError
from rerank.measure.intervals import SAMPLES, compared_by_groups, group_intervals
from rerank.measure.pair_metrics import Numbers, correlations
from rerank.measure.scores import check_comparable, scores_of, systems_of
from rerank.systems.registry import FINE_TUNED

HEADINGS = {"spearman": "Spearman", "pearson": "Pearson"}
MAIN = "spearman"


def predictions(scores: Numbers, *, max_grade: int) -> Numbers:
    """Return the cross-encoder's scores on the scale of the labels, 0 to ``max_grade``."""
    return max_grade * expit(scores)


def evaluate(
    validation: pd.DataFrame | None, test: pd.DataFrame, *, max_grade: int, seed: int, samples: int = SAMPLES
) -> dict[str, Any]:
    """Measure every system of a score table: the fine-tuned one on the scale of the labels, others as they are.

    Args:
        validation: not used: nothing is chosen here.
        test: a score table, see `rerank.measure.scores`; user_id is the pair's group.
        max_grade: the largest label.
        seed, samples: of the resampled groups behind each interval and the p-value.

    Returns:
        The content of data/evaluation.json.

    Raises:
        UserError: when nothing can be compared, or the labels or a system's scores are all the same.
    """
    check_comparable(test)
    labels = test["label"].to_numpy(dtype=float)
    predicted: dict[str, Numbers] = {system: scores_of(test, system) for system in systems_of(test)}
    predicted[FINE_TUNED] = predictions(predicted[FINE_TUNED], max_grade=max_grade)
    for name, values in {"label": labels, **predicted}.items():
        if np.ptp(values) == 0:
            raise UserError(f"--scores: '{name}' is {values[0]:g} in all {len(test):,} test pairs: nothing correlates")
    systems, drawn = group_intervals(
        lambda rows: {name: correlations(labels[rows], values[rows]) for name, values in predicted.items()},
        test["user_id"],
        samples=samples,
        seed=seed,
    )
    return {
        "task": "similarity",
        "groups": int(test["user_id"].nunique()),
        "pairs": len(test),
        "max_grade": max_grade,
        "systems": systems,
        "mean_absolute_error": float(np.abs(predicted[FINE_TUNED] - labels).mean()),
        "comparison": compared_by_groups(systems, drawn, metric=MAIN),
    }


def sizes(evaluation: dict[str, Any]) -> str:
    """Return the sizes, in words."""
    return f"{evaluation['pairs']:,} test pairs in {evaluation['groups']:,} groups"
