"""What stands on the page of a review, in the order in which a reviewer needs it.

Texts are as they are in the files: each form of the page, Markdown and HTML, escapes them for itself.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from rerank.measure.metrics import METRICS
from rerank.measure.seeds import is_of_this_run, spread
from rerank.review.changes import Change, StageChange
from rerank.review.comparison import MAIN, Compared, Gain, judged_system
from rerank.review.examples import Example
from rerank.review.plots import Plot
from rerank.systems.registry import SYSTEMS

HEADING = METRICS[MAIN].heading
# Rows of a table of changes, and names of inputs that a line shows.
ROWS, NAMES = 40, 4
WORDS = {
    "better": "is better",
    "worse": "is worse",
    "not told apart": "can't be told apart from before",
    "the same": "is the same",
}


@dataclass(frozen=True)
class Table:
    """A table; the columns ``numbers`` stand to the right."""

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers: Collection[int] = ()


@dataclass(frozen=True)
class Section:
    """A part of the page: words, a list, a table, more tables by title, folded, plots, pictures, readers.

    A picture is its title and the addresses of the one before ("" where there is none) and the one now.
    """

    title: str
    words: Sequence[str] = ()
    items: Sequence[str] = ()
    table: Table | None = None
    folded: Mapping[str, Table] = field(default_factory=dict)
    plots: Sequence[Plot] = ()
    pictures: Sequence[tuple[str, str, str]] = ()
    readers: Sequence[Example] = ()


@dataclass(frozen=True)
class Page:
    """A title, a finding in a few words and the rest of its line, and the parts."""

    title: str
    finding: str
    details: str
    sections: Sequence[Section]


@dataclass(frozen=True)
class Review:
    """All that was found between two revisions, see `rerank.review.__main__`."""

    base: str
    new: str
    compared: Mapping[str, Compared]
    warnings: Sequence[str]
    metrics: Sequence[Change]
    data: Sequence[Change]
    params: Sequence[Change]
    libraries: Sequence[Change]
    stages: Sequence[StageChange]
    plots: Sequence[Plot]
    pictures: Sequence[tuple[str, str, str]]
    seeds: Mapping[str, Sequence[float]]
    validation: tuple[float | None, float | None]
    readers: tuple[Sequence[Example], Sequence[Example]]
    broken: Sequence[str]
    rules: int


def _p_value(value: float) -> str:
    return "p < 0.001" if value < 0.0005 else f"p = {value:.3f}"


def interval(gain: Gain) -> str:
    """Return the ends of the 95 % interval of a difference."""
    return f"{gain.difference['low']:+.3f} to {gain.difference['high']:+.3f}"


def verdict(review: Review) -> tuple[str, str]:
    """Return what the change did to the ranking, in words, and by how much, how sure, and the noise of training."""
    compared = review.compared.get("warm")
    system = judged_system(compared) if compared else None
    if compared is None or system is None:
        return "Nothing can be judged", ": the two have no list of the fusion or the cross-encoder in common."
    gain = compared.gains[system][MAIN]
    line = (
        f": {HEADING} {gain.difference['value']:+.3f} ({interval(gain)}), {_p_value(gain.p_value)}, on the same lists "
        f"of {compared.users[2]:,} readers, {gain.base:.3f} before and {gain.new:.3f} now."
    )
    known = review.seeds.get(system, [])
    if len(known) > 1 and is_of_this_run(known, gain.new):
        mean, deviation = spread(known)
        line += f" The seed of training alone moves it by {deviation:.3f} ({len(known)} seeds, mean {mean:.3f})."
    return f"The {SYSTEMS[system].label} {WORDS[gain.verdict]}", line


def _changes(title: str, noun: str, found: Sequence[Change], *, words: Sequence[str] = ()) -> list[Section]:
    more = [f"{len(found) - ROWS:,} more."] if len(found) > ROWS else []
    rows = [[str(cell) for cell in change] for change in found[:ROWS]]
    return [Section(title, [*words, *more], table=Table([noun, "before", "now"], rows))] if found else []


def _systems(title: str, compared: Compared) -> Section:
    rows = [
        [
            SYSTEMS[system].label,
            *(f"{gains[MAIN].base:.3f}", f"{gains[MAIN].new:.3f}", f"{gains[MAIN].difference['value']:+.3f}"),
            *(interval(gains[MAIN]), f"{gains[MAIN].p_value:.3f}", gains[MAIN].verdict),
        ]
        for system, gains in compared.gains.items()
    ]
    metrics = [name for name in METRICS if name != MAIN]
    others = [
        [
            SYSTEMS[system].label,
            *(f"{gains[name].difference['value']:+.3f}" if name in gains else "" for name in metrics),
        ]
        for system, gains in compared.gains.items()
    ]
    only = [
        f"Only {when}: {', '.join(SYSTEMS[name].label for name in names)}."
        for when, names in zip(("before", "now"), compared.only, strict=True)
        if names
    ]
    headings = ["system", "before", "now", "difference", "95 % interval", "p", "verdict"]
    return Section(
        title,
        [f"{HEADING} on the same lists of {compared.users[2]:,} readers; higher is better.", *only],
        table=Table(headings, rows, range(1, 6)),
        folded={
            "Other metrics": Table(
                ["difference", *(METRICS[name].heading for name in metrics)], others, range(1, 1 + len(metrics))
            )
        },
    )


def _stages(stages: Sequence[StageChange]) -> Section:
    rows = []
    for stage in stages:
        more = f" and {len(stage.reasons) - NAMES:,} more" if len(stage.reasons) > NAMES else ""
        different, outputs = stage.outputs
        said = f"{different} of {outputs} differ" if different else "the same bytes"
        rows.append([stage.name, ", ".join(stage.reasons[:NAMES]) + more, said])
    return Section("Stages", table=Table(["stage", "what differs", "outputs"], rows))


def _findings(review: Review) -> list[Section]:
    sections = []
    if review.rules:
        state = [f"broken: {line}" for line in review.broken]
        sections.append(Section(f"Rules ({review.rules})", [] if state else ["None is broken."], state))
    if review.warnings:
        sections.append(Section("Before you believe it", items=review.warnings))
    return sections


def page(review: Review) -> Page:
    """Return the page on a change: data first, which explains much of what follows, then figures, then readers."""
    systems = [
        _systems("Systems" if kind == "warm" else "On books of which no reader is known", compared)
        for kind, compared in review.compared.items()
        if compared.gains
    ]
    gained, lost = review.readers
    sections = [
        *_findings(review),
        *_changes("Metrics", "metric", review.metrics, words=["Without the scores there is no interval."]),
        *_changes("The data changed", "count", review.data, words=["This explains much of what follows."]),
        *systems,
        *([Section("Plots", plots=review.plots, pictures=review.pictures)] if review.plots or review.pictures else []),
        *_changes("Params", "param", review.params),
        *_changes("Libraries", "library", review.libraries),
        *([_stages(review.stages)] if review.stages else []),
        *([Section("Who gained most", readers=gained)] if gained else []),
        *([Section("Who lost most", readers=lost)] if lost else []),
    ]
    return Page(f"{review.new} against {review.base}", *verdict(review), sections)
