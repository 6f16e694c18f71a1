"""Print data/evaluation.json as the table that a person wants to see.

``python -m rerank.measure.report --evaluation data/evaluation.json``
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tabulate import tabulate

from rerank.command import run
from rerank.json_file import read_json
from rerank.measure.by_task import MEASURING
from rerank.measure.seeds import summary
from rerank.systems.registry import SYSTEMS


def report(evaluation: dict[str, Any]) -> str:
    """Return the sizes, a table with a row a system, and the comparisons below it; of cold lists too where they are."""
    measuring = MEASURING[evaluation["task"]]
    main, *more = measuring.headings
    systems, cold = evaluation["systems"], evaluation.get("cold", {})
    others = [metric for metric in more if all(metric in measured for measured in systems.values())]
    columns = {
        measuring.headings[main]: {name: f"{values[main]['value']:.3f}" for name, values in systems.items()},
        "95 % interval": {name: _span(values[main]) for name, values in systems.items()},
        "cold": {name: f"{values[main]['value']:.3f}" for name, values in cold.get("systems", {}).items()},
        **{
            measuring.headings[metric]: {name: f"{values[metric]['value']:.3f}" for name, values in systems.items()}
            for metric in others
        },
        "books": {name: f"{shown['different_books']}" for name, shown in evaluation.get("shown", {}).items()},
        "readers": {
            name: f"{shown['readers']:.1f}" for name, shown in evaluation.get("shown", {}).items() if "readers" in shown
        },
    }
    filled = {heading: cells for heading, cells in columns.items() if cells}
    rows = [[SYSTEMS[name].label, *(cells.get(name, "-") for cells in filled.values())] for name in systems]
    table = tabulate(rows, ["", *filled], "plain", colalign=["left", *["right"] * len(filled)], disable_numparse=True)
    comparisons = [
        f"{lists}{_compared(measured[kind], measuring.headings)}"
        for lists, measured in (("", evaluation), ("cold lists: ", cold))
        for kind in ("comparison", "fusion")
        if kind in measured
    ]
    sizes = [measuring.sizes(evaluation)]
    if cold:
        sizes.append("cold, of books of which no reader is known: " + measuring.sizes(cold))
    legends = {
        "books": "books: different ones in all top tens",
        "readers": "readers: how many training readers liked a shown book, in the mean",
    }
    legend = "; ".join(legends[heading] for heading in legends if heading in filled)
    return "\n".join([*sizes, table, *([legend] if legend else []), *comparisons])


def _span(measured: dict[str, float]) -> str:
    return f"{measured['low']:.3f} to {measured['high']:.3f}"


def _compared(comparison: dict[str, Any], headings: Mapping[str, str]) -> str:
    gain = comparison["difference"]
    return (
        f"{SYSTEMS[comparison['system']].label} against {SYSTEMS[comparison['baseline']].label}: "
        f"{headings[comparison['metric']]} {gain['value']:+.3f} ({gain['low']:+.3f} to {gain['high']:+.3f}), "
        f"p = {comparison['p_value']:.4f}"
    )


def main(*, evaluation: Path, seeds: Path | None = None) -> None:
    """Print the table, and the noise of training where SEEDS, what `rerank.measure.seeds` writes, is there."""
    measured = read_json(evaluation)
    print(report(measured))
    if seeds is not None and seeds.is_file():
        print(*summary(read_json(seeds), measured["systems"]["cross_encoder"]["ndcg@10"]["value"]), sep="\n")


if __name__ == "__main__":
    run(main)
