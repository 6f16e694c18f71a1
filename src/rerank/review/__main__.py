"""Compare two revisions: a page for the reviewer, and rules that pass or fail. Nothing runs again.

    python -m rerank.review --base origin/main --scores data/scores/* --split data/split --report report

A revision is a commit, a branch, a tag or an experiment of `dvc exp show`.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from rerank.command import run
from rerank.errors import UserError
from rerank.files import replacing
from rerank.measure.scores import column, joined, systems_of
from rerank.measure.seeds import results_are_stale
from rerank.params_file import FILE
from rerank.review import tables
from rerank.review.changes import Change, changes, of_json, of_requirements, of_yaml, stage_changes, stages_of
from rerank.review.comparison import Compared, chance_level, collapsed, compare_kinds, judged_system
from rerank.review.examples import Example, examples
from rerank.review.page import Review, markdown, verdict
from rerank.review.revisions import Revision, missing, revision
from rerank.review.rules import broken, read_rules, rule
from rerank.systems.registry import SYSTEMS

PIPELINE, LOCK, REQUIREMENTS = Path("dvc.yaml"), Path("dvc.lock"), Path("requirements.txt")
PAGE = "report.md"
# A move of the chance level that changes what a figure means.
MOVED = 0.005
STALE = "the working tree's results are not of its params, code and data: run `dvc repro`, or `dvc checkout`"
# A share of cut pairs that a reviewer should know.
CUT = 0.05


def _scores(one: Revision, folders: list[Path]) -> tuple[pd.DataFrame | None, list[str]]:
    """Return the test scores of a revision, of the folders that it has, and the systems that this code lacks."""
    found = {folder / "test.parquet": one.read(folder / "test.parquet", tables.score_table) for folder in folders}
    there = {file: table for file, table in found.items() if table is not None}
    unknown = {name for table in there.values() for name in systems_of(table) if name not in SYSTEMS}
    known = {file: table.drop(columns=map(column, unknown), errors="ignore") for file, table in there.items()}
    return joined(known) if known else None, sorted(unknown)


def _changes(both: tuple[Revision, Revision], path: Path, reader: Callable[[bytes | None], dict]) -> list[Change]:
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


def _changed_rules(both: tuple[Revision, Revision], rules: Path | None) -> list[str]:
    if rules is None or (texts := [one.get(rules) for one in both])[0] == texts[1]:
        return []
    return [f"{rules} itself {'changed' if texts[0] else 'is new'}: read it, too"]


def main(
    *,
    base: str,
    scores: list[Path],
    split: Path,
    report: Path,
    metrics: list[Path] | None = None,
    new: str | None = None,
    counts: list[Path] | None = None,
    model: Path | None = None,
    curves: Path | None = None,
    seeds: Path | None = None,
    rules: Path | None = None,
    fail_if: list[str] | None = None,
) -> None:
    """Write report.md to the folder REPORT; exit code 1 where a rule of the file RULES or of FAIL_IF is broken.

    NEW is the working tree unless named. SCORES are folders of score tables, METRICS what is shown where they are
    missing, COUNTS JSON files on the data, MODEL the folder of the fine-tuned model, CURVES a table of validation while
    training, SEEDS what `make seeds` writes.
    """
    told = read_rules(_rules_text(rules), where=str(rules)) + [rule(text, where="--fail-if") for text in fail_if or []]
    both = revision(base), revision(new)
    params = [one.read(Path(FILE), of_yaml) for one in both]
    (before, gone), (after, _) = (_scores(one, scores) for one in both)
    compared: dict[str, Compared] = {}
    gained: list[Example] = []
    lost: list[Example] = []
    if before is not None and after is not None:
        seed = params[1].get("seed")
        compared = compare_kinds(before, after, seed=seed if isinstance(seed, int) and seed >= 0 else 0)
        system = judged_system(compared["warm"])
        pairs = both[1].read(split / "test.parquet", tables.texts)
        if system and pairs is not None:
            gained, lost = examples(before, after, pairs, compared["warm"].values[system], system=system)
    measured: list[Change] = []
    if not any(found.gains for found in compared.values()):
        measured = [change for path in metrics or [] for change in _changes(both, path, of_json)]
    different = changes(*params) if all(params) else []
    locks = [one.read(LOCK, stages_of) for one in both]
    data = [change for path in counts or [] for change in _changes(both, path, of_json)]
    libraries = _changes(both, REQUIREMENTS, of_requirements)
    stages = stage_changes(*locks, declared=both[1].read(PIPELINE, stages_of)) if all(locks) else []
    drawn = (both[0].read(curves, tables.curve), both[1].read(curves, tables.curve)) if curves else (None, None)
    known = both[1].read(seeds, tables.seeds) if seeds else {}
    trained = [one.read(model / "training.json", of_json) if model else {} for one in both]
    stale = [STALE] if both[1].commit is None and results_are_stale() else []
    warnings = [
        *stale,
        *_changed_rules(both, rules),
        *missing(both),
        *(f"{name} before: this code knows no such system: left out" for name in gone),
        *_warnings(
            compared,
            (before, after) if before is not None and after is not None else None,
            [share if isinstance(share := one.get("cut_pairs"), float) else None for one in trained],
        ),
        *(f"{key} changed: another model learnt" for key, *_ in different if key in ("base_model", "bi_encoder")),
    ]
    review = Review(
        base=both[0].name,
        new=both[1].name,
        compared=compared,
        warnings=warnings,
        metrics=measured,
        data=data,
        params=different,
        libraries=libraries,
        stages=stages,
        curves=drawn,
        seeds=known,
        gained=gained,
        lost=lost,
        broken=[*(stale if told else []), *broken(told, compared)],
        rules=len(told),
    )
    if report.exists() and not report.is_dir():
        raise UserError(f"--report {report}: is a file: give a folder")
    with replacing(report / PAGE) as partial:
        partial.write_text(markdown(review), encoding="utf-8")
    print(verdict(review).replace("*", ""))
    print(*(f"note: {line}" for line in review.warnings), sep="\n", end="\n" if review.warnings else "")
    print(report / PAGE)
    if review.broken:
        print(*(f"broken: {line}" for line in review.broken), sep="\n", file=sys.stderr)
        sys.exit(1)


def _rules_text(rules: Path | None) -> str:
    if rules is None:
        return ""
    try:
        return rules.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{rules}: can't be read ({error}): write rules into it, one a line") from None


if __name__ == "__main__":
    run(main)
