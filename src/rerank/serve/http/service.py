"""A model folder at work on requests: what `python -m rerank` computes, in batches across requests, and remembered."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from scipy.special import expit

from rerank.errors import UserError
from rerank.model.folder import Scoring
from rerank.model.ranker import Ranker, load
from rerank.model.scores import TOKENS_PER_BATCH
from rerank.model.tokens import PairTokens, tokenize_once
from rerank.serve.fused import FusedRanker, is_fused, system_folder
from rerank.serve.http.batches import Batches, digest
from rerank.serve.http.memory import Memory
from rerank.systems.distinct import Scorer
from rerank.systems.registry import FINE_TUNED, MODEL, SYSTEMS

# A batch is so many of what one thread of a processor scores at a time; one fills a GPU.
BATCHES_PER_THREAD = 4
# Characters of texts whose tokens are remembered; beyond them all are forgotten.
REMEMBERED_CHARACTERS = 50_000_000
# What the memory is for: scores mostly, but also which book a text is, and how a context is told.
LOOKUPS = 0.2


@dataclass(frozen=True)
class Judged:
    """What one request gets.

    Attributes:
        raw: what decides the order, shape (texts,): logits, or of a fusion the weighed sum.
        shown: from 0 to 1, or similarities where the model judges those, shape (texts,).
        tokens: that the cross-encoder reads of all pairs.
        words: what a person should know of a fusion.
    """

    raw: npt.NDArray[np.float64]
    shown: npt.NDArray[np.float64]
    tokens: int
    words: list[str]


class Service:
    """A cross-encoder, or all that a fusion weighs, opened once.

    Attributes:
        name: of the model, that of its folder.
        batches: system → its batches: of every system that is a model.
        lookups: which book a text is, how a context is told, and what is looked up in tables.
    """

    def __init__(self, folder: Path, *, engine: str, memory_bytes: int, longest_wait: float, most_waiting: int) -> None:
        """Load the models; `start` begins the work.

        Args:
            folder: see `python -m rerank --model`.
            engine: of the cross-encoder.
            memory_bytes: for what is remembered, tokens and vectors aside.
            longest_wait, most_waiting: see `Batches`.

        Raises:
            UserError: when the folder holds no model, or it can't be loaded so.
        """
        self.name = folder.resolve().name
        self.most_waiting = most_waiting
        self.fused = FusedRanker(folder, without=[FINE_TUNED], progress=False) if is_fused(folder) else None
        self.ranker: Ranker | None = None
        if self.fused is None:
            self.ranker = load(folder, engine=engine, progress=False)
        elif FINE_TUNED in self.fused.content["systems"]:
            how = Scoring(max_length=self.fused.content["max_length"], precision=self.fused.content["precision"])
            self.ranker = load(system_folder(folder, FINE_TUNED), engine=engine, otherwise=how, progress=False)
        elif engine != "torch":
            raise UserError(f"--engine: {folder} has no cross-encoder that it could run: leave it out")
        self._characters = 0
        if self.ranker is not None:
            tokenize_once(self.ranker.model)
        self.executor = ThreadPoolExecutor(1, "device")
        device = "cpu" if self.ranker is None else self.ranker.model.device.type
        tokens = TOKENS_PER_BATCH.get(device, TOKENS_PER_BATCH["cuda"])
        if device == "cpu":
            tokens *= BATCHES_PER_THREAD * torch.get_num_threads()
        models: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {}
        if self.ranker is not None:
            models[FINE_TUNED] = self._scored, self.ranker.tokens
        others = {} if self.fused is None else self.fused.systems
        models |= {name: (_by_texts(one), _letters) for name, one in others.items() if SYSTEMS[name].source == MODEL}
        self.lookups: Memory[Any] = Memory(int(LOOKUPS * memory_bytes))
        self.batches = {
            name: Batches(
                score,
                lengths=lengths,
                executor=self.executor,
                memory=Memory((memory_bytes - self.lookups.limit) // len(models)),
                tokens=tokens,
                longest_wait=longest_wait,
                most_waiting=most_waiting,
            )
            for name, (score, lengths) in models.items()
        }
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def systems(self) -> list[str]:
        """What is weighed, or the cross-encoder alone."""
        return [FINE_TUNED] if self.fused is None else list(self.fused.content["systems"])

    @property
    def max_length(self) -> int | None:
        """Tokens of a pair that the cross-encoder reads; None: as many as there are, or there is none."""
        return None if self.ranker is None else self.ranker.model.max_seq_length

    async def start(self) -> None:
        """Begin to work, and rank two texts, so that the first client does not wait for what is made once."""
        self._tasks = [asyncio.create_task(batches.run()) for batches in self.batches.values()]
        await self.judged("reader", ["one", "two"])

    async def stop(self) -> None:
        """End the work; what waits is given up."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.executor.shutdown(cancel_futures=True)

    @property
    def waiting(self) -> int:
        """How many pairs wait, in the longest queue."""
        return max((batches.waiting for batches in self.batches.values()), default=0)

    async def judged(self, context: str, texts: Sequence[str]) -> Judged:
        """Judge one reader's candidates as `python -m rerank` does.

        Raises:
            BusyError: see `Batches`.
        """
        if self.fused is None:
            return await self.paired([context] * len(texts), texts)
        pairs = await self._pairs(context, texts)
        contexts = pairs["user_ctx"].tolist()
        try:
            async with asyncio.TaskGroup() as group:  # where one has no room the others need not work
                asked = {name: group.create_task(one.scores(contexts, texts)) for name, one in self.batches.items()}
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None
        models = {name: task.result() for name, task in asked.items()}
        scores = {
            name: models[name][0] if name in models else await self._looked_up(name, self.fused.systems[name], pairs)
            for name in self.systems
        }
        found = self.fused.weighed(pairs, scores)
        tokens = models[FINE_TUNED][1] if FINE_TUNED in models else 0
        return Judged(found.scores, expit(found.scores), tokens, found.words)

    async def paired(self, contexts: Sequence[str], texts: Sequence[str]) -> Judged:
        """Judge single pairs by the cross-encoder alone; a context is read as it is.

        Raises:
            UserError: when the fusion weighs none.
            BusyError: see `Batches`.
        """
        if self.ranker is None:
            raise UserError(f"{self.name} weighs no cross-encoder, so single pairs have no score: rank a list")
        raw, tokens = await self.batches[FINE_TUNED].scores(contexts, texts)
        return Judged(raw, self.ranker.shown(raw), tokens, [])

    async def _pairs(self, context: str, texts: Sequence[str]) -> pd.DataFrame:
        """Return `FusedRanker.pairs`, of which only what is new is looked up."""
        assert self.fused is not None, "a single model ranks texts as they are"
        told: str | None = self.lookups.get(digest("told", context))
        if told is None:
            told = await asyncio.to_thread(self.fused.told, context)
            self.lookups.put(digest("told", context), told, size=4 * len(told))
        keys = {text: digest("book", text) for text in texts}
        known = {text: self.lookups.get(key) for text, key in keys.items()}
        books: dict[str, str] = {text: book for text, book in known.items() if book is not None}
        new = [text for text in known if text not in books]
        if new:
            for text, book in zip(new, await asyncio.to_thread(self.fused.books_of, new), strict=True):
                books[text] = book
                self.lookups.put(keys[text], book)
        return self.fused.pairs(told, texts, books=[books[text] for text in texts])

    async def _looked_up(self, name: str, scorer: Scorer, pairs: pd.DataFrame) -> npt.NDArray[np.floating] | None:
        """Return a system's scores from tables; NaN stands in the memory for a context of which it knows nothing."""
        keys = [digest(name, *row) for row in pairs[["user_ctx", "book_id"]].itertuples(index=False, name=None)]
        found: list[float | None] = [self.lookups.get(key) for key in keys]
        new = [number for number, value in enumerate(found) if value is None]
        if new:
            values = await asyncio.to_thread(scorer, pairs.iloc[new])
            for number, value in zip(new, [np.nan] * len(new) if values is None else values, strict=True):
                found[number] = float(value)
                self.lookups.put(keys[number], float(value))
        scores = np.array(found, dtype=np.float64)
        return None if np.isnan(scores).any() else scores

    def _scored(self, contexts: list[str], texts: list[str]) -> npt.NDArray[np.floating]:
        """Score with the cross-encoder, whose tokens are forgotten before they fill the memory."""
        assert self.ranker is not None, "these are its batches"
        tokens = getattr(self.ranker.model.preprocess, "__self__", None)
        self._characters += sum(map(len, contexts)) + sum(map(len, texts))
        if self._characters > REMEMBERED_CHARACTERS and isinstance(tokens, PairTokens):
            self._characters = 0
            tokens.forget()
        return self.ranker.score(contexts, texts)


def _letters(contexts: list[str], texts: list[str]) -> npt.NDArray[np.integer]:
    """Return the length of each pair where no tokenizer is asked: a token has about four letters."""
    return np.array([(len(context) + len(text)) // 4 + 3 for context, text in zip(contexts, texts, strict=True)])


def _by_texts(scorer: Scorer) -> Callable[[list[str], list[str]], Any]:
    """Return what gives a model's scores from contexts and texts; a model always has some."""
    return lambda contexts, texts: scorer(pd.DataFrame({"user_ctx": contexts, "book_text": texts}))
