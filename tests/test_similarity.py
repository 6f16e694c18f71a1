"""Correlations with a similarity, worked by hand, with intervals over groups."""

import math
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from scipy.stats import pearsonr, spearmanr

from rerank.measure.scores import scores_of
from rerank.measure.similarity import evaluate, predictions


def scores(pairs: int = 200) -> pd.DataFrame:
    generator = np.random.default_rng(3)
    label = np.round(5 * generator.random(pairs), 1)
    return pd.DataFrame(
        {
            "user_id": [f"g{n // 2}" for n in range(pairs)],
            "book_id": [f"p{n}" for n in range(pairs)],
            "label": label,
            "score/bi_encoder": label / 5 + generator.normal(0, 0.5, pairs),
            "score/cross_encoder": (label - 2.5 + generator.normal(0, 0.8, pairs)).astype("float32"),
        }
    )


def test_a_worked_example() -> None:
    """Scores in the order of the labels but for one swap: Spearman is 1 - 6 * 2 / (4 * 15) = 0.8."""
    table = pd.DataFrame(
        {
            "user_id": list("abcd"),
            "book_id": list("abcd"),
            "label": [0.0, 1.0, 4.0, 5.0],
            "score/bi_encoder": [0.1, 0.2, 0.3, 0.4],
            "score/cross_encoder": [-math.log(4), 0.0, math.log(4), 1.0],
        }
    )
    assert predictions(scores_of(table, "cross_encoder"), max_grade=5).tolist()[:3] == pytest.approx([1.0, 2.5, 4.0])
    results = evaluate(None, table, max_grade=5, samples=100, seed=1)
    assert results["systems"]["bi_encoder"]["spearman"]["value"] == pytest.approx(1.0)
    assert results["systems"]["cross_encoder"]["spearman"]["value"] == pytest.approx(0.8)
    assert (results["pairs"], results["groups"]) == (4, 4)
    last = 5 / (1 + math.exp(-1))
    assert results["mean_absolute_error"] == pytest.approx((1 + 1.5 + 0 + 5 - last) / 4)


def test_every_correlation_is_scipys_and_lies_in_its_interval() -> None:
    table = scores()
    results = evaluate(None, table, max_grade=5, samples=300, seed=1)
    predicted = {system: scores_of(table, system) for system in ("bi_encoder", "cross_encoder")}
    predicted["cross_encoder"] = predictions(predicted["cross_encoder"], max_grade=5)
    assert results["systems"].keys() == predicted.keys()
    for system, measured in results["systems"].items():
        assert measured["pearson"]["value"] == pytest.approx(pearsonr(table["label"], predicted[system]).statistic)
        assert measured["spearman"]["value"] == pytest.approx(spearmanr(table["label"], predicted[system]).statistic)
        for value in measured.values():
            assert value["low"] < value["value"] < value["high"]
    against = results["comparison"]
    assert against["baseline"] == "bi_encoder" and against["difference"]["low"] > 0


def test_pairs_in_larger_groups_give_wider_intervals() -> None:
    table = scores()

    def width(groups: Callable[[int], int]) -> float:
        grouped = table.assign(user_id=[f"g{groups(n)}" for n in range(len(table))])
        found = evaluate(None, grouped.sort_values("label"), max_grade=5, samples=300, seed=1)
        value = found["systems"]["bi_encoder"]["pearson"]
        return value["high"] - value["low"]

    order = table["label"].rank(method="first").astype(int).tolist()
    assert width(lambda n: order[n] // 20) > width(lambda n: n)
