"""Fine-tune a cross-encoder on pairs, and keep the weights with the best validation nDCG@10.

Validation is the mean over users, measured before the first step and every ``eval_every`` steps, so that a run which
learns nothing shows it at once. The result is a folder that loads with plain ``CrossEncoder(path)`` and holds the same
bytes after the same run: no times, no machine names.
"""

import hashlib
import os
import re
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import torch
from datasets import Dataset
from sentence_transformers import CrossEncoder, CrossEncoderTrainer, CrossEncoderTrainingArguments
from sentence_transformers.base.evaluation import BaseEvaluator
from sentence_transformers.base.model import BaseModel
from sentence_transformers.cross_encoder import losses
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments, set_seed

from rerank.card import model_card
from rerank.errors import run
from rerank.files import replacing
from rerank.metrics import check_scores, per_user
from rerank.model import build, head_parameters, resolve_precision, score
from rerank.params import declared

Record = Callable[[str, float, int], None]


def listwise(pairs: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each user and context: the context, the texts and the labels, in the order of the pairs."""
    users = pairs.groupby(["user_id", "user_ctx"], sort=False)
    return users.agg(texts=("book_text", list), label=("label", list)).reset_index()[["user_ctx", "texts", "label"]]


def some_users(pairs: pd.DataFrame, users: int | None, *, seed: int) -> pd.DataFrame:
    """Return the pairs of the first ``users`` users by hash order, or all of them when None."""
    order = sorted(pairs["user_id"].unique(), key=lambda user: hashlib.md5(f"user|{seed}|{user}".encode()).hexdigest())
    return pairs[pairs["user_id"].isin(order[:users])]


def batches(pairs: pd.DataFrame, *, loss: str, batch_size: int, max_grade: int) -> tuple[Dataset, int]:
    """Return the training data as ``loss`` wants it, and the rows of it that make a step of ``batch_size`` pairs.

    Binary cross-entropy takes one pair a row and labels from 0 to 1 (a grade over ``max_grade``: larger labels give a
    negative loss). The listwise losses take one user a row, and their labels as grades.
    """
    if loss == "binary_cross_entropy":
        rows = pairs[["user_ctx", "book_text"]].assign(label=pairs["label"] / max_grade)
        return Dataset.from_pandas(rows, preserve_index=False), batch_size
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


@dataclass
class Validation(BaseEvaluator):
    """Measure nDCG@10 on the validation users and remember the best weights, from before the first step on."""

    pairs: pd.DataFrame
    precision: str
    patience: int
    record: Record
    best: float = -1.0
    best_step: int = 0
    misses: int = 0
    weights: dict[str, torch.Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__init__()

    def __call__(
        self, model: BaseModel, output_path: str | None = None, epoch: float = -1, steps: int = -1
    ) -> dict[str, float]:
        assert isinstance(model, CrossEncoder), "CrossEncoderTrainer trains nothing else"
        scores = score(model, self.pairs["user_ctx"], self.pairs["book_text"], precision=self.precision)
        check_scores("cross_encoder", scores)
        measured = per_user(self.pairs["user_id"], self.pairs["book_id"], self.pairs["label"], scores)
        ndcg = float(measured["ndcg@10"].mean())
        self.record("validation/ndcg@10", ndcg, steps)
        if ndcg > self.best:
            self.best, self.best_step, self.misses = ndcg, steps, 0
            self.weights = {name: value.detach().cpu().clone() for name, value in model.state_dict().items()}
        else:
            self.misses += 1
        return {"ndcg@10": ndcg}


class Schedule(TrainerCallback):
    """Record the training loss, and stop when validation no longer improves."""

    def __init__(self, validation: Validation, record: Record) -> None:
        self.validation = validation
        self.record = record

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object) -> None:
        logs = kwargs["logs"]
        assert isinstance(logs, dict)
        if "loss" in logs:
            self.record("train/loss", float(logs["loss"]), state.global_step)

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        if self.validation.misses >= self.validation.patience:
            control.should_training_stop = True


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
    precision: str,
    eval_every: int,
    patience: int,
    record: Record,
) -> tuple[CrossEncoder, Validation]:
    """Fine-tune the model in ``base`` and return it with its best weights, and what validation saw.

    Args:
        pairs, validation_pairs: frames with the columns of `rerank.pairs`.
        base: model folder in Hub layout; one without a head gets a new one.
        lr, head_lr: peak learning rates of the pretrained layers and of the head.
        warmup: share of the steps, 0 to 1, over which the learning rates rise from 0.
        record: called with a metric's name, its value and the step.
        The other arguments are explained in params.yaml.

    Raises:
        UserError: when the scores stop being finite, or become all the same.
    """
    set_seed(seed)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # what deterministic CUDA needs
    torch.use_deterministic_algorithms(True)
    model = build(base, max_length=max_length, dropout=dropout, seed=seed)
    data, rows_per_step = batches(pairs, loss=loss, batch_size=batch_size, max_grade=max_grade)
    validation = Validation(pairs=validation_pairs, precision=precision, patience=patience, record=record)
    with tempfile.TemporaryDirectory() as folder:
        args = CrossEncoderTrainingArguments(
            output_dir=folder,
            num_train_epochs=epochs,
            per_device_train_batch_size=rows_per_step,
            learning_rate=lr,
            learning_rate_mapping={f"^model\\.{re.escape(name)}$": head_lr for name in head_parameters(model)},
            warmup_steps=warmup,
            weight_decay=weight_decay,
            use_cpu=model.device.type == "cpu",
            bf16=resolve_precision(precision, model.device.type) == "bf16",
            seed=seed,
            data_seed=seed,
            eval_strategy="steps",
            eval_steps=eval_every,
            eval_on_start=True,
            logging_steps=max(1, eval_every // 5),
            logging_first_step=True,
            save_strategy="no",
            report_to="none",
        )
        trainer = CrossEncoderTrainer(
            model=model,
            args=args,
            train_dataset=data,
            loss=make_loss(model, loss=loss),
            evaluator=validation,
            callbacks=[Schedule(validation, record)],
        )
        trainer.train()
    model.load_state_dict(validation.weights)
    return model, validation


def main(split: Path, base: Path, model_folder: Path, curves: Path) -> None:
    from dvclive import Live

    params = declared("train")
    pairs = pd.read_parquet(split / "train.parquet")
    validation_pairs = pd.read_parquet(split / "validation.parquet")
    validation_pairs = some_users(validation_pairs, params.pop("validation_users"), seed=params["seed"])
    with replacing(curves) as unfinished, Live(str(unfinished), save_dvc_exp=False, dvcyaml=False) as live:

        def record(name: str, value: float, step: int) -> None:
            live.step = step
            live.log_metric(name, value)

        model, validation = train(pairs, validation_pairs, base=base, record=record, **params)
        live.summary["best"] = {"validation_ndcg@10": validation.best, "step": validation.best_step}
    with replacing(model_folder) as partial:
        model.save_pretrained(str(partial), create_model_card=False)
        counts = {"training": pairs, "validation": validation_pairs}
        (partial / "README.md").write_text(model_card(counts, params, validation.best), encoding="utf-8")


if __name__ == "__main__":
    run(main, *map(Path, sys.argv[1:]))
