"""Compare revisions: a page for the reviewer, and rules that pass or fail. Nothing runs again.

    python -m rerank.review --base origin/main --scores data/scores/* --split data/split --report report

A revision is a commit, a branch, a tag or an experiment of `dvc exp show`.
"""

import sys
from pathlib import Path

from rerank.command import run
from rerank.errors import UserError
from rerank.files import replacing
from rerank.measure.markdown import shown
from rerank.review.content import page, verdict
from rerank.review.gathering import Files, review
from rerank.review.html import html
from rerank.review.markdown import markdown
from rerank.review.revisions import revision
from rerank.review.rules import read_rules, rule
from rerank.review.several import several

MARKDOWN, HTML = "report.md", "index.html"


def main(
    *,
    base: str,
    scores: list[Path],
    split: Path,
    report: Path,
    new: list[str] | None = None,
    metrics: list[Path] | None = None,
    counts: list[Path] | None = None,
    training: Path | None = None,
    model: Path | None = None,
    seeds: Path | None = None,
    rules: Path | None = None,
    fail_if: list[str] | None = None,
    repository: str | None = None,
) -> None:
    """Write report.md and index.html to REPORT; exit code 1 where a rule of the file RULES or of FAIL_IF is broken.

    NEW is the working tree unless named; several are compared with BASE in one table. SCORES are folders of score
    tables, METRICS what is shown where they are missing, COUNTS JSON files on the data, TRAINING the JSON file with the
    validation metric, MODEL the folder of the fine-tuned model, SEEDS what `make seeds` writes. REPOSITORY is the
    address on GitHub of one that has the commits: report.md then shows the pictures that lie there.
    """
    told = read_rules(_rules_text(rules), where=str(rules)) + [rule(text, where="--fail-if") for text in fail_if or []]
    files = Files(scores, split, metrics or (), counts or (), training, model, seeds, rules)
    if report.exists() and not report.is_dir():
        raise UserError(f"--report {report}: is a file: give a folder")
    old = revision(base)
    names: list[str | None] = [*dict.fromkeys(new)] if new else [None]
    revisions = [revision(name) for name in names]
    reviews = [review(old, one, files, rules=told, repository=repository) for one in revisions]
    content = page(reviews[0]) if len(reviews) == 1 else several(old, revisions, reviews)
    for name, text in ((MARKDOWN, markdown(content)), (HTML, html(content))):
        with replacing(report / name) as partial:
            partial.write_text(text, encoding="utf-8")
    for one in reviews:
        named = f"{one.new}: " if len(reviews) > 1 else ""
        print(shown("".join((named, *verdict(one)))))
        print(*(shown(f"{named}note: {line}") + "\n" for line in one.warnings), sep="", end="")
    print(report / MARKDOWN, report / HTML, sep="\n")
    broken = [f"broken: {one.new + ': ' if len(reviews) > 1 else ''}{line}" for one in reviews for line in one.broken]
    if broken:
        print(*map(shown, broken), sep="\n", file=sys.stderr)
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
