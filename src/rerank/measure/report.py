"""Print data/evaluation.json as the table that a person wants to see.

``python -m rerank.measure.report --evaluation data/evaluation.json``
"""

import json
from pathlib import Path
from typing import Any

from tabulate import tabulate

from rerank.command import run
from rerank.errors import UserError
from rerank.measure.by_task import MEASURING
from rerank.systems.registry import SYSTEMS


def report(evaluation: dict[str, Any]) -> str:
    """Return the sizes, a table with a row a system, and the comparison below it."""
    measuring = MEASURING[evaluation["task"]]
    main, *more = measuring.headings
    measured_by_all = [set(measured) for measured in evaluation["systems"].values()]
    others = [metric for metric in more if all(metric in measured for measured in measured_by_all)]
    rows = []
    for system, measured in evaluation["systems"].items():
        span = f"{measured[main]['low']:.3f} to {measured[main]['high']:.3f}"
        values = [f"{measured[metric]['value']:.3f}" for metric in others]
        rows.append([SYSTEMS[system].label, f"{measured[main]['value']:.3f}", span, *values])
    headings = ["", measuring.headings[main], "95 % interval", *(measuring.headings[metric] for metric in others)]
    comparison = evaluation["comparison"]
    gain = comparison["difference"]
    table = tabulate(
        rows, headings, "plain", colalign=["left", *["right"] * (len(headings) - 1)], disable_numparse=True
    )
    return "\n".join(
        [
            measuring.sizes(evaluation),
            table,
            f"{SYSTEMS[comparison['system']].label} against {SYSTEMS[comparison['baseline']].label}: "
            f"{measuring.headings[comparison['metric']]} {gain['value']:+.3f} ({gain['low']:+.3f} to "
            f"{gain['high']:+.3f}), p = {comparison['p_value']:.4f}",
        ]
    )


def read(evaluation: Path) -> dict[str, Any]:
    """Return the content of data/evaluation.json.

    Raises:
        UserError: when it is not there.
    """
    if not evaluation.is_file():
        raise UserError(f"{evaluation}: no such file: run `dvc repro`, or `dvc pull` to fetch an earlier result")
    return json.loads(evaluation.read_text(encoding="utf-8"))


def main(*, evaluation: Path) -> None:
    print(report(read(evaluation)))


if __name__ == "__main__":
    run(main)
