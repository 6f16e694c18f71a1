"""Print metrics/test.json as the table that a person wants to see.

``python -m rerank.measure.report metrics/test.json``
"""

import json
import sys
from pathlib import Path
from typing import Any

from rerank.errors import UserError, run
from rerank.measure.metrics import METRICS

HEADINGS = {
    "ndcg@10": "nDCG@10",
    "mrr@10": "MRR@10",
    "map": "MAP",
    "precision@1": "P@1",
    "precision@10": "P@10",
    "roc_auc": "ROC AUC",
}


def report(results: dict[str, Any]) -> str:
    """Return the table of metrics/test.json's content: a row a system, chance first, and the comparison below it."""
    candidates, positives = (results[f"{name}_per_user"]["mean"] for name in ("candidates", "positives"))
    rows = [["", HEADINGS["ndcg@10"], "95 % interval", *(HEADINGS[metric] for metric in METRICS[1:])]]
    for system, measured in results["systems"].items():
        main = measured["ndcg@10"]
        span = f"{main['low']:.3f} to {main['high']:.3f}"
        rows.append([system, f"{main['mean']:.3f}", span, *(f"{measured[name]['mean']:.3f}" for name in METRICS[1:])])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows]
    comparison = results["cross_encoder_vs_best_baseline"]
    gain = comparison["ndcg@10_difference"]
    return "\n".join(
        [
            f"{results['users']:,} test lists, {candidates:.1f} candidates each, {positives:.1f} positive",
            *lines,
            f"cross_encoder against {comparison['baseline']}: nDCG@10 {gain['mean']:+.3f} "
            f"({gain['low']:+.3f} to {gain['high']:+.3f}), p = {comparison['p_value']:.4f}",
        ]
    )


def main(metrics: Path) -> None:
    """Print the table of ``metrics`` (metrics/test.json)."""
    if not metrics.exists():
        raise UserError(f"{metrics}: is not there: run `dvc repro` first")
    print(report(json.loads(metrics.read_text(encoding="utf-8"))))


if __name__ == "__main__":
    run(main, *map(Path, sys.argv[1:]))
