"""Pictures of the plots of two revisions or more over each other, for a light and for a dark page."""

import io
import re
from collections.abc import Callable, Mapping
from colorsys import hls_to_rgb, rgb_to_hls
from dataclasses import replace
from typing import Any

import matplotlib.style
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from rerank.measure.markdown import shown
from rerank.measure.pictures.drawing import INK, one_panel, styled
from rerank.review.plots import Plot, label

# A line of a revision: the last is solid; and the colours of lines that are no system's.
STYLES, SHADES = ("--", ":", "-."), ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#6A3D9A", "#661100")
BASE_SHADE = "#8c8c8c"
LETTERS, NAME = 80, 40
INKS = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color")
SVG: dict[str, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "review",
    "font.family": "sans-serif",
    "savefig.transparent": True,
    "text.parse_math": False,
    **dict.fromkeys(INKS, INK),
}


def _lines(plot: Plot) -> list[tuple[str, pd.DataFrame, Any, float]]:
    """Return name, points, line style and opacity of each revision: the last is solid."""
    names = list(plot.points)
    styles = [STYLES[place % len(STYLES)] for place in range(len(names) - 1)] + ["-"]
    return [
        (name, plot.points[name], style, 1.0 if name == names[-1] else 0.75)
        for name, style in zip(names, styles, strict=True)
    ]


def _legends(axes: Axes, plot: Plot, colours: Mapping[str, str]) -> None:
    """Write what the colours are, and below it which line is whose."""
    handles = [Line2D([], [], color=shade, linewidth=2) for shade in colours.values()]
    styles = [Line2D([], [], color=INK, linestyle=style) for _, _, style, _ in _lines(plot)]
    names = [*(label(name) for name in colours), *plot.points]
    axes.legend([*handles, *styles], names, loc="upper left", bbox_to_anchor=(1.01, 1))


def _intervals(plot: Plot) -> Figure:
    rows, names = plot.rows, list(plot.points)
    step = 0.7 / max(2, len(names))
    figure, axes = one_panel("", plot.x_label, "", size=(7.5, 1.3 + 0.28 * len(rows) * max(2, len(names))))
    drawn = []
    for place, (name, table) in enumerate(plot.points.items()):
        shift = step * ((len(names) - 1) / 2 - place)
        last = name == names[-1]
        for row in table.to_dict("records"):
            y, value, shade = rows.index(str(row[plot.y])) + shift, row[plot.x], str(row.get("colour", SHADES[0]))
            low, high = (row[end] if end in row and pd.notna(row[end]) else value for end in ("low", "high"))
            axes.plot([low, high], [y, y], color=shade, linewidth=2.5 if last else 1.2)
            axes.plot(value, y, "o", color=shade, markersize=6, markerfacecolor=shade if last else "none")
            axes.annotate(f"{value:.3f}", (high, y), xytext=(6, 0), textcoords="offset points", va="center", fontsize=8)
        drawn.append(Line2D([], [], color=INK, marker="o", markerfacecolor=INK if last else "none"))
    axes.set_yticks(range(len(rows)), [label(row) for row in rows])
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.axvline(0, color=INK, linewidth=0.8) if axes.get_xlim()[0] <= 0 else None
    axes.grid(axis="y", visible=False)
    axes.margins(x=0.1)
    if len(names) > 1:
        figure.legend(drawn, names, loc="outside lower center", ncols=min(4, len(names)))
    return figure


def _by(column: str, *, steps: bool = False) -> Callable[[Plot], Figure]:
    """Return a function that draws a line for each value of a column, in its colour."""

    def draw(plot: Plot) -> Figure:
        figure, axes = one_panel("", plot.x_label, plot.y_label, size=(8.5, 4.2))
        colours: dict[str, str] = {}
        for _, table, style, opacity in _lines(plot):
            for name, curve in table.groupby(column, sort=False):
                shade = str(curve["colour"].iloc[0]) if "colour" in curve else SHADES[len(colours) % len(SHADES)]
                colours.setdefault(str(name), shade)
                axes.plot(
                    curve[plot.x],
                    curve[plot.y],
                    color=colours[str(name)],
                    linestyle=style,
                    alpha=opacity,
                    linewidth=1.4,
                    drawstyle="steps-mid" if steps else "default",
                )
                if {"low", "high"} <= set(curve) and style == "-":
                    axes.vlines(curve[plot.x], curve["low"], curve["high"], color=colours[str(name)], linewidth=1)
        _legends(axes, plot, colours)
        return figure

    return draw


def _simple(plot: Plot) -> Figure:
    figure, axes = one_panel("", plot.x_label, plot.y_label, size=(7.5, 3.6))
    for place, (name, table, style, _) in enumerate(_lines(plot)):
        few = "o" if len(table) <= 40 else ""
        shade = BASE_SHADE if place == 0 and len(plot.points) > 1 else SHADES[(place - 1) % len(SHADES)]
        style = style if place == 0 else "-"
        axes.plot(table[plot.x], table[plot.y], few, color=shade, linestyle=style, markersize=3, label=name)
    if axes.get_ylim()[0] < 0:
        axes.axhline(0, color=INK, linewidth=0.8)
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1))
    return figure


# One function for each of `rerank.review.plots.TEMPLATES`.
DRAW: dict[str, Callable[[Plot], Figure]] = {
    "intervals": _intervals,
    "curves": _by("system"),
    "curves_with_intervals": _by("system"),
    "shares": _by("label", steps=True),
    "simple": _simple,
}


def svg(plot: Plot) -> str:
    """Return the picture as SVG in dark ink on nothing, its words as words; the same points give the same text."""
    words = {name: shown(getattr(plot, name))[:LETTERS] for name in ("title", "x_label", "y_label")}
    plot = replace(plot, **words, points={shown(name)[:NAME]: table for name, table in plot.points.items()})
    with styled(), matplotlib.style.context(SVG):
        figure = DRAW[plot.template](plot)
        written = io.StringIO()
        figure.savefig(written, format="svg", metadata={"Date": None, "Creator": None})
    return written.getvalue()


def for_the_dark(picture: str) -> str:
    """Return an SVG for a dark page: each colour keeps its hue and is at least as light as the dark ones were dark."""

    def lightened(found: re.Match[str]) -> str:
        red, green, blue = (int(found[0][place : place + 2], 16) / 255 for place in (1, 3, 5))
        hue, light, saturation = rgb_to_hls(red, green, blue)
        mirrored = max(light, 1 - light, 0.62)
        rgb = hls_to_rgb(hue, mirrored, saturation)
        return "#" + "".join(f"{round(255 * value):02x}" for value in rgb)

    return re.sub(r"#[0-9a-fA-F]{6}\b", lightened, picture)
