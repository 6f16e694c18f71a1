"""The page in the Markdown that GitHub shows in a comment, charts as Mermaid: it needs no hosting."""

import json
import re
from collections.abc import Sequence
from itertools import accumulate

import numpy as np
import pandas as pd
from tabulate import tabulate

from rerank.measure.markdown import escaped, escaped_html
from rerank.review.content import HEADING, Page, Section, Table
from rerank.review.examples import Example
from rerank.review.plots import Plot, series

# Letters of a text that is shown, readers of each kind, and points of a chart.
LETTERS, READERS, POINTS = 110, 3, 25
# Letters that GitHub takes: a comment has 65,536 at most.
PAGE = 65_000
# Seen on white and on black; one a revision, the base first.
COLOURS = {"orange": "#E69F00", "blue": "#0072B2", "green": "#009E73", "pink": "#CC79A7", "purple": "#6A3D9A"}


def _cut(text: str, letters: int = LETTERS) -> str:
    return text if len(text) <= letters else text[: letters - 1] + "…"


def _table(table: Table) -> str:
    aligned = ["right" if column in table.numbers else "left" for column in range(len(table.headings))]
    rows = [[escaped(_cut(cell)) for cell in row] for row in table.rows]
    return tabulate(rows, [escaped(name) for name in table.headings], "pipe", colalign=aligned, disable_numparse=True)


def _folded(title: str, content: str) -> str:
    return f"<details><summary>{title}</summary>\n\n{content}\n\n</details>"


def _quoted(text: str) -> str:
    """Return a text for a chart: in Mermaid's quotes only letters, digits and a few signs are safe."""
    return '"' + re.sub(r"[^\w@.,:()% -]", "", _cut(text)) + '"'


def _x_axis(plot: Plot, places: Sequence[str]) -> str:
    """Return the names of the systems; or steps: from first to last where they are even, else each of them."""
    if plot.is_by_system:
        return f"[{', '.join(map(_quoted, places))}]"
    steps = np.array([float(place) for place in places])
    even = np.allclose(np.diff(steps), (steps[-1] - steps[0]) / (len(steps) - 1), rtol=0.05)
    return f"{_quoted(plot.x_label)} {f'{places[0]} --> {places[-1]}' if even else '[' + ', '.join(places) + ']'}"


def _chart(plot: Plot) -> str | None:
    """Return a chart with a colour a revision, named above it: Mermaid draws no legend."""
    found = series(plot, most=POINTS)
    if found is None or len(plot.points) > len(COLOURS):
        return None
    places, values = found
    names = list(zip(plot.points, COLOURS, strict=False)) if len(values) > 1 else []
    flat = [value for line in values for value in line]
    room = max(0.01, 0.1 * (max(flat) - min(flat)))
    low = 0.0 if plot.is_by_system and min(flat) >= 0 else min(flat) - room
    kinds = ["line"] * (len(values) - 1) + ["bar" if plot.is_by_system else "line"]
    order = sorted(range(len(values)), key=lambda place: kinds[place])  # bars first, so that lines stand over them
    palette = ", ".join([*COLOURS.values()][place] for place in order)
    y_label = plot.x_label if plot.is_by_system else plot.y_label
    size = {"width": 800, "height": 110 + 34 * len(places) if plot.is_by_system else 320}
    init = {"xyChart": size, "themeVariables": {"xyChart": {"plotColorPalette": palette}}}
    said = ", ".join(f"{name} {colour} {kind}" for (name, colour), kind in zip(names, kinds, strict=False))
    return "\n".join(
        [
            f"**{escaped(plot.title)}**{f': {escaped(said)}' if said else ''}",
            "",
            "```mermaid",
            f"%%{{init: {json.dumps(init)}}}%%",
            f"xychart-beta{' horizontal' if plot.is_by_system else ''}",
            f"  x-axis {_x_axis(plot, places)}",
            f"  y-axis {_quoted(y_label)} {low:.3f} --> {max(flat) + room:.3f}",
            *(f"  {kinds[place]} [{', '.join(f'{value:.4f}' for value in values[place])}]" for place in order),
            "```",
        ]
    )


def _reader(reader: Example) -> str:
    def cells(row: tuple) -> list[str]:
        rank, before, label, text = row
        moved = "new" if pd.isna(before) else f"{int(before)}"
        return [f"{int(rank)}", moved, "" if label == 0 else f"{label:g}", text]

    rows = [cells(row) for part in (reader.top, reader.fallen) for row in part.itertuples(index=False, name=None)]
    table = _table(Table(["now", "before", "liked", "book"], rows, range(3)))
    context = escaped_html(_cut(reader.context, 2 * LETTERS))
    title = f"{HEADING} {reader.base:.3f} before, {reader.new:.3f} now: {context}"
    return _folded(title, f"Reader {escaped(reader.user)}\n\n{table}")


def _pictures(pictures: Sequence[tuple[str, str, str]]) -> str:
    parts = []
    for title, before, now in pictures:
        parts.append(
            f"| {escaped(title)}, before | now |\n|---|---|\n| ![before](<{before}>) | ![now](<{now}>) |"
            if before
            else f"![{escaped(title)}](<{now}>)"
        )
    return _folded(f"Pictures ({len(parts)})", "\n\n".join(parts))


def _parts(section: Section) -> list[str]:
    parts = [f"## {escaped(section.title)}", *map(escaped, section.words)]
    if section.items:
        parts.append("\n".join(f"- {escaped(line)}" for line in section.items))
    if section.table:
        parts.append(_table(section.table))
    parts += [_folded(escaped_html(title), _table(table)) for title, table in section.folded.items()]
    parts += [chart for plot in section.plots if (chart := _chart(plot))]
    parts += [_pictures(section.pictures)] if section.pictures else []
    parts += [_reader(reader) for reader in section.readers[:READERS]]
    return parts


def markdown(page: Page) -> str:
    """Return the page; beyond `PAGE` letters its last parts are left out."""
    parts = [f"# {escaped(page.title)}", f"**{escaped(page.finding)}**{escaped(page.details)}"]
    for section in page.sections:
        found = _parts(section)
        parts += found if len(found) > 1 else []
    fitting = [part for part, end in zip(parts, accumulate(len(part) + 2 for part in parts), strict=True) if end < PAGE]
    cut = ["Cut here: the rest would not fit a comment; index.html has all."] if len(fitting) < len(parts) else []
    return "\n\n".join([*fitting, *cut]) + "\n"
