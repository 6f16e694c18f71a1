"""The page that a reviewer reads, in the Markdown that GitHub shows, charts as Mermaid: it needs no hosting."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

import pandas as pd
from tabulate import tabulate

from rerank.measure.markdown import escaped, escaped_html
from rerank.measure.metrics import METRICS
from rerank.measure.seeds import is_of_this_run, spread
from rerank.review.changes import Change, StageChange
from rerank.review.comparison import MAIN, Compared, Gain, judged_system
from rerank.review.examples import Example
from rerank.systems.registry import SYSTEMS

HEADING = METRICS[MAIN].heading
# Letters of a text, rows of a table of changes, and names of inputs that a line shows.
LETTERS, ROWS, NAMES = 110, 40, 4
# Points of a curve that are drawn, and letters that GitHub takes: a comment has 65,536 at most.
POINTS, PAGE = 200, 65_000
WORDS = {
    "better": "is better",
    "worse": "is worse",
    "not told apart": "can't be told apart from before",
    "the same": "is the same",
}


@dataclass(frozen=True)
class Review:
    """All that the page shows, see `rerank.review.__main__`."""

    base: str
    new: str
    compared: Mapping[str, Compared]
    warnings: Sequence[str]
    metrics: Sequence[Change]
    data: Sequence[Change]
    params: Sequence[Change]
    libraries: Sequence[Change]
    stages: Sequence[StageChange]
    curves: tuple[pd.DataFrame | None, pd.DataFrame | None]
    seeds: Mapping[str, Sequence[float]]
    gained: Sequence[Example]
    lost: Sequence[Example]
    broken: Sequence[str]
    rules: int


def _said(gain: Gain) -> str:
    low, high = gain.difference["low"], gain.difference["high"]
    p_value = "p < 0.001" if gain.p_value < 0.0005 else f"p = {gain.p_value:.3f}"
    return f"{gain.difference['value']:+.3f} ({low:+.3f} to {high:+.3f}), {p_value}"


def verdict(review: Review) -> str:
    """Return the first line: what the change did to the ranking, how sure that is, and the noise of training."""
    compared = review.compared.get("warm")
    system = judged_system(compared) if compared else None
    if compared is None or system is None:
        return "**Nothing can be judged**: the two have no list of the fusion or the cross-encoder in common."
    gain = compared.gains[system][MAIN]
    line = (
        f"**The {SYSTEMS[system].label} {WORDS[gain.verdict]}**: {HEADING} {_said(gain)}, on the same lists of "
        f"{compared.users[2]:,} readers, {gain.base:.3f} before and {gain.new:.3f} now."
    )
    known = review.seeds.get(system, [])
    if len(known) > 1 and is_of_this_run(known, gain.new):
        mean, deviation = spread(known)
        line += f" The seed of training alone moves it by {deviation:.3f} ({len(known)} seeds, mean {mean:.3f})."
    return line


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: range = range(0)) -> str:
    """Return a table; the columns ``numbers`` stand to the right."""
    aligned = ["right" if column in numbers else "left" for column in range(len(headings))]
    return tabulate(rows, headings, "pipe", colalign=aligned, disable_numparse=True)


def _cut(text: str, letters: int = LETTERS) -> str:
    return text if len(text) <= letters else text[: letters - 1] + "…"


def _changes(noun: str, changes: Sequence[Change]) -> str:
    rows = [[escaped(_cut(str(cell))) for cell in change] for change in changes[:ROWS]]
    more = f"\n\n{len(changes) - ROWS:,} more." if len(changes) > ROWS else ""
    return _table([noun, "before", "now"], rows) + more


def _systems(compared: Compared) -> str:
    rows = []
    for system, gains in compared.gains.items():
        gain = gains[MAIN]
        low, high = (f"{gain.difference[name]:+.3f}" for name in ("low", "high"))
        numbers = [f"{gain.base:.3f}", f"{gain.new:.3f}", f"{gain.difference['value']:+.3f}", f"{low} to {high}"]
        rows.append([SYSTEMS[system].label, *numbers, f"{gain.p_value:.3f}", gain.verdict])
    table = _table(["", "before", "now", "difference", "95 % interval", "p", ""], rows, numbers=range(1, 6))
    only = [
        f"Only {when}: {', '.join(SYSTEMS[name].label for name in names)}."
        for when, names in zip(("before", "now"), compared.only, strict=True)
        if names
    ]
    return "\n\n".join([table, *only])


def _others(compared: Compared) -> str:
    """Return the other metrics of all systems, folded."""
    metrics = [name for name in METRICS if name != MAIN]
    rows = [
        [
            SYSTEMS[system].label,
            *(f"{gains[name].difference['value']:+.3f}" if name in gains else "" for name in metrics),
        ]
        for system, gains in compared.gains.items()
    ]
    table = _table(
        ["difference", *(METRICS[name].heading for name in metrics)], rows, numbers=range(1, 1 + len(metrics))
    )
    return _folded("Other metrics", table)


def _folded(title: str, content: str) -> str:
    return f"<details><summary>{title}</summary>\n\n{content}\n\n</details>"


def _stages(stages: Sequence[StageChange]) -> str:
    rows = []
    for stage in stages:
        more = f" and {len(stage.reasons) - NAMES:,} more" if len(stage.reasons) > NAMES else ""
        different, outputs = stage.outputs
        rows.append(
            [
                escaped(_cut(stage.name)),
                ", ".join(escaped(_cut(reason)) for reason in stage.reasons[:NAMES]) + more,
                f"{different} of {outputs} differ" if different else "the same bytes",
            ]
        )
    return _table(["stage", "what differs", "outputs"], rows)


def _chart(curves: tuple[pd.DataFrame | None, pd.DataFrame | None]) -> str | None:
    """Return the validation curves, first and second line, as a Mermaid chart; None without both."""
    before, now = curves
    if before is None or now is None or before.empty or now.empty:
        return None
    names = {str(name) for curve in (before, now) for name in curve["metric"]}
    series = [curve.groupby("step")["value"].last() for curve in (before, now)]
    steps = sorted(set(series[0].index) & set(series[1].index))
    steps = steps[:: math.ceil(len(steps) / POINTS) or 1]
    filled = [one[steps] for one in series]
    values = [float(value) for one in filled for value in one]
    if len(names) > 1 or len(steps) < 2 or not all(map(math.isfinite, values)):
        return None
    metric = re.sub(r"[^\w@. -]", "", names.pop())
    room = max(0.01, 0.1 * (max(values) - min(values)))
    lines = [f"  line [{', '.join(f'{value:.4f}' for value in one)}]" for one in filled]
    return "\n".join(
        [
            "```mermaid",
            "xychart-beta",
            '  title "Validation while training: before (first line), now (second line), steps that both have"',
            f'  x-axis "steps" [{", ".join(map(str, steps))}]',
            f'  y-axis "{metric}" {min(values) - room:.3f} --> {max(values) + room:.3f}',
            *lines,
            "```",
        ]
    )


def _example(example: Example) -> str:
    def cells(row: tuple) -> list[str]:
        rank, before, label, text = row
        moved = "new" if pd.isna(before) else f"{int(before)}"
        return [f"{int(rank)}", moved, "" if label == 0 else f"{label:g}", escaped(_cut(text))]

    rows = [cells(row) for part in (example.top, example.fallen) for row in part.itertuples(index=False, name=None)]
    table = _table(["now", "before", "liked", "book"], rows, numbers=range(3))
    context = escaped_html(_cut(example.context, 2 * LETTERS))
    title = f"{HEADING} {example.base:.3f} before, {example.new:.3f} now: {context}"
    return _folded(title, f"Reader {escaped(example.user)}\n\n{table}")


def markdown(review: Review) -> str:
    """Return the page; beyond `PAGE` letters its last parts are left out."""
    parts = [f"# {escaped(review.new)} against {escaped(review.base)}", verdict(review)]
    if review.rules:
        state = "\n".join(f"- **broken** {escaped(line)}" for line in review.broken) or "None is broken."
        parts += [f"## Rules ({review.rules})", state]
    if review.warnings:
        parts += ["## Before you believe it", "\n".join(f"- {escaped(line)}" for line in review.warnings)]
    if review.metrics:
        parts += ["## Metrics", "Without the scores there is no interval.", _changes("metric", review.metrics)]
    if review.data:
        parts += ["## The data changed", "This explains much of what follows.", _changes("count", review.data)]
    for kind, compared in review.compared.items():
        if compared.gains:
            title = "Systems" if kind == "warm" else "On books of which no reader is known"
            noun = f"{HEADING} on the same lists of {compared.users[2]:,} readers; higher is better."
            parts += [f"## {title}", noun, _systems(compared), _others(compared)]
    if chart := _chart(review.curves):
        parts += ["## Training", chart]
    for title, noun, some in (("Params", "param", review.params), ("Libraries", "library", review.libraries)):
        if some:
            parts += [f"## {title}", _changes(noun, some)]
    if review.stages:
        parts += ["## Stages", _stages(review.stages)]
    for title, readers in (("Who gained most", review.gained), ("Who lost most", review.lost)):
        if readers:
            parts += [f"## {title}", *map(_example, readers)]
    fitting = [part for part, end in zip(parts, accumulate(len(part) + 2 for part in parts), strict=True) if end < PAGE]
    cut = ["Cut here: the rest would not fit a comment."] if len(fitting) < len(parts) else []
    return "\n\n".join([*fitting, *cut]) + "\n"
