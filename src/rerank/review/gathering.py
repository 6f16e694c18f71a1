"""All that a page needs of two revisions, from their files: nothing runs again."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path

import pandas as pd

from rerank.measure.scores import column, joined, systems_of
from rerank.measure.seeds import results_are_stale
from rerank.params_file import FILE
from rerank.review import tables
from rerank.review.changes import Change, changes, of_json, of_requirements, of_yaml, stage_changes, stages_of
from rerank.review.comparison import Compared, chance_level, collapsed, compare_kinds, judged_system
from rerank.review.content import Review
from rerank.review.examples import Example, examples
from rerank.review.plots import Plot, declared, overlaid
from rerank.review.revisions import Revision, missing
from rerank.review.rules import Rule, broken
from rerank.systems.registry import SYSTEMS

PIPELINE, LOCK, REQUIREMENTS = Path("dvc.yaml"), Path("dvc.lock"), Path("requirements.txt")
# A move of the chance level that changes what a figure means.
MOVED = 0.005
STALE = "the working tree's results are not of its params, code and data: run `dvc repro`, or `dvc checkout`"
# A share of cut pairs that a reviewer should know.
CUT = 0.05
# Readers that gained, and that lost, whose lists are kept.
READERS = 40


@dataclass(frozen=True)
class Files:
    """Where a revision has what is compared, see `rerank.review.__main__.main`."""

    scores: Sequence[Path]
    split: Path
    metrics: Sequence[Path] = ()
    counts: Sequence[Path] = ()
    training: Path | None = None
    model: Path | None = None
    seeds: Path | None = None
    rules: Path | None = None


@dataclass
class _Scores:
    """The test scores of a revision; and its systems that this code lacks."""

    table: pd.DataFrame | None
    unknown: list[str] = field(default_factory=list)


def _scores(one: Revision, folders: Sequence[Path]) -> _Scores:
    found = {folder / "test.parquet": one.read(folder / "test.parquet", tables.score_table) for folder in folders}
    there = {file: table for file, table in found.items() if table is not None}
    unknown = {name for table in there.values() for name in systems_of(table) if name not in SYSTEMS}
    known = {file: table.drop(columns=map(column, unknown), errors="ignore") for file, table in there.items()}
    return _Scores(joined(known) if known else None, sorted(unknown))


def _changes(both: Sequence[Revision], path: Path, reader: Callable[[bytes | None], dict]) -> list[Change]:
    """Return what differs in a file that both have; what one lacks is named as missing."""
    contents = [one.read(path, reader) for one in both]
    return changes(*contents) if all(contents) else []


def _warnings(
    compared: Mapping[str, Compared], scores: tuple[pd.DataFrame, pd.DataFrame] | None, cut: Sequence[float | None]
) -> list[str]:
    """Return what the figures themselves say against believing them.

    Args:
        compared: see `compare_kinds`.
        scores: the tables before and now.
        cut: the shares of training pairs that were cut, before and now.
    """
    lines = []
    for kind, found in compared.items():
        readers, readers_now, same = found.users
        if not readers == readers_now == same:
            lines.append(
                f"the {kind} lists differ: {readers:,} readers before, {readers_now:,} now, {same:,} with the same "
                "list, which alone are compared"
            )
    if scores:
        before, now = map(chance_level, scores)
        if abs(now - before) > MOVED:
            lines.append(f"the chance level moved from {before:.3f} to {now:.3f}: absolute figures do not compare")
        for table, when in zip(scores, ("before", "now"), strict=True):
            alike = [SYSTEMS[name].label for name in collapsed(table)]
            lines += [f"{label} {when}: scores all candidates of a list alike" for label in alike]
    if cut[1] is not None and (cut[1] > CUT or cut[0] != cut[1]):
        before_cut = "?" if cut[0] is None else f"{cut[0]:.1%}"
        lines.append(f"{cut[1]:.1%} of the training pairs are cut at max_length ({before_cut} before)")
    return lines


def _changed_rules(both: Sequence[Revision], rules: Path | None) -> list[str]:
    if rules is None or (texts := [one.get(rules) for one in both])[0] == texts[1]:
        return []
    return [f"{rules} itself {'changed' if texts[0] else 'is new'}: read it, too"]


def plots(revisions: Mapping[str, Revision]) -> list[Plot]:
    """Return what the last one's dvc.yaml declares, of all revisions, by the words for each, over each other."""
    last = list(revisions.values())[-1]
    found = []
    for path, words in declared(last.read(PIPELINE, stages_of)).items():
        if path.endswith(".csv"):
            points = {name: one.read(Path(path), tables.points) for name, one in revisions.items()}
            found.append(last.checked(Path(path), partial(overlaid, words, points)))
    return [plot for plot in found if plot]


