"""Batches of pairs of similar length: a batch costs as much as its longest pair in every row.

The trainers' own ``train_sampling_strategy="group_by_length"`` has no effect in sentence-transformers, which builds its
batches itself.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from sentence_transformers.base.sampler import DefaultBatchSampler

# Batches that are sorted together: more waste less padding, fewer are nearer to a plain shuffle.
POOL = 50


class SimilarLengths(DefaultBatchSampler):
    """Shuffle the rows, sort each `POOL` of batches by length in characters, and shuffle the batches.

    Every row comes once an epoch. The order depends on the seed and the epoch alone.
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
            yield batches[number].tolist()

    def __len__(self) -> int:
        return -(-len(self.lengths) // self.batch_size)


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
