"""Fine-tune a bi-encoder on pairs with one of three losses, and keep the weights with the best average precision.

The bi-encoder embeds each text alone, so it can search millions of texts: what a cross-encoder is compared with. Each
loss gets the labels that it needs, made from the pairs for it alone.
"""

import sys
import tempfile
from functools import partial
from pathlib import Path

import pandas as pd
import torch
from datasets import Dataset
from sentence_transformers import (
    SentenceTransformer,
    SentenceTransformerTrainer,
    SentenceTransformerTrainingArguments,
)
from sentence_transformers.base.sampler import BatchSamplers
from sentence_transformers.sentence_transformer import losses

from rerank.errors import UserError, run
from rerank.files import replacing
from rerank.model.batching import SimilarLengths
from rerank.model.encoder import attend_fast
from rerank.model.training import Record, Schedule, Validation, arguments, make_deterministic, with_curves
from rerank.params import declared
from rerank.systems import baselines

LOSSES = ("cosine", "contrastive", "ranking")


def examples(pairs: pd.DataFrame, loss: str) -> Dataset:
    """Return the training data as ``loss`` wants it: two texts and, but for ``ranking``, a label.

    ``cosine`` (CosineSimilarityLoss) regresses the cosine on 0.0 or 1.0. ``contrastive`` (OnlineContrastiveLoss) pulls
    pairs with the label 1 together and pushes those with 0 apart. ``ranking`` (MultipleNegativesRankingLoss) takes
    positives alone: the other pairs of a step are its negatives, so a pair with the label 0 would teach the opposite.
    """
    texts = pairs[["user_ctx", "book_text"]]
    positive = pairs["label"] > 0
    if loss == "ranking":
        return Dataset.from_pandas(texts[positive], preserve_index=False)
    return Dataset.from_pandas(
        texts.assign(label=positive.astype(float if loss == "cosine" else int)), preserve_index=False
    )


def make_loss(model: SentenceTransformer, loss: str) -> torch.nn.Module:
    """Return the loss of that name, see `examples`."""
    if loss == "cosine":
        return losses.CosineSimilarityLoss(model)
    if loss == "contrastive":
        return losses.OnlineContrastiveLoss(model)
    return losses.MultipleNegativesRankingLoss(model)


def train_bi_encoder(
    pairs: pd.DataFrame,
    validation_pairs: pd.DataFrame,
    *,
    base: Path,
    loss: str,
    seed: int,
    bi_encoder_lr: float,
    bi_encoder_epochs: float,
    bi_encoder_batch_size: int,
    warmup: float,
    weight_decay: float,
    precision: str,
    record: Record,
) -> tuple[SentenceTransformer, Validation]:
    """Fine-tune the bi-encoder in ``base`` and return it with its best weights, and what validation saw.

    Args:
        pairs, validation_pairs: frames with the columns of `rerank.data.pairs`; a label above 0 is a positive.
        loss: one of `LOSSES`.
        warmup: share of the steps, 0 to 1, over which the learning rate rises from 0.
        record: called with a metric's name, its value and the step.
        The other arguments are explained in params.yaml.

    Raises:
        UserError: for another loss, or when the scores stop being finite, or become all the same.
    """
    if loss not in LOSSES:
        raise UserError(f"dvc.yaml: the loss of a bi-encoder is {loss!r}: give one of {', '.join(LOSSES)}")
    make_deterministic(seed)
    model = SentenceTransformer(str(base), local_files_only=True)
    attend_fast(model)
    contexts, texts = validation_pairs["user_ctx"].tolist(), validation_pairs["book_text"].tolist()
    validation = Validation(
        pairs=validation_pairs,
        scorer=lambda model: baselines.cosines(model, contexts, texts, precision=precision),
        metric="average_precision",
        system=f"bi_encoder_{loss}",
        record=record,
    )
    with tempfile.TemporaryDirectory() as folder:
        args = SentenceTransformerTrainingArguments(
            output_dir=folder,
            num_train_epochs=bi_encoder_epochs,
            learning_rate=bi_encoder_lr,
            warmup_steps=warmup,
            weight_decay=weight_decay,
            eval_strategy="epoch",
            logging_steps=20,
            # A text twice in a step would be its own negative.
            batch_sampler=BatchSamplers.NO_DUPLICATES if loss == "ranking" else SimilarLengths,
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
            train_dataset=examples(pairs, loss),
            loss=make_loss(model, loss),
            evaluator=validation,
        )
        trainer.add_callback(Schedule(validation, patience=sys.maxsize))
        trainer.train()
    model.load_state_dict(validation.weights)
    return model, validation


def main(loss: str, split: Path, base: Path, model_folder: Path, curves: Path) -> None:
    params = declared("train_bi_encoder")
    pairs, validation_pairs = (pd.read_parquet(split / f"{name}.parquet") for name in ("train", "validation"))
    work = partial(train_bi_encoder, pairs, validation_pairs, base=base, loss=loss, **params)
    model, _ = with_curves(curves, work)
    with replacing(model_folder) as unfinished:
        model.save_pretrained(str(unfinished), create_model_card=False)


if __name__ == "__main__":
    run(main, sys.argv[1], *map(Path, sys.argv[2:]))
