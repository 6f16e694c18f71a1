"""Tables and pictures of pairs that stand alone: systems compared, predicted against true, calibration."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from rerank.measure import figures

Measured = Mapping[str, Mapping[str, Any]]


def table(systems: Measured, metrics: Sequence[str]) -> str:
    """Return the table that a person wants to see: a row a system, the first metric with its 95 % interval."""
    first, *others = metrics
    rows = [["", first, "95 % interval", *others]]
    for system, measured in systems.items():
        main = measured[first]
        span = f"{main['low']:.3f} to {main['high']:.3f}"
        rows.append([system, f"{main['value']:.3f}", span, *(f"{measured[name]['value']:.3f}" for name in others)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows)


def interval_points(systems: Measured, metric: str) -> pd.DataFrame:
    """Return system, the metric, low, high; the best last."""
    rows = [(name, *(measured[metric][key] for key in ("value", "low", "high"))) for name, measured in systems.items()]
    return pd.DataFrame(rows, columns=["system", metric, "low", "high"]).sort_values(metric, ignore_index=True)


def save(pictures: Mapping[str, Figure], points: Mapping[str, pd.DataFrame], folder: Path, *, decimals: int) -> None:
    """Write each picture as NAME.png and each table of points as NAME.csv."""
    for name, picture in pictures.items():
        figures.save(picture, folder / f"{name}.png")
    for name, rows in points.items():
        rows.round(decimals).to_csv(folder / f"{name}.csv", index=False, lineterminator="\n")


def _panel(figure: Figure, x: str, y: str, *, place: int = 111) -> Any:
    return figure.add_subplot(place, xlabel=x, ylabel=y)


def comparison(
    points: pd.DataFrame, *, metric: str, against: Mapping[str, Any], difference: Mapping[str, float]
) -> Figure:
    """Draw one dot and one 95 % interval a system.

    Args:
        points: from `interval_points`.
        metric: what the values are, in words.
        against: names the best baseline.
        difference: how much better the cross-encoder is: value, low, high.
    """
    low, high = points["low"].min(), points["high"].max()
    return figures.intervals(
        points,
        figures.finding("is", against["baseline"], difference["value"], difference),
        f"{metric} (higher is better)",
        left=low - 0.1 * (high - low),
    )


def predicted(points: pd.DataFrame, *, results: Mapping[str, Any]) -> Figure:
    """Draw predicted against true labels, and the residuals.

    Args:
        points: label, predicted; on the same scale.
        results: what ``correlate`` measures.
    """
    spearman = results["systems"]["cross_encoder"]["spearman"]
    figure = figures.titled(
        f"Predicted similarities follow the true ones: Spearman {spearman['value']:.3f} "
        f"({spearman['low']:.3f} to {spearman['high']:.3f}), mean absolute error {results['mean_absolute_error']:.2f}",
        size=(9, 4.5),
    )
    top = points["label"].max()
    left = _panel(figure, "true label", "predicted label (on the line is best)", place=121)
    left.plot([0, top], [0, top], color=figures.COLOURS["chance"], linestyle="--", linewidth=1)
    style = {"s": 9, "alpha": 0.35, "linewidths": 0, "color": figures.colour("cross_encoder")}
    left.scatter(points["label"], points["predicted"], **style)
    residual = points["predicted"] - points["label"]
    right = _panel(figure, "predicted label", "residual: predicted - true (0 is best)", place=122)
    right.axhline(0, color=figures.COLOURS["chance"], linestyle="--", linewidth=1)
    right.scatter(points["predicted"], residual, **style)
    bins = pd.qcut(points["predicted"], 12, duplicates="drop")
    means = pd.DataFrame({"x": points["predicted"], "y": residual}).groupby(bins, observed=True).mean()
    right.plot(means["x"], means["y"], color=figures.WORSE, linewidth=2, label="mean residual")
    right.legend(loc="lower left")
    return figure


def calibration(points: pd.DataFrame, *, systems: Measured) -> Figure:
    """Draw how often pairs of a predicted probability are positive.

    Args:
        points: system, predicted, observed, pairs.
        systems: what ``classify`` measures.
    """
    brier = systems["cross_encoder"]["brier"]["value"]
    best = min((name for name in systems if name != "cross_encoder"), key=lambda name: systems[name]["brier"]["value"])
    figure = figures.titled(
        f"Brier score (lower is better) of the cross-encoder {brier:.3f}, of the best baseline "
        f"{systems[best]['brier']['value']:.3f}\n"
        "each system through a logistic curve fitted on validation; on the dashed line is best"
    )
    axes = _panel(figure, "predicted probability, mean of a tenth of the pairs", "share of positives among them")
    axes.plot([0, 1], [0, 1], color=figures.COLOURS["chance"], linestyle="--", linewidth=1)
    for system, curve in points.groupby("system", sort=False):
        label = f"{figures.name(str(system))}: Brier {systems[str(system)]['brier']['value']:.3f}"
        axes.plot(
            curve["predicted"], curve["observed"], "o-", color=figures.colour(str(system)), label=label, markersize=4
        )
    axes.set(xlim=(0, 1), ylim=(0, 1))
    axes.legend(loc="upper left")
    return figure
