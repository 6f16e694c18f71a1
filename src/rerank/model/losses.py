"""The losses of a cross-encoder: one entry a loss, and training asks nothing else about it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from datasets import Dataset
from sentence_transformers import CrossEncoder
from sentence_transformers.cross_encoder import losses
from torch import nn

from rerank.errors import UserError
from rerank.model.batching import SimilarLengths, WholeLists
from rerank.model.listwise import Listwise
from rerank.model.training import is_writer

# A column of the training pairs: standardised within each list, 0 where the teacher says nothing.
TEACHER = "teacher"
# The share of lists from which nothing can be learnt that is worth a warning.
MANY = 0.1
# What makes the batches: called by the trainer with the rows, their number in a step, the seed and more.
Sampler = Callable[..., Any]


def single_pairs(pairs: pd.DataFrame, *, max_grade: int, symmetric: bool) -> Dataset:
    """Return one pair a row, in both orders when ``symmetric``, with labels from 0 to 1.

    A label is a grade over ``max_grade``: larger ones give a negative binary cross-entropy.

    Raises:
        UserError: when all labels are the same.
    """
    if pairs["label"].nunique() < 2:
        same = f"{pairs['label'].iloc[0]:g}" if len(pairs) else "none"
        raise UserError(
            f"training: the label of all {len(pairs):,} training pairs is {same}, so that nothing can be learnt: give "
            "pairs with other labels too, or check label_column"
        )
    rows = pairs[["user_ctx", "book_text"]].assign(label=pairs["label"] / max_grade)
    if symmetric:
        rows = pd.concat([rows, rows.rename(columns={"user_ctx": "book_text", "book_text": "user_ctx"})])
    return Dataset.from_pandas(rows, preserve_index=False)


def whole_lists(pairs: pd.DataFrame, *, max_grade: int, symmetric: bool) -> Dataset:
    """Return one user a row: the context, the texts, and the grades as labels, in the pairs' order.

    Where a user has several contexts, the column of contexts has one for each text. Where ``pairs`` have a column
    `TEACHER`, the labels are followed by as many of its scores, for `Listwise`.

    Raises:
        UserError: when no list has two different labels; many lists without them are a printed warning.
    """
    assert not symmetric, "the texts of a list are judged for its context"
    users = pairs.assign(label=pairs["label"].astype(float)).groupby("user_id", sort=False)
    _check_contrast(users["label"].nunique().to_numpy())
    contexts: str | Callable = "first" if (users["user_ctx"].nunique() == 1).all() else list
    rows = users.agg(user_ctx=("user_ctx", contexts), texts=("book_text", list), label=("label", list)).reset_index()
    if TEACHER in pairs:
        rows["label"] += users.agg(scores=(TEACHER, list)).reset_index()["scores"]
    return Dataset.from_pandas(rows[["user_ctx", "texts", "label"]], preserve_index=False)


def _check_contrast(labels: npt.NDArray[np.int64]) -> None:
    """Refuse lists of which none has a contrast; ``labels``: how many different ones each list has."""
    alike = int(np.count_nonzero(labels < 2))
    if alike == len(labels):
        raise UserError(
            f"training: no list of the {alike:,} users has both a positive and a negative, and a listwise loss learns "
            "from nothing else: give users pairs of both kinds, or set loss to binary_cross_entropy"
        )
    if alike > MANY * len(labels) and is_writer():
        print(
            f"warning: {alike:,} of {len(labels):,} users have training pairs of a single label, from which a "
            "listwise loss learns nothing: give them positives and negatives, or set loss to binary_cross_entropy"
        )


def pairs_a_step(rows: Dataset, batch_size: int) -> tuple[int, Sampler]:
    """Return how many rows a step has, and what makes the batches, for rows that are pairs."""
    return batch_size, SimilarLengths


def lists_a_step(rows: Dataset, batch_size: int) -> tuple[int, Sampler]:
    """Return the same for rows that are lists: as many as are sure to fit, which only several processes need."""
    longest = max(map(len, rows["texts"]))
    return max(1, batch_size // longest), partial(WholeLists, pairs=batch_size)


@dataclass(frozen=True)
class Loss:
    """A loss.

    Attributes:
        rows: ``rows(pairs, *, max_grade, symmetric)`` gives the training data as the loss wants it.
        steps: ``steps(rows, batch_size)`` gives how many rows make a step of ``batch_size`` pairs, and the sampler.
        make: ``make(model, teacher_weight)`` gives the module that computes it for a model.
        symmetric: whether it can learn both orders of a pair.
    """

    rows: Callable[..., Dataset]
    steps: Callable[[Dataset, int], tuple[int, Sampler]]
    make: Callable[[CrossEncoder, float], nn.Module]
    symmetric: bool


def pointwise(model: CrossEncoder, teacher_weight: float) -> nn.Module:
    """Return the binary cross-entropy of single pairs, which no teacher changes."""
    return losses.BinaryCrossEntropyLoss(model)


LOSSES = {
    "binary_cross_entropy": Loss(single_pairs, pairs_a_step, pointwise, symmetric=True),
    "lambda": Loss(whole_lists, lists_a_step, partial(Listwise, loss=losses.LambdaLoss), symmetric=False),
    "listnet": Loss(whole_lists, lists_a_step, partial(Listwise, loss=losses.ListNetLoss), symmetric=False),
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
