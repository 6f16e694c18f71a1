"""Which rows share a batch: pairs of similar length, or as many whole lists as a step may hold pairs.

A batch costs as much as its longest pair in every row. The trainers' own ``train_sampling_strategy="group_by_length"``
has no effect in sentence-transformers, which builds its batches itself.
"""

import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from sentence_transformers.base.sampler import DefaultBatchSampler

# Batches that are sorted together: more waste less padding, fewer are nearer to a plain shuffle.
POOL = 50


def processes() -> int:
    """Return how many processes train together, under `accelerate launch` or torchrun."""
    return int(os.environ.get("WORLD_SIZE", "1"))


class SimilarLengths(DefaultBatchSampler):
    """Shuffle the rows, sort each `POOL` of batches by length in characters, and shuffle the batches.

    Every row comes once an epoch, but for those of a batch that is not full when ``drop_last``. The order depends on
    the seed and the epoch alone.
    """

    def __init__(self, dataset: Any, **kwargs: Any) -> None:
        super().__init__(dataset, **kwargs)
        texts = (dataset[column] for column in dataset.column_names if column != "label")
        self.lengths = np.sum([[len(text) for text in column] for column in texts], axis=0)

    def __iter__(self) -> Iterator[list[int]]:
        generator = np.random.default_rng([self.seed or 0, self.epoch])
        rows = generator.permutation(len(self.lengths))
        size = POOL * self.batch_size
        pools = [rows[start : start + size] for start in range(0, len(rows), size)]
        ordered = np.concatenate([pool[np.argsort(self.lengths[pool], kind="stable")] for pool in pools])
        batches = [ordered[start : start + self.batch_size] for start in range(0, len(ordered), self.batch_size)]
        for number in generator.permutation(len(batches)):
            if len(batches[number]) == self.batch_size or not self.drop_last:
                yield batches[number].tolist()

    def __len__(self) -> int:
        return (len(self.lengths) if self.drop_last else len(self.lengths) + self.batch_size - 1) // self.batch_size


class WholeLists(DefaultBatchSampler):
    """Shuffle the lists, and put into each batch as many of the next ones as hold ``pairs`` pairs together.

    The order depends on the seed and the epoch alone, and lists of one length have the batches of the trainer's own
    sampler. Every epoch has as many batches as the first, so that the trainer knows its steps: where the lists of
    another fall into fewer, the fullest are halved, and where into more, the last are left out.

    Args:
        dataset: one list a row, in the column ``texts``.
        pairs: of a batch, at most, unless one list alone is longer.
        batch_size: lists in each batch when several processes train: they share only batches of one size, and
            ``drop_last`` is true then.
    """

    def __init__(self, dataset: Any, *, pairs: int, **kwargs: Any) -> None:
        super().__init__(dataset, **kwargs)
        self.pairs = pairs
        self.sizes = np.array([len(texts) for texts in dataset["texts"]])
        self.length = len(self._packed(0))

    def _packed(self, epoch: int) -> list[list[int]]:
        order = torch.randperm(len(self.sizes), generator=torch.Generator().manual_seed((self.seed or 0) + epoch))
        batches: list[list[int]] = []
        room = 0
        for row in order.tolist():
            room -= self.sizes[row]
            full = len(batches[-1]) == self.batch_size if batches and processes() > 1 else room < 0
            if full or not batches:
                batches.append([])
                room = self.pairs - self.sizes[row]
            batches[-1].append(row)
        if self.drop_last and len(batches[-1]) < self.batch_size:
            batches.pop()
        return batches

    def __iter__(self) -> Iterator[list[int]]:
        batches = self._packed(self.epoch)
        while len(batches) < self.length:
            fullest = max(range(len(batches)), key=lambda number: len(batches[number]))
            middle = len(batches[fullest]) // 2
            batches[fullest : fullest + 1] = [batches[fullest][:middle], batches[fullest][middle:]]
        yield from batches[: self.length]

    def __len__(self) -> int:
        return self.length


def by_length(lengths: npt.NDArray[np.int64], *, tokens: int) -> list[npt.NDArray[np.int64]]:
    """Return the rows of each batch, the longest first: as many as fit into ``tokens`` with padding, at least one.

    Args:
        lengths: tokens of each row, shape (rows,).
        tokens: budget of a batch.
    """
    order = np.argsort(-lengths, kind="stable")
    batches = []
    start = 0
    while start < len(order):
        rows = max(1, tokens // int(lengths[order[start]]))
        batches.append(order[start : start + rows])
        start += rows
    return batches
