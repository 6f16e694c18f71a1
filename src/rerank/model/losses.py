"""The losses of a cross-encoder: one entry a loss, and training asks nothing else about it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd
import torch
from datasets import Dataset
from sentence_transformers import CrossEncoder
from sentence_transformers.cross_encoder import losses
from torch import nn

from rerank.errors import UserError
from rerank.model.batching import SimilarLengths, WholeLists

# A column of the training pairs: standardised within each list, 0 where the teacher says nothing.
TEACHER = "teacher"
SHARPNESS = 2.0
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
    """Return one user and context a row: the context, the texts, and the grades as labels, in the pairs' order.

    Where ``pairs`` have a column `TEACHER`, the labels are followed by as many of its scores, for `Taught`.
    """
    assert not symmetric, "a list has one context"
    users = pairs.assign(label=pairs["label"].astype(float)).groupby(["user_id", "user_ctx"], sort=False)
    rows = users.agg(texts=("book_text", list), label=("label", list)).reset_index()
    if TEACHER in pairs:
        rows["label"] += users.agg(scores=(TEACHER, list)).reset_index()["scores"]
    return Dataset.from_pandas(rows[["user_ctx", "texts", "label"]], preserve_index=False)


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


class Remembered(nn.Module):
    """The identity, which keeps what it saw last: the logits of a step."""

    def forward(self, logits: torch.Tensor) -> torch.Tensor:
        self.logits = logits
        return logits


class Taught(nn.Module):
    """A listwise loss, and ``weight`` x the cross-entropy of each list's scores with a teacher's.

    Both as softmax over the list (Cao et al. 2007), the teacher's standardised scores times `SHARPNESS`: co-reading
    tells apart candidates that the labels call equal. A list about which the teacher says nothing has the first alone.
    """

    def __init__(self, model: CrossEncoder, *, listwise: Callable[..., nn.Module], weight: float) -> None:
        super().__init__()
        self.seen = Remembered()
        self.listwise = listwise(model=model, activation_fn=self.seen, mini_batch_size=-1)
        self.weight = weight

    def forward(self, inputs: Any, labels: list[torch.Tensor], **more: Any) -> torch.Tensor:
        """Return the loss of a step; ``labels`` are those of each list, followed by as many scores of the teacher."""
        graded, taught = zip(*(both.chunk(2) for both in labels), strict=True)
        loss = self.listwise(inputs, list(graded), **more)
        lists = self.seen.logits.split([len(scores) for scores in taught])
        terms = [
            -(torch.softmax(SHARPNESS * scores.to(logits), dim=0) * torch.log_softmax(logits, dim=0)).sum()
            for logits, scores in zip(lists, taught, strict=True)
            if bool(scores.any())
        ]
        return loss + self.weight * torch.stack(terms).mean() if terms else loss


def listwise(loss: Callable[..., nn.Module], model: CrossEncoder, teacher_weight: float) -> nn.Module:
    """Return a listwise loss that sees all candidates of a step at once, taught where the weight is above 0."""
    if teacher_weight > 0:
        return Taught(model, listwise=loss, weight=teacher_weight)
    return loss(model=model, mini_batch_size=-1)


def pointwise(model: CrossEncoder, teacher_weight: float) -> nn.Module:
    """Return the binary cross-entropy of single pairs, which no teacher changes."""
    return losses.BinaryCrossEntropyLoss(model)


LOSSES = {
    "binary_cross_entropy": Loss(single_pairs, pairs_a_step, pointwise, symmetric=True),
    "lambda": Loss(whole_lists, lists_a_step, partial(listwise, losses.LambdaLoss), symmetric=False),
    "listnet": Loss(whole_lists, lists_a_step, partial(listwise, losses.ListNetLoss), symmetric=False),
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
