"""Fine-tune a cross-encoder on pairs, and keep the weights with the best validation metric.

Validation is measured before the first step and every ``eval_every`` steps, so that a run which learns nothing shows it
at once. The result is a folder that loads with plain ``CrossEncoder(path)`` and holds the same bytes after the same
run: no times, no machine names.
"""

import hashlib
import sys
import tempfile
from functools import partial
from pathlib import Path

import pandas as pd
import torch
from datasets import Dataset
from sentence_transformers import CrossEncoder, CrossEncoderTrainer, CrossEncoderTrainingArguments
from sentence_transformers.base.sampler import BatchSamplers
from sentence_transformers.cross_encoder import losses

from rerank.errors import UserError, run
from rerank.files import replacing
from rerank.model.batching import SimilarLengths
from rerank.model.card import model_card
from rerank.model.encoder import build, head_parameters, score
from rerank.model.tokens import tokenize_once
from rerank.model.training import (
    Record,
    Schedule,
    Validation,
    arguments,
    is_writer,
    make_deterministic,
    with_curves,
)
from rerank.params import declared


def listwise(pairs: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each user and context: the context, the texts and the labels, in the order of the pairs."""
    users = pairs.groupby(["user_id", "user_ctx"], sort=False)
    return users.agg(texts=("book_text", list), label=("label", list)).reset_index()[["user_ctx", "texts", "label"]]


def some_users(pairs: pd.DataFrame, users: int | None, *, seed: int) -> pd.DataFrame:
    """Return the pairs of the first ``users`` users by hash order, or all of them when None."""
    order = sorted(pairs["user_id"].unique(), key=lambda user: hashlib.md5(f"user|{seed}|{user}".encode()).hexdigest())
    return pairs[pairs["user_id"].isin(order[:users])]


def batches(pairs: pd.DataFrame, *, loss: str, batch_size: int, max_grade: int, symmetric: bool) -> tuple[Dataset, int]:
    """Return the training data as ``loss`` wants it, and the rows of it that make a step of ``batch_size`` pairs.

    Binary cross-entropy takes one pair a row, in both orders when ``symmetric``, and labels from 0 to 1 (a grade over
    ``max_grade``: larger labels give a negative loss). The listwise losses take one user a row, and their labels as
    grades.

    Raises:
        UserError: when a listwise loss is to learn both orders: a list has one context.
    """
    if loss == "binary_cross_entropy":
        rows = pairs[["user_ctx", "book_text"]].assign(label=pairs["label"] / max_grade)
        if symmetric:
            rows = pd.concat([rows, rows.rename(columns={"user_ctx": "book_text", "book_text": "user_ctx"})])
        return Dataset.from_pandas(rows, preserve_index=False), batch_size
    if symmetric:
        raise UserError(f"params.yaml: symmetric is true, but loss is {loss!r}: set loss to binary_cross_entropy")
    rows = listwise(pairs)
    rows["label"] = [[float(label) for label in labels] for labels in rows["label"]]
    return Dataset.from_pandas(rows, preserve_index=False), max(1, int(batch_size // rows["label"].map(len).mean()))


def make_loss(model: CrossEncoder, *, loss: str) -> torch.nn.Module:
    """Return the loss that params.yaml calls ``loss``; the listwise ones see all candidates of a step at once."""
    if loss == "lambda":
        return losses.LambdaLoss(model, mini_batch_size=-1)
    if loss == "listnet":
        return losses.ListNetLoss(model, mini_batch_size=-1)
    return losses.BinaryCrossEntropyLoss(model)


def train(
    pairs: pd.DataFrame,
    validation_pairs: pd.DataFrame,
    *,
    base: Path,
    seed: int,
    max_grade: int,
    lr: float,
    head_lr: float,
    epochs: float,
    batch_size: int,
    warmup: float,
    dropout: float,
    weight_decay: float,
    max_length: int,
    loss: str,
    symmetric: bool,
    validation_metric: str,
    precision: str,
    eval_every: int,
    patience: int,
    record: Record,
) -> tuple[CrossEncoder, Validation]:
    """Fine-tune the model in ``base`` and return it with its best weights, and what validation saw.

    Args:
        pairs, validation_pairs: frames with the columns of `rerank.data.pairs`.
        base: model folder in Hub layout; one without a head gets a new one.
        lr, head_lr: peak learning rates of the pretrained layers and of the head.
        warmup: share of the steps, 0 to 1, over which the learning rates rise from 0.
        record: called with a metric's name, its value and the step.
        The other arguments are explained in params.yaml.

    Raises:
        UserError: when the scores stop being finite, or become all the same.
    """
    make_deterministic(seed)
    model = build(base, max_length=max_length, dropout=dropout, seed=seed)
    data, rows_per_step = batches(pairs, loss=loss, batch_size=batch_size, max_grade=max_grade, symmetric=symmetric)
    contexts, texts = validation_pairs["user_ctx"].tolist(), validation_pairs["book_text"].tolist()
    validation = Validation(
        pairs=validation_pairs,
        scorer=lambda model: score(model, contexts, texts, precision=precision, symmetric=symmetric),
        metric=validation_metric,
        system="cross_encoder",
        record=record,
    )
    with tempfile.TemporaryDirectory() as folder:
        args = CrossEncoderTrainingArguments(
            output_dir=folder,
            num_train_epochs=epochs,
            learning_rate=lr,
            warmup_steps=warmup,
            weight_decay=weight_decay,
            # Lists of candidates have their own lengths: only single pairs can be put beside similar ones.
            batch_sampler=SimilarLengths if loss == "binary_cross_entropy" else BatchSamplers.BATCH_SAMPLER,
            eval_strategy="steps",
            eval_steps=eval_every,
            logging_steps=max(1, eval_every // 5),
            **arguments(
                model,
                rows_per_step=rows_per_step,
                head=head_parameters(model),
                head_lr=head_lr,
                precision=precision,
                seed=seed,
            ),
        )
        trainer = CrossEncoderTrainer(
            model=model,
            args=args,
            train_dataset=data,
            loss=make_loss(model, loss=loss),
            evaluator=validation,
            callbacks=[Schedule(validation, patience=patience)],
        )
        tokenize_once(model)
        trainer.train()
    if is_writer():
        model.load_state_dict(validation.weights)
    return model, validation


def main(split: Path, base: Path, model_folder: Path, curves: Path) -> None:
    """Read train.parquet and validation.parquet; write the model and its curves, in one of the processes alone."""
    params = declared("train")
    pairs = pd.read_parquet(split / "train.parquet")
    validation_pairs = pd.read_parquet(split / "validation.parquet")
    validation_pairs = some_users(validation_pairs, params.pop("validation_users"), seed=params["seed"])
    work = partial(train, pairs, validation_pairs, base=base, **params)
    if not is_writer():
        work(record=lambda name, value, step: None)
        return
    model, validation = with_curves(curves, work)
    with replacing(model_folder) as unfinished:
        model.save_pretrained(str(unfinished), create_model_card=False)
        counts = {"training": pairs, "validation": validation_pairs}
        (unfinished / "README.md").write_text(model_card(counts, params, validation.best), encoding="utf-8")


if __name__ == "__main__":
    run(main, *map(Path, sys.argv[1:]))
