"""Thresholds come from validation, decisions are measured on test, and both agree with scikit-learn."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, average_precision_score, f1_score, precision_score, recall_score

from rerank.errors import UserError
from rerank.measure.duplicates import evaluate, probabilities
from rerank.measure.pair_metrics import best_threshold, calibrated, calibration_curve, decisions
from rerank.measure.scores import scores_of


def scores(*, seed: int, pairs: int = 400, shift: float = 0.0) -> pd.DataFrame:
    generator = np.random.default_rng(seed)
    label = generator.integers(0, 2, pairs)
    return pd.DataFrame(
        {
            "user_id": [f"g{n // 2}" for n in range(pairs)],
            "book_id": [f"p{n}" for n in range(pairs)],
            "label": label,
            "score/bi_encoder": 0.5 + 0.1 * label + generator.normal(shift, 0.1, pairs),
            "score/cross_encoder": -8 + 4 * label + generator.normal(shift, 2, pairs),
        }
    )


def test_the_best_threshold_worked_by_hand() -> None:
    positive = np.array([False, True, False, True, True])
    values = np.array([0.1, 0.2, 0.3, 0.4, 0.5])
    assert best_threshold(positive, values) == 0.2  # F1 6/7, against 4/5 at 0.4
    assert decisions(positive, values, 0.4) == {
        "f1": 0.8,
        "precision": 1.0,
        "recall": pytest.approx(2 / 3),
        "accuracy": 0.8,
        "average_precision": pytest.approx((1 + 1 + 3 / 4) / 3),
    }


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(-20, 20)), min_size=2, max_size=40))
def test_no_other_threshold_is_better_and_decisions_are_scikit_learns(rows: list[tuple[bool, int]]) -> None:
    positive = np.array([label for label, _ in rows] + [True])
    values = np.array([value for _, value in rows] + [0], dtype=float)
    threshold = best_threshold(positive, values)
    found = decisions(positive, values, threshold)
    assert found["f1"] == pytest.approx(max(f1_score(positive, values >= other) for other in values))
    for name, reference in (
        ("precision", precision_score),
        ("recall", recall_score),
        ("accuracy", accuracy_score),
    ):
        assert found[name] == pytest.approx(reference(positive, values >= threshold))
    assert found["average_precision"] == pytest.approx(average_precision_score(positive, values))


def test_the_threshold_is_validations_also_where_another_would_suit_test_better() -> None:
    validation, test = scores(seed=1), scores(seed=2, shift=3.0)
    results = evaluate(validation, test, max_grade=1, samples=100, seed=1)
    positive = (test["label"] > 0).to_numpy()
    for system, measured in results["systems"].items():
        chosen = best_threshold((validation["label"] > 0).to_numpy(), scores_of(validation, system))
        assert results["thresholds"][system] == chosen
        flattered = best_threshold(positive, scores_of(test, system))
        assert measured["f1"]["value"] < decisions(positive, scores_of(test, system), flattered)["f1"]
        for metric in ("f1", "precision", "accuracy", "average_precision", "brier"):
            assert measured[metric]["low"] <= measured[metric]["value"] <= measured[metric]["high"]


def test_scores_of_any_range_are_calibrated_on_validation() -> None:
    validation, test = scores(seed=1, pairs=4000), scores(seed=2, pairs=4000)
    positive = (test["label"] > 0).to_numpy()
    for system in ("bi_encoder", "cross_encoder"):
        fitted = (validation["label"] > 0).to_numpy(), scores_of(validation, system)
        probability = calibrated(*fitted, scores_of(test, system))
        curve = calibration_curve(positive, probability, bins=10)
        assert curve["pairs"].tolist() == [400] * 10
        assert (curve["predicted"] - curve["observed"]).abs().max() < 0.08
        assert probability[positive].mean() > probability[~positive].mean()


def test_without_validation_there_is_no_threshold() -> None:
    with pytest.raises(UserError, match=r"no folder has validation\.parquet"):
        probabilities(None, scores(seed=1))
