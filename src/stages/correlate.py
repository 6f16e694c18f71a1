"""Measure how well scores follow a similarity: Pearson's and Spearman's correlation, with intervals and pictures."""

import sys
from pathlib import Path
from typing import Any

import matplotlib.style
import numpy as np
import pandas as pd
from scipy.special import expit

from rerank.errors import run
from rerank.files import replacing, rounded, write_json
from rerank.measure import figures, pair_figures
from rerank.measure.pair_metrics import against_best, correlations, intervals
from rerank.params import declared

KEYS = ("user_id", "book_id", "label")
FINE_TUNED = "cross_encoder"
DECIMALS = 5


def predictions(scores: pd.DataFrame, *, max_grade: int) -> pd.DataFrame:
    """Return a column a system: the cosine as it is, and the cross-encoder's score on the scale of the labels."""
    systems = scores.drop(columns=list(KEYS))
    systems[FINE_TUNED] = max_grade * expit(systems[FINE_TUNED].astype("float64"))
    return systems


def correlate(scores: pd.DataFrame, *, max_grade: int, bootstrap_samples: int, seed: int) -> dict[str, Any]:
    """Return the content of metrics/test.json.

    Args:
        scores: `KEYS`, then a column for each system; user_id is the pair's group.
        max_grade: the largest label.
    """
    labels = scores["label"].to_numpy(dtype=float)
    predicted = {
        name: values.to_numpy(dtype=float) for name, values in predictions(scores, max_grade=max_grade).items()
    }
    systems, drawn = intervals(
        lambda rows: {name: correlations(labels[rows], values[rows]) for name, values in predicted.items()},
        scores["user_id"],
        samples=bootstrap_samples,
        seed=seed,
    )
    return {
        "pairs": len(scores),
        "groups": int(scores["user_id"].nunique()),
        "mean_absolute_error": float(np.abs(predicted[FINE_TUNED] - labels).mean()),
        "systems": systems,
        "cross_encoder_vs_best_baseline": against_best(systems, drawn, system=FINE_TUNED, metric="spearman"),
    }


def main(scores: Path, metrics: Path, plots: Path) -> None:
    """Read a score table; write the metrics and the folder of pictures and points."""
    params = declared("correlate")
    table = pd.read_parquet(scores)
    results = correlate(table, **params)
    predicted = predictions(table, max_grade=params["max_grade"])[FINE_TUNED]
    points = {
        "spearman": pair_figures.interval_points(results["systems"], "spearman"),
        "predicted": pd.DataFrame({"label": table["label"], "predicted": predicted}).sort_values(
            ["label", "predicted"]
        ),
    }
    with matplotlib.style.context(["default", figures.STYLE]), replacing(plots) as partial:
        partial.mkdir()
        pictures = {
            "spearman": pair_figures.comparison(
                points["spearman"],
                metric="Spearman's correlation with the label",
                against=results["cross_encoder_vs_best_baseline"],
                difference=results["cross_encoder_vs_best_baseline"]["spearman_difference"],
            ),
            "predicted": pair_figures.predicted(points["predicted"], results=results),
        }
        pair_figures.save(pictures, points, partial, decimals=DECIMALS)
    write_json(metrics, rounded(results))
    print(pair_figures.table(results["systems"], ["spearman", "pearson"]))


if __name__ == "__main__":
    run(main, *map(Path, sys.argv[1:]))
