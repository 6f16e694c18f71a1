"""What training watches is what is measured in the end, and what can't be measured says so."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rerank.errors import UserError
from rerank.measure.metrics import per_user
from rerank.measure.quality import QUALITIES, quality
from rerank.tasks import TASKS

LIST = st.lists(st.tuples(st.integers(0, 4), st.sampled_from([0.0, 0.5, 1.0, 2.0])), min_size=1, max_size=30)


@settings(max_examples=100, deadline=None)
@given(st.lists(LIST, min_size=1, max_size=8), st.integers(0, 100))
def test_ndcg_is_that_of_the_evaluation_also_where_scores_tie(lists: list[list[tuple[int, float]]], seed: int) -> None:
    rows = [
        (f"user {user}", f"book {book}", label, score)
        for user, one in enumerate(lists)
        for book, (label, score) in enumerate(one)
    ]
    pairs = pd.DataFrame(rows, columns=["user_id", "book_id", "label", "score"]).sample(frac=1, random_state=seed)
    measured = per_user(pairs["user_id"], pairs["book_id"], pairs["label"], pairs["score"])["ndcg@10"]
    found = QUALITIES["ndcg@10"].measure(pairs, pairs["score"].to_numpy())
    assert found == pytest.approx(measured.mean(), abs=1e-12, nan_ok=True)


def test_every_task_is_validated_by_a_metric_that_there_is() -> None:
    assert {task.validation_metric for task in TASKS.values()} <= set(QUALITIES)


@pytest.mark.parametrize("metric", QUALITIES)
def test_what_is_no_number_is_one_line_with_the_metric_the_split_and_what_to_do(metric: str) -> None:
    pairs = pd.DataFrame({"user_id": ["u"] * 3, "book_id": ["a", "b", "c"], "label": 0})
    with pytest.raises(UserError, match=f"^validation: {metric} can't be measured, because .*: correct the labels, or"):
        quality(metric, pairs, np.arange(3.0), split="validation")
    better = quality(metric, pairs.assign(label=[0, 0, 1]), np.arange(3.0), split="validation")
    assert better == pytest.approx(1, abs=0.2)
