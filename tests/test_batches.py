"""Batches across requests, and the memory of what was computed."""

import asyncio
import tracemalloc
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rerank.serve.http.batches import TURN, Batches, BusyError, digest
from rerank.serve.http.memory import Memory


class Model:
    """Scores a pair by the lengths of its texts, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[list[tuple[str, str]]] = []
        self.broken: str | None = None

    def score(self, contexts: list[str], texts: list[str]) -> np.ndarray:
        self.asked.append(list(zip(contexts, texts, strict=True)))
        if self.broken in texts:
            raise RuntimeError("the device is gone")
        return np.array([worth(context, text) for context, text in zip(contexts, texts, strict=True)])


def worth(context: str, text: str) -> float:
    return float(hash((context, text)) % 1000)


def lengths(contexts: list[str], texts: list[str]) -> np.ndarray:
    return np.array([len(context) + len(text) for context, text in zip(contexts, texts, strict=True)])


def run(
    work: Callable[[Batches], Coroutine[Any, Any, Any]],
    *,
    model: Model | None = None,
    tokens: int = 100,
    memory: int = 0,
    most_waiting: int = 10_000,
) -> tuple[Any, Model]:
    """Run the work beside the batches."""
    model = model or Model()

    async def main() -> Any:
        with ThreadPoolExecutor(1) as executor:
            batches = Batches(
                model.score,
                lengths=lengths,
                executor=executor,
                memory=Memory(memory),
                tokens=tokens,
                longest_wait=0.0,
                most_waiting=most_waiting,
            )
            task = asyncio.create_task(batches.run())
            try:
                return await asyncio.wait_for(work(batches), 20)
            finally:
                task.cancel()

    return asyncio.run(main()), model


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.tuples(st.text("ab", max_size=3), st.text("cde", max_size=40)), max_size=30), max_size=6),
    st.integers(1, 200),
    st.sampled_from([0, 1_000, 10**6]),
)
def test_each_request_gets_the_scores_of_its_pairs_in_batches_within_the_budget(requests, tokens, memory):
    async def work(batches: Batches) -> list:
        asked = [batches.scores([c for c, _ in pairs], [t for _, t in pairs]) for pairs in requests if pairs]
        return await asyncio.gather(*asked)

    found, model = run(work, tokens=tokens, memory=memory)
    for pairs, (scores, counted) in zip([pairs for pairs in requests if pairs], found, strict=True):
        assert scores.tolist() == [worth(*pair) for pair in pairs]
        assert counted == sum(len(context) + len(text) for context, text in pairs)
    for batch in model.asked:
        assert len(batch) == len(set(batch))
        assert len(batch) == 1 or sum(len(context) + len(text) for context, text in batch) <= tokens


def test_a_pair_that_was_scored_is_not_scored_again():
    async def work(batches: Batches) -> None:
        first = await batches.scores(["a"] * 3, ["x", "y", "x"])
        second = await batches.scores(["a"] * 2, ["y", "x"])
        assert first[0][:2].tolist() == second[0][::-1].tolist()
        assert (batches.memory.hits, batches.memory.misses) == (2, 2)

    _, model = run(work, memory=10_000)
    assert model.asked == [[("a", "x"), ("a", "y")]]


def test_many_who_ask_the_same_at_once_have_it_computed_once():
    async def work(batches: Batches) -> None:
        answers = await asyncio.gather(*(batches.scores(["a"] * 40, [f"{n:02}" for n in range(40)]) for _ in range(9)))
        assert len({tuple(scores) for scores, _ in answers}) == 1

    _, model = run(work, tokens=60, memory=10**6)
    assert sorted(text for batch in model.asked for _, text in batch) == [f"{n:02}" for n in range(40)]


def test_a_small_request_does_not_wait_for_all_of_a_large_one():
    ended: list[str] = []

    async def work(batches: Batches) -> None:
        async def ask(name: str, number: int) -> None:
            await batches.scores([name] * number, [f"{place}" for place in range(number)])
            ended.append(name)

        await asyncio.gather(ask("large", 20 * TURN), ask("small", 5), ask("small too", 5))

    _, model = run(work, tokens=TURN * 15)
    assert ended[-1] == "large" and len(ended) == 3
    assert {context for context, _ in model.asked[0]} == {"large", "small", "small too"}


def test_too_many_waiting_pairs_are_refused_but_never_a_request_alone():
    async def work(batches: Batches) -> None:
        alone = asyncio.create_task(batches.scores(["a"] * 50, [f"{number:02}" for number in range(50)]))
        await asyncio.sleep(0)
        with pytest.raises(BusyError):
            await batches.scores(["b"] * 5, list("vwxyz"))
        await alone
        await batches.scores(["b"] * 5, list("vwxyz"))
        assert batches.waiting == 0

    run(work, most_waiting=10, tokens=10)


def test_who_leaves_costs_nothing_more():
    async def work(batches: Batches) -> None:
        tasks = [
            asyncio.create_task(batches.scores([name] * 100, [f"{number:02}" for number in range(100)]))
            for name in "ab"
        ]
        while not batches.sizes:
            await asyncio.sleep(0)
        tasks[0].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert tasks[0].cancelled() and batches.waiting == 0

    _, model = run(work, tokens=9)
    assert sum(context == "a" for batch in model.asked for context, _ in batch) < 10


def test_an_error_fails_the_requests_of_its_batch_and_no_others():
    model = Model()
    model.broken = "bad"

    async def work(batches: Batches) -> None:
        with pytest.raises(RuntimeError, match="the device is gone"):
            await batches.scores(["a", "a"], ["good", "bad"])
        assert (await batches.scores(["a"], ["good"]))[0].tolist() == [worth("a", "good")]
        assert batches.waiting == 0

    run(work, model=model)


def test_texts_that_can_not_be_counted_fail_their_own_request_alone():
    async def work(batches: Batches) -> None:
        def counted(contexts: list[str], texts: list[str]) -> np.ndarray:
            if "bad" in texts:
                raise RuntimeError("no tokens")
            return lengths(contexts, texts)

        batches.lengths = counted
        good, bad = await asyncio.gather(
            batches.scores(["a"], ["good"]), batches.scores(["a"], ["bad"]), return_exceptions=True
        )
        assert good[0].tolist() == [worth("a", "good")] and str(bad) == "no tokens" and batches.waiting == 0

    run(work)


def test_a_score_that_is_no_number_is_never_an_answer():
    model = Model()
    model.score = lambda contexts, texts: np.full(len(texts), np.nan)  # type: ignore[method-assign]

    async def work(batches: Batches) -> None:
        with pytest.raises(FloatingPointError):
            await batches.scores(["a"], ["b"])

    run(work, model=model, memory=10_000)


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 500)), max_size=200), st.integers(0, 3_000))
def test_a_memory_keeps_the_newest_within_its_bytes(entries, limit):
    memory: Memory[int] = Memory(limit)
    for number, (key, size) in enumerate(entries):
        memory.put(key, number, size=size)
        assert memory.bytes <= limit
    last = {key: number for number, (key, _) in enumerate(entries)}
    newest = [key for key in sorted(last, key=lambda key: -last[key]) if memory.get(key) is not None]
    assert newest == sorted(last, key=lambda key: -last[key])[: len(memory)]
    assert all(memory.get(key) == last[key] for key in newest)


def test_a_memory_takes_no_more_than_it_says():
    tracemalloc.start()
    memory: Memory[tuple[float, int]] = Memory(3_000_000)
    for number in range(50_000):
        memory.put(digest("context", f"{number}"), (number / 7, 10**6 + number))
    used = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert len(memory) > 5_000 and 0.3 * memory.bytes < used <= 1.1 * memory.bytes


def test_no_two_lists_of_texts_share_a_digest():
    texts = ["", "a", "b", "ab", "a\0b", "ä"]
    assert len({digest(*pair) for pair in [(a, b) for a in texts for b in texts]}) == len(texts) ** 2
    assert digest("a", "b") != digest("a", "b", "")
