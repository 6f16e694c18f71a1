"""Fine-tuning a bi-encoder: each loss gets the labels that it needs, made from the pairs for it alone."""

import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from datasets import Dataset
from sentence_transformers import (
    SentenceTransformer,
    SentenceTransformerTrainer,
    SentenceTransformerTrainingArguments,
)
from sentence_transformers.base.sampler import BatchSamplers
from sentence_transformers.sentence_transformer import losses
from torch import nn

from rerank.errors import UserError
from rerank.model.batching import SimilarLengths
from rerank.model.collapse import COLLAPSED_BI_ENCODER
from rerank.model.cosines import cosines
from rerank.model.encoder import attend_fast, open_bi_encoder
from rerank.model.lengths import check_words
from rerank.model.training import Record, Schedule, Validation, arguments, make_deterministic


def _labelled(kind: type) -> Callable[[pd.DataFrame], Dataset]:
    def examples(pairs: pd.DataFrame) -> Dataset:
        rows = pairs[["user_ctx", "book_text"]].assign(label=(pairs["label"] > 0).astype(kind))
        return Dataset.from_pandas(rows, preserve_index=False)

    return examples


def _positives(pairs: pd.DataFrame) -> Dataset:
    return Dataset.from_pandas(pairs.loc[pairs["label"] > 0, ["user_ctx", "book_text"]], preserve_index=False)


@dataclass(frozen=True)
class Loss:
    """A loss of a bi-encoder: its training data (two texts, and a label where it needs one), batches and module."""

    examples: Callable[[pd.DataFrame], Dataset]
    sampler: Any
    make: Callable[[SentenceTransformer], nn.Module]


LOSSES = {
    # Regresses the cosine on 0.0 or 1.0.
    "cosine": Loss(_labelled(float), SimilarLengths, losses.CosineSimilarityLoss),
    # Pulls pairs with the label 1 together and pushes those with 0 apart.
    "contrastive": Loss(_labelled(int), SimilarLengths, losses.OnlineContrastiveLoss),
    # Takes positives alone: the other pairs of a step are its negatives, so a pair with the label 0 would teach the
    # opposite, and a text twice in a step would be its own negative.
    "ranking": Loss(_positives, BatchSamplers.NO_DUPLICATES, losses.MultipleNegativesRankingLoss),
}


def loss_named(name: str) -> Loss:
    """Return the loss that dvc.yaml names.

    Raises:
        UserError: when there is none.
    """
    if name not in LOSSES:
        raise UserError(f"dvc.yaml: --loss-name is {name!r}: give one of {', '.join(LOSSES)}")
    return LOSSES[name]


def train_bi_encoder(
    pairs: pd.DataFrame,
    validation_pairs: pd.DataFrame,
    *,
    base: Path,
    loss: str,
    validation_metric: str,
    seed: int,
    bi_encoder_lr: float,
    bi_encoder_epochs: float,
    bi_encoder_batch_size: int,
    warmup: float,
    precision: str,
    record: Record,
) -> tuple[SentenceTransformer, Validation]:
    """Fine-tune the bi-encoder in ``base`` and return it with its best weights, and what validation saw.

    Args:
        pairs, validation_pairs: frames with the columns of `rerank.data.pairs`; a label above 0 is a positive.
        loss: one of `LOSSES`.
        validation_metric: one of `rerank.measure.quality.QUALITIES`.
        warmup: share of the steps, 0 to 1, over which the learning rate rises from 0.
        record: called with a name, its value and the step.
        The other arguments are explained in params.yaml.

    Raises:
        UserError: for another loss or a base that is no bi-encoder, when the metric is no number, or when the scores
            stop being finite, or become all the same.
    """
    chosen = loss_named(loss)
    make_deterministic(seed)
    model = open_bi_encoder(base)
    check_words(model, pairs, base=base)
    attend_fast(model)
    contexts, texts = validation_pairs["user_ctx"].tolist(), validation_pairs["book_text"].tolist()
    validation = Validation(
        pairs=validation_pairs,
        scorer=lambda model: cosines(model, contexts, texts, precision=precision),
        metric=validation_metric,
        system=f"bi_encoder_{loss}",
        advice=COLLAPSED_BI_ENCODER,
        record=record,
    )
    with tempfile.TemporaryDirectory() as folder:
        args = SentenceTransformerTrainingArguments(
            output_dir=folder,
            num_train_epochs=bi_encoder_epochs,
            learning_rate=bi_encoder_lr,
            warmup_steps=warmup,
            eval_strategy="epoch",
            logging_steps=20,
            batch_sampler=chosen.sampler,
            **arguments(
                model,
                rows_per_step=bi_encoder_batch_size,
                head=[],
                head_lr=0.0,
                precision=precision,
                seed=seed,
            ),
        )
        trainer = SentenceTransformerTrainer(
            model=model,
            args=args,
            train_dataset=chosen.examples(pairs),
            loss=chosen.make(model),
            evaluator=validation,
        )
        trainer.add_callback(Schedule(validation, patience=sys.maxsize))
        trainer.train()
    model.load_state_dict(validation.weights)
    return model, validation
