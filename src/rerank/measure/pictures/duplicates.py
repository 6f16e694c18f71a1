"""The pictures of systems that decide: F1 on test, and how far their probabilities can be believed."""

from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from rerank.measure.duplicates import MAIN, probabilities
from rerank.measure.pair_metrics import calibration_curve
from rerank.measure.pictures.drawing import (
    Pictures,
    Points,
    colour,
    coloured,
    interval_points,
    intervals,
    label,
    legend_beside,
    line,
    one_panel,
    verdict,
)
from rerank.systems.registry import CHANCE

CALIBRATION_BINS = 10


def calibration_points(validation: pd.DataFrame | None, test: pd.DataFrame) -> pd.DataFrame:
    """Return system, colour, predicted (mean probability of a bin), observed (share of positives), pairs."""
    positive = (test["label"] > 0).to_numpy()
    curves = [
        calibration_curve(positive, probability, bins=CALIBRATION_BINS).assign(system=system)
        for system, probability in probabilities(validation, test).items()
    ]
    columns = ["system", "predicted", "observed", "pairs"]
    return coloured(pd.concat(curves, ignore_index=True)[columns])


def calibration(points: pd.DataFrame, *, evaluation: dict[str, Any]) -> Figure:
    """Draw how often pairs of a predicted probability are positive.

    Args:
        points: from `calibration_points`.
        evaluation: what `rerank.measure.duplicates.evaluate` measured.
    """
    figure, axes = one_panel(
        "Share of positives by predicted probability (on the dashed line is best)\n"
        "each system through a logistic curve fitted on validation",
        "predicted probability, mean of a tenth of the pairs",
        "share of positives among them",
    )
    axes.plot([0, 1], [0, 1], color=colour(CHANCE), linestyle="--", linewidth=1)
    for system, curve in points.groupby("system", sort=False):
        brier = evaluation["systems"][system]["brier"]["value"]
        words = f"{label(str(system))}: {brier:.3f}"
        line(axes, str(system), curve["predicted"], curve["observed"], words, marker="o")
    axes.set(xlim=(0, 1), ylim=(0, 1))
    legend_beside(axes, "Brier score (lower is better)")
    return figure


def draw(
    validation: pd.DataFrame | None,
    test: pd.DataFrame,
    *,
    evaluation: dict[str, Any],
    favourites: pd.Series | None = None,
) -> tuple[Pictures, Points]:
    """Return the pictures and the points behind them, by file name without ending.

    Args:
        validation, test: score tables, see `rerank.measure.scores`.
        evaluation: what `rerank.measure.duplicates.evaluate` measured on them.
        favourites: not used.
    """
    points = {
        MAIN: interval_points(evaluation, MAIN),
        "calibration": calibration_points(validation, test),
    }
    return {
        MAIN: intervals(
            points[MAIN],
            verdict(evaluation["comparison"], verb="is"),
            "F1 on test, threshold from validation (higher is better)",
            from_zero=False,
        ),
        "calibration": calibration(points["calibration"], evaluation=evaluation),
    }, points
