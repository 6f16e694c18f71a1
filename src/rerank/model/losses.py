"""The losses of a cross-encoder: one entry a loss, and training asks nothing else about it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd
from datasets import Dataset
from sentence_transformers import CrossEncoder
from sentence_transformers.cross_encoder import losses
from torch import nn

from rerank.errors import UserError
from rerank.model.batching import SimilarLengths, WholeLists

# What makes the batches: called by the trainer with the rows, their number in a step, the seed and more.
Sampler = Callable[..., Any]


def single_pairs(pairs: pd.DataFrame, *, max_grade: int, symmetric: bool) -> Dataset:
    """Return one pair a row, in both orders when ``symmetric``, with labels from 0 to 1.

    A label is a grade over ``max_grade``: larger ones give a negative binary cross-entropy.
    """
    rows = pairs[["user_ctx", "book_text"]].assign(label=pairs["label"] / max_grade)
    if symmetric:
        rows = pd.concat([rows, rows.rename(columns={"user_ctx": "book_text", "book_text": "user_ctx"})])
    return Dataset.from_pandas(rows, preserve_index=False)


def whole_lists(pairs: pd.DataFrame, *, max_grade: int, symmetric: bool) -> Dataset:
    """Return one user and context a row: the context, the texts, and the grades as labels, in the pairs' order."""
    assert not symmetric, "a list has one context"
    users = pairs.assign(label=pairs["label"].astype(float)).groupby(["user_id", "user_ctx"], sort=False)
    rows = users.agg(texts=("book_text", list), label=("label", list)).reset_index()
    return Dataset.from_pandas(rows[["user_ctx", "texts", "label"]], preserve_index=False)


def pairs_a_step(rows: Dataset, batch_size: int) -> tuple[int, Sampler]:
    """Return how many rows a step has, and what makes the batches, for rows that are pairs."""
    return batch_size, SimilarLengths


def lists_a_step(rows: Dataset, batch_size: int) -> tuple[int, Sampler]:
    """Return the same for rows that are lists: as many as are sure to fit, which only several processes need."""
    longest = max(map(len, rows["label"]))
    return max(1, batch_size // longest), partial(WholeLists, pairs=batch_size)


@dataclass(frozen=True)
class Loss:
    """A loss.

    Attributes:
        rows: ``rows(pairs, *, max_grade, symmetric)`` gives the training data as the loss wants it.
        steps: ``steps(rows, batch_size)`` gives how many rows make a step of ``batch_size`` pairs, and the sampler.
        make: gives the module that computes it for a model.
        symmetric: whether it can learn both orders of a pair.
    """

    rows: Callable[..., Dataset]
    steps: Callable[[Dataset, int], tuple[int, Sampler]]
    make: Callable[[CrossEncoder], nn.Module]
    symmetric: bool


# The listwise ones see all candidates of a step at once.
LOSSES = {
    "binary_cross_entropy": Loss(single_pairs, pairs_a_step, losses.BinaryCrossEntropyLoss, symmetric=True),
    "lambda": Loss(whole_lists, lists_a_step, partial(losses.LambdaLoss, mini_batch_size=-1), symmetric=False),
    "listnet": Loss(whole_lists, lists_a_step, partial(losses.ListNetLoss, mini_batch_size=-1), symmetric=False),
}


def loss_named(name: str, *, symmetric: bool) -> Loss:
    """Return the loss that params.yaml names.

    Raises:
        UserError: when there is none, or it can't learn both orders of a pair though the task is ``symmetric``.
    """
    if name not in LOSSES:
        raise UserError(f"params.yaml: loss is {name!r}: give one of {', '.join(LOSSES)}")
    if symmetric and not LOSSES[name].symmetric:
        able = ", ".join(able for able, loss in LOSSES.items() if loss.symmetric)
        raise UserError(f"params.yaml: loss is {name!r}, which can't learn both orders of a pair: set loss to {able}")
    return LOSSES[name]
