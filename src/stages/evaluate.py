"""Measure every system on the test pairs from the scores alone, with intervals and a paired test.

What is measured follows from the task: candidate lists per user, similarities, or decisions.
"""

from pathlib import Path

from rerank.command import run
from rerank.json_file import write_json
from rerank.measure.by_task import MEASURING, summary
from rerank.measure.report import report
from rerank.measure.scores import read
from rerank.params import Evaluate
from rerank.params_file import declared


def main(*, scores: list[Path], metrics: Path, evaluation: Path) -> None:
    """Read the score folders; write all that is measured, and the few values that `dvc metrics show` shows."""
    params = declared(Evaluate, "evaluate")
    validation, test = read(scores)
    measured = MEASURING[params.task].evaluate(validation, test, max_grade=params.max_grade, seed=params.seed)
    write_json(evaluation, measured)
    write_json(metrics, summary(measured))
    print(report(measured))


if __name__ == "__main__":
    run(main)
