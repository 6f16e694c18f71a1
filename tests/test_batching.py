"""Batches of similar lengths hold every row once, repeat, and pad less."""

from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st

from rerank.model.batching import SimilarLengths


def sampler(lengths: list[int], *, batch_size: int = 4, seed: int = 1) -> SimilarLengths:
    rows = {"user_ctx": ["a"] * len(lengths), "book_text": ["x" * length for length in lengths]}
    return SimilarLengths(
        Dataset.from_dict({**rows, "label": [0.0] * len(lengths)}), batch_size=batch_size, drop_last=False, seed=seed
    )


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 50), min_size=1, max_size=300))
def test_every_row_comes_once_in_the_announced_number_of_batches(lengths: list[int]) -> None:
    batches = list(found := sampler(lengths))
    assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))
    assert len(batches) == len(found) and max(map(len, batches)) <= 4


def test_the_order_depends_on_the_seed_and_the_epoch_alone() -> None:
    lengths = list(range(100))
    first, again, other = sampler(lengths), sampler(lengths), sampler(lengths, seed=2)
    assert list(first) == list(first) == list(again) != list(other)
    again.set_epoch(1)
    assert list(first) != list(again)


def test_less_is_padded_and_no_length_comes_first() -> None:
    lengths = [1 + (7 * row) % 97 for row in range(2000)]
    batches = list(sampler(lengths, batch_size=20))
    padded = sum(len(batch) * max(lengths[row] for row in batch) for batch in batches)
    assert padded < 1.1 * sum(lengths)
    means = [sum(lengths[row] for row in batch) / len(batch) for batch in batches]
    early, late = sum(means[:50]) / 50, sum(means[50:]) / 50
    assert abs(early - late) < 15
