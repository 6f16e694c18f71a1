"""Batches of similar lengths hold every row once, repeat, and pad less; batches of lists hold no more than they may."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st
from sentence_transformers import CrossEncoderTrainer, CrossEncoderTrainingArguments
from sentence_transformers.base.sampler import BatchSamplers

from rerank.model.batching import SimilarLengths, WholeLists
from rerank.model.encoder import build
from rerank.model.losses import LOSSES


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


def lists(sizes: list[int]) -> Dataset:
    rows = {"user_ctx": [f"reader {number}" for number in range(len(sizes))]}
    texts = [[f"book {book}" for book in range(size)] for size in sizes]
    return Dataset.from_dict({**rows, "texts": texts, "label": [[0.0] * size for size in sizes]})


def whole_lists(sizes: list[int], *, pairs: int, batch_size: int = 1, drop_last: bool = False) -> WholeLists:
    return WholeLists(lists(sizes), pairs=pairs, batch_size=batch_size, drop_last=drop_last, seed=1)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=60), st.integers(1, 60), st.integers(0, 5))
def test_a_batch_of_lists_holds_as_many_as_fit_and_never_more(sizes: list[int], pairs: int, epoch: int) -> None:
    found = whole_lists(sizes, pairs=pairs)
    first = list(found)
    assert sorted(row for batch in first for row in batch) == list(range(len(sizes)))
    for batch, following in zip(first, [*first[1:], None], strict=True):
        held = sum(sizes[row] for row in batch)
        assert held <= pairs or len(batch) == 1
        assert following is None or held + sizes[following[0]] > pairs, "one more would have fitted"
    found.set_epoch(epoch)
    later = list(found)
    assert len(later) == len(found) == len(first), "the trainer counts on as many steps in every epoch"
    rows = [row for batch in later for row in batch]
    assert len(rows) == len(set(rows))
    assert all(batch and (len(batch) == 1 or sum(sizes[row] for row in batch) <= pairs) for batch in later)
    assert later == list(found)


@pytest.mark.parametrize("epochs", [2])
def test_lists_of_one_length_have_the_batches_of_the_trainers_own_sampler(
    tmp_path: Path, tiny_bert: Callable[..., Path], epochs: int
) -> None:
    """So that whoever has such lists sees the same curve with one as with the other."""
    model = build(tiny_bert(tmp_path / "base"), max_length=24, dropout=0.0, seed=1)
    data = lists([4] * 11)
    seen: dict[str, list[list[str]]] = {"own": [], "ours": []}
    for name, sampler in {"own": BatchSamplers.BATCH_SAMPLER, "ours": partial(WholeLists, pairs=12)}.items():
        args = CrossEncoderTrainingArguments(
            output_dir=str(tmp_path),
            per_device_train_batch_size=3,
            batch_sampler=sampler,
            accelerator_config={"split_batches": True},
            num_train_epochs=epochs,
            seed=7,
            data_seed=7,
            use_cpu=True,
            save_strategy="no",
            report_to="none",
        )
        loss = LOSSES["lambda"].make(model, 0.0)
        forward = loss.forward
        loss.forward = lambda inputs, *rest, name=name, forward=forward, **more: (
            seen[name].append(list(inputs[0])) or forward(inputs, *rest, **more)
        )
        CrossEncoderTrainer(model=model, args=args, train_dataset=data, loss=loss).train()
    assert [len(batch) for batch in seen["own"]] == [3, 3, 3, 2] * epochs
    assert seen["ours"] == seen["own"] and seen["own"][:4] != seen["own"][4:]


def test_several_processes_get_batches_that_they_can_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    sizes = [3 + number % 8 for number in range(41)]
    rows, sampler = LOSSES["lambda"].steps(lists(sizes), 40)
    assert rows == 4, "as many of the longest, 10 pairs each, as fit"
    batches = list(sampler(lists(sizes), batch_size=rows, drop_last=True, seed=1))
    assert [len(batch) for batch in batches] == [4] * 10
    assert all(sum(sizes[row] for row in batch) <= 40 for batch in batches)
    pairs = SimilarLengths(
        Dataset.from_dict({"user_ctx": ["a"] * 41, "book_text": ["b"] * 41, "label": [0.0] * 41}),
        batch_size=4,
        drop_last=True,
        seed=1,
    )
    assert len(pairs) == len(list(pairs)) == 10
