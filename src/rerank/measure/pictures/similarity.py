"""The pictures of systems that predict a similarity: correlations, and predicted against true."""

from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from rerank.measure.pictures.drawing import (
    MARK,
    Pictures,
    Points,
    colour,
    interval_points,
    intervals,
    titled,
    verdict,
)
from rerank.measure.scores import scores_of
from rerank.measure.similarity import MAIN, predictions
from rerank.systems.registry import CHANCE, FINE_TUNED

BINS = 12


def predicted_points(test: pd.DataFrame, *, max_grade: int) -> pd.DataFrame:
    """Return label and predicted, by the fine-tuned system and on the same scale, sorted."""
    predicted = predictions(scores_of(test, FINE_TUNED), max_grade=max_grade)
    return pd.DataFrame({"label": test["label"], "predicted": predicted}).sort_values(["label", "predicted"])


def predicted(points: pd.DataFrame, *, evaluation: dict[str, Any]) -> Figure:
    """Draw predicted against true labels, and the residuals.

    Args:
        points: from `predicted_points`.
        evaluation: what `rerank.measure.similarity.evaluate` measured.
    """
    spearman = evaluation["systems"][FINE_TUNED]["spearman"]
    figure = titled(
        f"Predicted and true similarities: Spearman {spearman['value']:.3f} ({spearman['low']:.3f} to "
        f"{spearman['high']:.3f}), mean absolute error {evaluation['mean_absolute_error']:.2f}",
        size=(9, 4.5),
    )
    left, right = figure.subplots(1, 2)
    top = evaluation["max_grade"]
    left.set(xlabel="true label", ylabel="predicted label (on the line is best)")
    left.plot([0, top], [0, top], color=colour(CHANCE), linestyle="--", linewidth=1)
    style: dict[str, Any] = {"s": 9, "alpha": 0.35, "linewidths": 0, "color": colour(FINE_TUNED)}
    left.scatter(points["label"], points["predicted"], **style)
    residual = points["predicted"] - points["label"]
    right.set(xlabel="predicted label", ylabel="residual: predicted - true (0 is best)")
    right.axhline(0, color=colour(CHANCE), linestyle="--", linewidth=1)
    right.scatter(points["predicted"], residual, **style)
    bins = pd.qcut(points["predicted"], BINS, duplicates="drop")
    means = pd.DataFrame({"x": points["predicted"], "y": residual}).groupby(bins, observed=True).mean()
    right.plot(means["x"], means["y"], color=MARK, linewidth=2, label="mean residual")
    right.legend(loc="lower left")
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
        validation, favourites: not used.
        test: a score table, see `rerank.measure.scores`.
        evaluation: what `rerank.measure.similarity.evaluate` measured on it.
    """
    points = {
        MAIN: interval_points(evaluation, MAIN),
        "predicted": predicted_points(test, max_grade=evaluation["max_grade"]),
    }
    return {
        MAIN: intervals(
            points[MAIN],
            verdict(evaluation["comparison"], verb="is"),
            "Spearman's correlation with the label (higher is better)",
            from_zero=False,
        ),
        "predicted": predicted(points["predicted"], evaluation=evaluation),
    }, points
