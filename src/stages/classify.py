"""Decide pairs by a threshold chosen on validation, and measure the decisions on test, with intervals and pictures.

A threshold that is tuned on the pairs which it is measured on flatters every system, and the noisiest most.
"""

import sys
from pathlib import Path
from typing import Any

import matplotlib.style
import pandas as pd

from rerank.errors import run
from rerank.files import replacing, rounded, write_json
from rerank.measure import figures, pair_figures
from rerank.measure.pair_metrics import (
    against_best,
    best_threshold,
    calibrated,
    calibration_curve,
    decisions,
    intervals,
)
from rerank.params import declared

KEYS = ("user_id", "book_id", "label")
FINE_TUNED = "cross_encoder"
METRICS = ["f1", "precision", "recall", "accuracy", "average_precision", "brier"]
CALIBRATION_BINS = 10
DECIMALS = 5


def probabilities(validation: pd.DataFrame, test: pd.DataFrame) -> pd.DataFrame:
    """Return a column a system: the test pairs' probabilities, by a logistic curve fitted on the validation pairs."""
    positive = (validation["label"] > 0).to_numpy()
    systems = test.columns.drop(list(KEYS))
    return pd.DataFrame(
        {name: calibrated(positive, validation[name].to_numpy(), test[name].to_numpy()) for name in systems}
    )


def classify(
    validation: pd.DataFrame, test: pd.DataFrame, chances: pd.DataFrame, *, bootstrap_samples: int, seed: int
) -> dict[str, Any]:
    """Return the content of metrics/test.json.

    Args:
        validation, test: `KEYS`, then a column for each system; user_id is the pair's group, a label above 0 positive.
        chances: the `probabilities` of the test pairs.
    """
    positive = (test["label"] > 0).to_numpy()
    thresholds = {
        name: best_threshold((validation["label"] > 0).to_numpy(), validation[name].to_numpy())
        for name in test.columns.drop(list(KEYS))
    }
    scores = {name: test[name].to_numpy() for name in thresholds}
    probability = {name: values.to_numpy() for name, values in chances.items()}
    systems, drawn = intervals(
        lambda rows: {
            name: {
                **decisions(positive[rows], scores[name][rows], threshold),
                "brier": float(((probability[name][rows] - positive[rows]) ** 2).mean()),
            }
            for name, threshold in thresholds.items()
        },
        test["user_id"],
        samples=bootstrap_samples,
        seed=seed,
    )
    return {
        "pairs": len(test),
        "groups": int(test["user_id"].nunique()),
        "positive_share": float(positive.mean()),
        "systems": {name: {"threshold": thresholds[name], **measured} for name, measured in systems.items()},
        "cross_encoder_vs_best_baseline": against_best(systems, drawn, system=FINE_TUNED, metric="f1"),
    }


def main(scores: Path, metrics: Path, plots: Path) -> None:
    """Read the score tables of a folder; write the metrics and the folder of pictures and points."""
    params = declared("classify")
    validation, test = (pd.read_parquet(scores / f"{name}.parquet") for name in ("validation", "test"))
    chances = probabilities(validation, test)
    results = classify(validation, test, chances, **params)
    positive = (test["label"] > 0).to_numpy()
    curves = {
        name: calibration_curve(positive, values.to_numpy(), bins=CALIBRATION_BINS) for name, values in chances.items()
    }
    points = {
        "f1": pair_figures.interval_points(results["systems"], "f1"),
        "calibration": pd.concat([curve.assign(system=name) for name, curve in curves.items()]),
    }
    with matplotlib.style.context(["default", figures.STYLE]), replacing(plots) as partial:
        partial.mkdir()
        pictures = {
            "f1": pair_figures.comparison(
                points["f1"],
                metric="F1 on test, threshold from validation",
                against=results["cross_encoder_vs_best_baseline"],
                difference=results["cross_encoder_vs_best_baseline"]["f1_difference"],
            ),
            "calibration": pair_figures.calibration(points["calibration"], systems=results["systems"]),
        }
        pair_figures.save(pictures, points, partial, decimals=DECIMALS)
    write_json(metrics, rounded(results))
    print(pair_figures.table(results["systems"], METRICS))


if __name__ == "__main__":
    run(main, *map(Path, sys.argv[1:]))