def _pictures(both: Sequence[Revision], repository: str | None) -> list[tuple[str, str, str]]:
    """Return title and addresses of the pictures that differ, see `rerank.review.content.Section`."""
    found = []
    for path in declared(both[1].read(PIPELINE, stages_of)):
        if path.endswith((".png", ".svg")):
            before, now = (one.get(Path(path)) for one in both)
            addresses = [one.address(Path(path), repository) for one in both]
            if now is not None and before != now and addresses[1]:
                found.append((Path(path).stem, addresses[0] if before else "", addresses[1]))
    return found


def _first_number(content: Mapping[str, object]) -> float | None:
    return next((value for value in content.values() if isinstance(value, float)), None)


@cache
def _stale() -> bool:
    return results_are_stale()


def review(
    base: Revision, new: Revision, files: Files, *, rules: Sequence[Rule] = (), repository: str | None = None
) -> Review:
    """Compare two revisions.

    Args:
        repository: the address of a GitHub repository that has both, which shows their pictures.
    """
    both = (base, new)
    params = [one.read(Path(FILE), of_yaml) for one in both]
    before, after = (_scores(one, files.scores) for one in both)
    compared: dict[str, Compared] = {}
    readers: tuple[list[Example], list[Example]] = ([], [])
    pair = None if before.table is None or after.table is None else (before.table, after.table)
    if pair:
        seed = params[1].get("seed")
        compared = compare_kinds(*pair, seed=seed if isinstance(seed, int) and seed >= 0 else 0)
        system = judged_system(compared["warm"])
        texts = new.read(files.split / "test.parquet", tables.texts)
        if system and texts is not None:
            readers = examples(*pair, texts, compared["warm"].values[system], system=system, shown=READERS)
    measured: list[Change] = []
    if not any(found.gains for found in compared.values()):
        measured = [change for path in files.metrics for change in _changes(both, path, of_json)]
    different = changes(*params) if all(params) else []
    locks = [one.read(LOCK, stages_of) for one in both]
    stages = stage_changes(*locks, declared=new.read(PIPELINE, stages_of)) if all(locks) else []
    trained = [one.read(files.model / "training.json", of_json) if files.model else {} for one in both]
    watched = [one.read(files.training, of_json) if files.training else {} for one in both]
    # All files are read before those that are missing are named.
    parts = {
        "data": [
            (f"{path.name}: {key}" if len(files.counts) > 1 else key, *values)
            for path in files.counts
            for key, *values in _changes(both, path, of_json)
        ],
        "libraries": _changes(both, REQUIREMENTS, of_requirements),
        "plots": plots({"before": base, "now": new}),
        "pictures": _pictures(both, repository),
        "seeds": new.read(files.seeds, tables.seeds) if files.seeds else {},
    }
    stale = [STALE] if new.commit is None and _stale() else []
    warnings = [
        *stale,
        *_changed_rules(both, files.rules),
        *missing(both),
        *(f"{name} before: this code knows no such system: left out" for name in before.unknown),
        *_warnings(
            compared,
            pair,
            [share if isinstance(share := one.get("cut_pairs"), float) else None for one in trained],
        ),
        *(f"{key} changed: another model learnt" for key, *_ in different if key in ("base_model", "bi_encoder")),
    ]
    return Review(
        base=base.name,
        new=new.name,
        compared=compared,
        warnings=warnings,
        metrics=measured,
        params=different,
        stages=stages,
        validation=(_first_number(watched[0]), _first_number(watched[1])),
        readers=readers,
        broken=[*(stale if rules else []), *broken(list(rules), compared)],
        rules=len(rules),
        **parts,  # type: ignore[arg-type]
    )
