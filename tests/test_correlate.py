"""Correlations with a similarity, worked by hand, with intervals over groups and pictures."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import pearsonr, spearmanr
from stages.correlate import correlate, main, predictions

from rerank.measure.pair_metrics import row_resamples


def scores(pairs: int = 200) -> pd.DataFrame:
    generator = np.random.default_rng(3)
    label = np.round(5 * generator.random(pairs), 1)
    return pd.DataFrame(
        {
            "user_id": [f"g{n // 2}" for n in range(pairs)],
            "book_id": [f"p{n}" for n in range(pairs)],
            "label": label,
            "bi_encoder": label / 5 + generator.normal(0, 0.5, pairs),
            "cross_encoder": (label - 2.5 + generator.normal(0, 0.8, pairs)).astype("float32"),
        }
    )


def test_a_worked_example() -> None:
    """Scores in the order of the labels but for one swap: Spearman is 1 - 6 * 2 / (4 * 15) = 0.8."""
    table = pd.DataFrame(
        {
            "user_id": list("abcd"),
            "book_id": list("abcd"),
            "label": [0.0, 1.0, 4.0, 5.0],
            "bi_encoder": [0.1, 0.2, 0.3, 0.4],
            "cross_encoder": [-math.log(4), 0.0, math.log(4), 1.0],
        }
    )
    assert predictions(table, max_grade=5)["cross_encoder"].tolist()[:3] == pytest.approx([1.0, 2.5, 4.0])
    results = correlate(table, max_grade=5, bootstrap_samples=100, seed=1)
    assert results["systems"]["bi_encoder"]["spearman"]["value"] == pytest.approx(1.0)
    assert results["systems"]["cross_encoder"]["spearman"]["value"] == pytest.approx(0.8)
    assert (results["pairs"], results["groups"]) == (4, 4)
    last = 5 / (1 + math.exp(-1))
    assert results["mean_absolute_error"] == pytest.approx((1 + 1.5 + 0 + 5 - last) / 4)


def test_every_correlation_is_scipys_and_lies_in_its_interval() -> None:
    table = scores()
    results = correlate(table, max_grade=5, bootstrap_samples=300, seed=1)
    predicted = predictions(table, max_grade=5)
    for system, measured in results["systems"].items():
        assert measured["pearson"]["value"] == pytest.approx(pearsonr(table["label"], predicted[system]).statistic)
        assert measured["spearman"]["value"] == pytest.approx(spearmanr(table["label"], table[system]).statistic)
        for value in measured.values():
            assert value["low"] < value["value"] < value["high"]
    against = results["cross_encoder_vs_best_baseline"]
    assert against["baseline"] == "bi_encoder" and against["spearman_difference"]["low"] > 0


def test_a_resample_draws_whole_groups() -> None:
    groups = pd.Series(["a", "b", "a", "c", "c", "c"])
    for rows in row_resamples(groups, samples=20, seed=1):
        times = np.bincount(rows, minlength=6)
        assert times[0] == times[2] and times[3] == times[4] == times[5]
        assert times[0] + times[1] + times[3] == 3


def test_pairs_in_larger_groups_give_wider_intervals() -> None:
    table = scores()

    def width(groups: Callable[[int], int]) -> float:
        grouped = table.assign(user_id=[f"g{groups(n)}" for n in range(len(table))])
        found = correlate(grouped.sort_values("label"), max_grade=5, bootstrap_samples=300, seed=1)
        value = found["systems"]["bi_encoder"]["pearson"]
        return value["high"] - value["low"]

    order = table["label"].rank(method="first").astype(int).tolist()
    assert width(lambda n: order[n] // 20) > width(lambda n: n)


def test_the_files_are_there_and_repeat_to_the_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import stages.correlate

    params = {"max_grade": 5, "bootstrap_samples": 100, "seed": 1}
    monkeypatch.setattr(stages.correlate, "declared", lambda stage: params)
    scores().to_parquet(tmp_path / "test.parquet")
    found = []
    for name in ("one", "two"):
        main(tmp_path / "test.parquet", tmp_path / name / "test.json", tmp_path / name / "plots")
        found.append({path.name: path.read_bytes() for path in sorted((tmp_path / name).rglob("*.*"))})
    assert found[0] == found[1]
    assert set(found[0]) == {"test.json", "predicted.png", "predicted.csv", "spearman.png", "spearman.csv"}
