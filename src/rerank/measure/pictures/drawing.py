"""What all pictures share: one style, one colour and one name a system, axes, and what a title may claim."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import matplotlib.style
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rerank.files import replacing
from rerank.measure.intervals import is_finding
from rerank.systems.registry import CHANCE, FINE_TUNED, FUSED, SYSTEMS

# No system has it: what is worse, or the one best point.
MARK = "#D55E00"
INK = "#333333"
DECIMALS = 5
STYLE: dict[str, Any] = {
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 10,
    "figure.dpi": 120,
    "figure.figsize": (8, 4.5),
    "figure.titlesize": 11,
    "grid.alpha": 0.3,
    "legend.frameon": False,
}

Pictures = dict[str, Figure]
Points = dict[str, pd.DataFrame]


def styled() -> AbstractContextManager:
    """Draw and save in one style, whatever the user's own settings say."""
    return matplotlib.style.context(["default", STYLE])


def label(system: str) -> str:
    """Return what the pictures call a system."""
    return SYSTEMS[system].label


def colour(system: str) -> str:
    """Return the colour of a system in every picture."""
    return SYSTEMS[system].colour


def coloured(points: pd.DataFrame) -> pd.DataFrame:
    """Return points that have a system with its colour beside it, so that no template needs a list of systems."""
    with_colour = points.copy()
    with_colour.insert(points.columns.get_loc("system") + 1, "colour", points["system"].map(colour))
    return with_colour


def save(folder: Path, pictures: Pictures, points: Points) -> None:
    """Write each picture as NAME.png and each table of points as NAME.csv; their bytes depend on nothing else.

    A PNG carries neither a date nor a version.
    """
    with replacing(folder) as partial:
        partial.mkdir()
        for name, picture in pictures.items():
            picture.savefig(partial / f"{name}.png", format="png", metadata={"Software": None})
        for name, rows in points.items():
            rows.round(DECIMALS).to_csv(partial / f"{name}.csv", index=False, lineterminator="\n")


def titled(title: str, *, size: tuple[float, float] | None = None) -> Figure:
    """Return an empty figure with its title at the left."""
    figure = Figure(layout="constrained", figsize=size)
    figure.suptitle(title, x=0.01, horizontalalignment="left")
    return figure


def one_panel(title: str, x: str, y: str, *, size: tuple[float, float] | None = None) -> tuple[Figure, Axes]:
    """Return a titled figure with one panel, and the panel."""
    figure = titled(title, size=size)
    return figure, figure.add_subplot(xlabel=x, ylabel=y)


def line(axes: Axes, system: str, x: pd.Series, y: pd.Series, words: str, *, marker: str = "") -> None:
    """Draw a system's line: the fine-tuned one's is the widest, and chance's is dashed."""
    width, order = (2.4, 3) if system == FINE_TUNED else (1.4, 2)
    style = "--" if system == CHANCE else "-"
    axes.plot(
        x,
        y,
        label=words,
        color=colour(system),
        linewidth=width,
        linestyle=style,
        marker=marker,
        markersize=4,
        zorder=order,
    )


def legend_beside(axes: Axes, title: str | None = None) -> None:
    """Write the legend at the right of the panel."""
    axes.legend(title=title, loc="upper left", bbox_to_anchor=(1.01, 1), reverse=True, alignment="left")


def _other(comparison: Mapping[str, Any]) -> str:
    return "single system" if comparison["system"] == FUSED else "baseline"


def verdict(comparison: Mapping[str, Any], *, verb: str) -> str:
    """Return a title: what the interval and the test say of a system and the best other one."""
    difference, p_value = comparison["difference"], comparison["p_value"]
    words = "cannot be told apart from"
    if is_finding(comparison):
        words = f"{verb} better than" if difference["value"] > 0 else f"{verb} worse than"
    shown = f"p = {p_value:.3f}" if p_value >= 0.001 else "p < 0.001"
    return (
        f"The {label(comparison['system'])} {words} the best {_other(comparison)}, {label(comparison['baseline'])}\n"
        f"difference {difference['value']:+.3f}, 95 % interval {difference['low']:+.3f} to {difference['high']:+.3f}, "
        f"{shown}"
    )


def interval_points(evaluation: Mapping[str, Any], metric: str) -> pd.DataFrame:
    """Return system, colour, the metric, low, high; chance first and the best last."""
    rows = [
        (system, *(measured[metric][key] for key in ("value", "low", "high")))
        for system, measured in evaluation["systems"].items()
    ]
    points = pd.DataFrame(rows, columns=["system", metric, "low", "high"])
    return coloured(points.sort_values(metric, key=lambda value: value.where(points["system"] != CHANCE, -2)))


def intervals(points: pd.DataFrame, title: str, x: str, *, from_zero: bool) -> Figure:
    """Draw one dot and one 95 % interval a system, and a dashed line where chance lies.

    Args:
        points: from `interval_points`; the first row is drawn lowest.
        x: what the values are.
        from_zero: whether the axis begins at 0, or a little left of the lowest interval.
    """
    figure, axes = one_panel(title, x, "", size=(8, 1.6 + 0.5 * len(points)))
    for row, (system, shade, value, low, high) in enumerate(points.itertuples(index=False)):
        axes.plot([low, high], [row, row], color=shade, linewidth=3, solid_capstyle="butt")
        axes.plot(value, row, "o", color=shade, markersize=9)
        axes.annotate(
            f"{value:.3f}", (high, row), xytext=(6, 0), textcoords="offset points", va="center", fontweight="bold"
        )
        if system == CHANCE:
            axes.axvline(value, color=shade, linestyle="--", linewidth=1, zorder=1)
    axes.set_yticks(range(len(points)), [label(system) for system in points["system"]])
    axes.set_ylim(-0.6, len(points) - 0.4)
    low, high = points["low"].min(), points["high"].max()
    left = min(0, low) if from_zero else low - 0.1 * (high - low)
    axes.set_xlim(left, high + 0.12 * (high - left))
    axes.grid(axis="y", visible=False)
    return figure
