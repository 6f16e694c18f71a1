"""Measure systems that decide whether two texts say the same, by a threshold that is chosen on validation.

A threshold that is tuned on the pairs which it is measured on flatters every system, and the noisiest most.
"""

from typing import Any

import pandas as pd

from rerank.errors import UserError
from rerank.measure.intervals import SAMPLES, compared_by_groups, group_intervals
from rerank.measure.pair_metrics import Numbers, best_threshold, calibrated, decisions
from rerank.measure.scores import check_comparable, scores_of, systems_of

HEADINGS = {
    "f1": "F1",
    "precision": "precision",
    "recall": "recall",
    "accuracy": "accuracy",
    "average_precision": "avg. precision",
    "brier": "Brier",
}
MAIN = "f1"


def probabilities(validation: pd.DataFrame | None, test: pd.DataFrame) -> dict[str, Numbers]:
    """Return the test pairs' probabilities by each system, through a logistic curve fitted on the validation pairs.

    Raises:
        UserError: when there is no validation, or a split without positives or negatives.
    """
    if validation is None:
        raise UserError("--scores: no folder has validation.parquet: thresholds of duplicates are chosen on it")
    for name, table in (("validation", validation), ("test", test)):
        if (table["label"] > 0).nunique() < 2:
            raise UserError(f"--scores: {name} has no two labels: it needs pairs above 0 and pairs of 0: add more data")
    positive = (validation["label"] > 0).to_numpy()
    return {
        system: calibrated(positive, scores_of(validation, system), scores_of(test, system))
        for system in systems_of(test)
    }


def evaluate(
    validation: pd.DataFrame | None, test: pd.DataFrame, *, max_grade: int, seed: int, samples: int = SAMPLES
) -> dict[str, Any]:
    """Measure every system's decisions on test, with the threshold that has the best F1 on validation.

    Args:
        validation, test: score tables, see `rerank.measure.scores`; user_id is the pair's group, a label above 0
            positive.
        max_grade: not used: labels are duplicate or not.
        seed, samples: of the resampled groups behind each interval and the p-value.

    Returns:
        The content of data/evaluation.json.

    Raises:
        UserError: when there is no validation, or nothing can be compared.
    """
    check_comparable(test)
    probability = probabilities(validation, test)
    assert validation is not None  # or there were no probabilities
    known = (validation["label"] > 0).to_numpy()
    thresholds = {system: best_threshold(known, scores_of(validation, system)) for system in systems_of(test)}
    positive = (test["label"] > 0).to_numpy()
    scores = {system: scores_of(test, system) for system in thresholds}
    systems, drawn = group_intervals(
        lambda rows: {
            name: {
                **decisions(positive[rows], scores[name][rows], threshold),
                "brier": float(((probability[name][rows] - positive[rows]) ** 2).mean()),
            }
            for name, threshold in thresholds.items()
        },
        test["user_id"],
        samples=samples,
        seed=seed,
    )
    return {
        "task": "duplicates",
        "groups": int(test["user_id"].nunique()),
        "pairs": len(test),
        "positive_share": float(positive.mean()),
        "thresholds": thresholds,
        "systems": systems,
        "comparison": compared_by_groups(systems, drawn, metric=MAIN),
    }


def sizes(evaluation: dict[str, Any]) -> str:
    """Return the sizes, in words."""
    return (
        f"{evaluation['pairs']:,} test pairs in {evaluation['groups']:,} groups, "
        f"{100 * evaluation['positive_share']:.1f} % positive"
    )
