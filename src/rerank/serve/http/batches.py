"""Dynamic batches: pairs of all requests that wait are scored together, as many as a budget of tokens holds.

One request is served after the other, but one of many pairs gives way after every `TURN` of them, so that a small one
never waits for all of a large one. All bookkeeping runs on the event loop; the device has one thread of its own.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from hashlib import blake2b

import numpy as np
import numpy.typing as npt

from rerank.serve.http.memory import Memory

Pair = tuple[str, str]
# The score of a pair, and its number of tokens.
Known = tuple[float, int]
# Pairs of one request in a batch, before the next request has its turn.
TURN = 128


def digest(*texts: str) -> bytes:
    """Return 16 bytes that stand for these texts in this order: a key that takes no more room for long ones."""
    found = blake2b(digest_size=16)
    for text in texts:
        content = text.encode()
        found.update(len(content).to_bytes(8, "big"))
        found.update(content)
    return found.digest()


class BusyError(Exception):
    """More pairs wait than may: the client has to come again later."""


@dataclass(eq=False)
class Job:
    """The pairs of one request that are not known yet.

    Attributes:
        tokens: of each pair; empty until they are counted.
        started: how many are in a batch that runs, or ran.
    """

    pairs: list[Pair]
    done: asyncio.Future[None]
    tokens: list[int] = field(default_factory=list)
    known: dict[Pair, Known] = field(default_factory=dict)
    started: int = 0


class Batches:
    """Scores of pairs, computed in batches across requests, and remembered.

    Attributes:
        waiting: pairs that are in no batch yet.
        sizes: pairs of each batch that ran, the newest last.
    """

    def __init__(
        self,
        score: Callable[[list[str], list[str]], npt.NDArray[np.floating]],
        *,
        lengths: Callable[[list[str], list[str]], npt.NDArray[np.integer]],
        executor: Executor,
        memory: Memory[Known],
        tokens: int,
        longest_wait: float,
        most_waiting: int,
    ) -> None:
        """Start no work yet, see `run`.

        Args:
            score, lengths: of contexts and texts their scores and their numbers of tokens; both run on ``executor``.
            executor: of one thread: what it runs never overlaps.
            memory: of the pairs by their `digest`.
            tokens: of a batch, at most, unless one pair alone has more.
            longest_wait: seconds that the first request of a batch waits for others.
            most_waiting: pairs that may wait; a single request may have more.
        """
        self.score, self.lengths, self.executor = score, lengths, executor
        self.memory, self.tokens = memory, tokens
        self.longest_wait, self.most_waiting = longest_wait, most_waiting
        self.waiting = 0
        self.sizes: deque[int] = deque(maxlen=1000)
        self._jobs: deque[Job] = deque()
        self._arrived = asyncio.Event()

    async def scores(self, contexts: Sequence[str], texts: Sequence[str]) -> tuple[npt.NDArray[np.float64], int]:
        """Return one score a pair, shape (pairs,), and the tokens of all. Who is cancelled costs nothing more.

        Raises:
            BusyError: when too many pairs wait already.
        """
        pairs = list(zip(contexts, texts, strict=True))
        known = {pair: self.memory.get(digest(*pair)) for pair in dict.fromkeys(pairs)}
        found = {pair: value for pair, value in known.items() if value is not None}
        missing = [pair for pair in known if pair not in found]
        if missing:
            if self.waiting and self.waiting + len(missing) > self.most_waiting:
                raise BusyError
            job = Job(missing, asyncio.get_running_loop().create_future())
            self._jobs.append(job)
            self.waiting += len(missing)
            self._arrived.set()
            try:
                await job.done
            finally:
                self._leave(job)
            found.update(job.known)
        scores, tokens = zip(*(found[pair] for pair in pairs), strict=True)
        return np.array(scores, dtype=np.float64), sum(tokens)

    def _leave(self, job: Job) -> None:
        if job in self._jobs:
            self._jobs.remove(job)
            self.waiting -= len(job.pairs) - job.started

    async def run(self) -> None:
        """Score batches for ever."""
        loop = asyncio.get_running_loop()
        while True:
            if not self._jobs:
                self._arrived.clear()
                await self._arrived.wait()
                await asyncio.sleep(self.longest_wait)
            asking: list[Job] = []
            try:
                for job in [job for job in self._jobs if not job.tokens]:
                    asking = [job]
                    job.tokens = list(map(int, await loop.run_in_executor(self.executor, self._lengths, job.pairs)))
                batch = self._next()
                asking = [job for job, _ in batch]
                pairs = list(dict.fromkeys(pair for _, some in batch for pair in some))
                if not pairs:
                    continue
                # What another request had computed since this one came is there by now.
                scored = {pair: known[0] for pair in pairs if (known := self.memory.peek(digest(*pair)))}
                if new := [pair for pair in pairs if pair not in scored]:
                    values = await loop.run_in_executor(self.executor, self._scored, new)
                    scored.update(zip(new, values, strict=True))
                    self.sizes.append(len(new))
            except Exception as error:  # the requests that asked for it fail, and no others
                for job in asking:
                    if not job.done.done():
                        job.done.set_exception(error)
                    self._leave(job)
                continue
            for job, some in batch:
                tokens = job.tokens[len(job.known) :]
                job.known.update((pair, (scored[pair], count)) for pair, count in zip(some, tokens, strict=False))
                for pair in some:
                    self.memory.put(digest(*pair), job.known[pair])
                if len(job.known) == len(job.pairs) and not job.done.done():
                    job.done.set_result(None)

    def _lengths(self, pairs: list[Pair]) -> npt.NDArray[np.integer]:
        return self.lengths([context for context, _ in pairs], [text for _, text in pairs])

    def _scored(self, pairs: list[Pair]) -> list[float]:
        values = self.score([context for context, _ in pairs], [text for _, text in pairs])
        if not np.isfinite(values).all():
            raise FloatingPointError("the model gives a score that is no number: get its weights again")
        return [float(value) for value in values]

    def _next(self) -> list[tuple[Job, list[Pair]]]:
        """Take the next batch out of the jobs that wait, a turn each."""
        batch: list[tuple[Job, list[Pair]]] = []
        room = self.tokens
        while self._jobs and self._jobs[0].tokens:
            job = self._jobs.popleft()
            turn = 0
            while turn < TURN and job.started + turn < len(job.pairs):
                needed = job.tokens[job.started + turn]
                if needed > room and (batch or turn):
                    break
                room -= needed
                turn += 1
            if turn:
                batch.append((job, job.pairs[job.started : job.started + turn]))
                job.started += turn
                self.waiting -= turn
            full = turn < TURN and job.started < len(job.pairs)
            if full:
                self._jobs.appendleft(job)
                break
            if job.started < len(job.pairs):
                self._jobs.append(job)
        return batch
