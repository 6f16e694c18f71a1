"""Compare two revisions: a page for the reviewer, and rules that pass or fail. Nothing runs again.

    python -m rerank.review --base origin/main --scores data/scores/* --split data/split --report report

A revision is a commit, a branch, a tag or an experiment of `dvc exp show`.
"""

import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from rerank.command import run
from rerank.errors import UserError
from rerank.files import replacing
from rerank.measure.scores import joined
from rerank.params_file import FILE
from rerank.review.changes import Change, changes, of_json, of_requirements, of_yaml, stage_changes, stages_of
from rerank.review.comparison import Compared, chance_levels, collapsed, compare_kinds, judged_system
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


def _scores(one: Revision, folders: list[Path]) -> pd.DataFrame | None:
    """Return the test scores of a revision, of the folders that it has."""
    found = {folder / "test.parquet": one.read(folder / "test.parquet", _parquet) for folder in folders}
    tables = {file: table for file, table in found.items() if table is not None}
    same_types = {"user_id": str, "book_id": str, "label": float}
    return joined(tables).astype(same_types) if tables else None


def _parquet(content: bytes | None) -> pd.DataFrame | None:
    return None if content is None else pd.read_parquet(io.BytesIO(content))


def _csv(content: bytes | None) -> pd.DataFrame | None:
    return None if content is None else pd.read_csv(io.BytesIO(content))


def _is_stale(one: Revision) -> bool:
    """Whether it is the working tree, and what lies there is not of its params, code and data."""
    return one.commit is None and subprocess.run(["dvc", "status", "--quiet"], capture_output=True).returncode != 0


def _changes(both: tuple[Revision, Revision], path: Path, reader: Callable[[bytes | None], dict]) -> list[Change]:
    """Return what differs in a file that both have; what one lacks is named as missing."""
    contents = [one.read(path, reader) for one in both]
    return changes(*contents) if all(contents) else []


def _warnings(
    revisions: tuple[Revision, Revision],
    tables: tuple[pd.DataFrame | None, pd.DataFrame | None],
    compared: dict[str, Compared],
    trained: list[dict],
    params: list,
) -> list[str]:
    lines = [STALE] if _is_stale(revisions[1]) else []
    lines += missing(revisions)
    for kind, found in compared.items():
        before, now, same = found.users
        if not before == now == same:
            lines.append(
                f"the {kind} lists differ: {before:,} readers before, {now:,} now, {same:,} with the same list, "
                "which alone are compared"
            )
    base, new = tables
    if base is not None and new is not None:
        levels = chance_levels(base, new)
        if abs(levels[1] - levels[0]) > MOVED:
            lines.append(
                f"the chance level moved from {levels[0]:.3f} to {levels[1]:.3f}: absolute figures do not compare"
            )
        for table, when in ((base, "before"), (new, "now")):
            lines += [
                f"{SYSTEMS[name].label} {when}: scores all candidates of a list alike" for name in collapsed(table)
            ]
    cut = [one.get("cut_pairs") for one in trained]
    if cut[1] is not None and (cut[1] > CUT or cut[0] != cut[1]):
        before_cut = "?" if cut[0] is None else f"{cut[0]:.1%}"
        lines.append(f"{cut[1]:.1%} of the training pairs are cut at max_length ({before_cut} before)")
    lines += [f"{key} changed: another model learnt" for key, *_ in params if key in ("base_model", "bi_encoder")]
    return lines


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
    tables = _scores(both[0], scores), _scores(both[1], scores)
    compared: dict[str, Compared] = {}
    gained: list[Example] = []
    lost: list[Example] = []
    if tables[0] is not None and tables[1] is not None:
        compared = compare_kinds(tables[0], tables[1], seed=int(params[1].get("seed", 0)))
        system = judged_system(compared["warm"])
        pairs = both[1].read(split / "test.parquet", _parquet)
        if system and pairs is not None:
            pairs = pairs.astype({"user_id": str, "book_id": str})
            gained, lost = examples(tables[0], tables[1], pairs, compared["warm"].values[system], system=system)
    trained = [one.read(model / "training.json", of_json) if model else {} for one in both]
    data = [change for path in counts or [] for change in _changes(both, path, of_json)]
    libraries = _changes(both, REQUIREMENTS, of_requirements)
    stages = stage_changes(*(one.read(LOCK, stages_of) for one in both), declared=both[1].read(PIPELINE, stages_of))
    measured: list[Change] = []
    if not any(found.gains for found in compared.values()):
        measured = [change for path in metrics or [] for change in _changes(both, path, of_json)]
    drawn = (both[0].read(curves, _csv), both[1].read(curves, _csv)) if curves else (None, None)
    known = both[1].read(seeds, of_json) if seeds else {}
    different = changes(*params) if all(params) else []
    review = Review(
        base=both[0].name,
        new=both[1].name,
        compared=compared,
        warnings=_warnings(both, tables, compared, trained, different),
        metrics=measured,
        data=data,
        params=different,
        libraries=libraries,
        stages=stages,
        curves=drawn,
        seeds={key.removeprefix("ndcg@10."): value for key, value in known.items()},
        gained=gained,
        lost=lost,
        broken=[*([STALE] if told and _is_stale(both[1]) else []), *broken(told, compared)],
        rules=len(told),
    )
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
        return rules.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{rules}: can't be read ({error}): write rules into it, one a line") from None


if __name__ == "__main__":
    run(main)
