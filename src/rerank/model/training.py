"""What every training shares: one seed, validation from before the first step on, the best weights kept, the curves."""

import hashlib
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from sentence_transformers.base.evaluation import BaseEvaluator
from sentence_transformers.base.model import BaseModel
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments, set_seed

from rerank.errors import UserError
from rerank.files import replacing
from rerank.measure.quality import quality
from rerank.model.batching import processes
from rerank.model.collapse import check_scores
from rerank.model.scores import resolve_precision

# Called with a metric's name or `LOSS`, its value and the step.
Record = Callable[[str, float, int], None]
Scorer = Callable[[Any], npt.NDArray[np.floating]]
LOSS = "loss"
WEIGHT_DECAY = 0.01


def make_deterministic(seed: int) -> None:
    """Seed all generators and refuse operations whose result could differ between two runs."""
    set_seed(seed)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # what deterministic CUDA needs
    torch.use_deterministic_algorithms(True)


def some_users(pairs: pd.DataFrame, users: int | None, *, seed: int) -> pd.DataFrame:
    """Return the pairs of the first ``users`` users by hash order, or all of them when None."""
    order = sorted(pairs["user_id"].unique(), key=lambda user: hashlib.md5(f"user|{seed}|{user}".encode()).hexdigest())
    return pairs[pairs["user_id"].isin(order[:users])]


@dataclass
class Validation(BaseEvaluator):
    """Measure a model on the validation pairs and remember its best weights, from before the first step on.

    Attributes:
        scorer: gives a model's scores of ``pairs``.
        metric: one of `rerank.measure.quality.QUALITIES`.
        system, advice: of the error for scores that rank nothing, see `check_scores`.
        record: called with the metric, its value and the step.
        first: the metric before the first step.
        misses: measurements since the best one.
    """

    pairs: pd.DataFrame
    scorer: Scorer
    metric: str
    system: str
    advice: str
    record: Record
    first: float = np.nan
    best: float = -np.inf
    best_step: int = 0
    misses: int = 0
    weights: dict[str, torch.Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__init__()

    def __call__(
        self, model: BaseModel, output_path: str | None = None, epoch: float = -1, steps: int = -1
    ) -> dict[str, float]:
        scores = self.scorer(model)
        check_scores(self.system, scores, advice=self.advice)
        value = quality(self.metric, self.pairs, scores, split="validation")
        self.record(self.metric, value, steps)
        if np.isnan(self.first):
            self.first = value
        if value > self.best:
            self.best, self.best_step, self.misses = value, steps, 0
            self.weights = {name: weight.detach().cpu().clone() for name, weight in model.state_dict().items()}
        else:
            self.misses += 1
        return {self.metric: value, "misses": self.misses}


class Schedule(TrainerCallback):
    """Record the training loss, and stop after ``patience`` measurements without a better one."""

    def __init__(self, validation: Validation, *, patience: int) -> None:
        self.validation = validation
        self.patience = patience

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object) -> None:
        logs = kwargs["logs"]
        assert isinstance(logs, dict)
        if "loss" in logs and state.is_world_process_zero:
            self.validation.record(LOSS, float(logs["loss"]), state.global_step)

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        # Only the first of several processes measures; all of them get its metrics, and stop together.
        metrics = kwargs["metrics"]
        assert isinstance(metrics, dict)
        if metrics["eval_misses"] >= self.patience:
            control.should_training_stop = True


class Curves:
    """What a training records, for two tables: loss.csv (step, loss) and validation.csv (step, metric, value)."""

    def __init__(self) -> None:
        self.rows: list[tuple[int, str, float]] = []

    def record(self, name: str, value: float, step: int) -> None:
        """Remember a value: a `Record`."""
        self.rows.append((step, name, value))

    def write(self, folder: Path) -> None:
        """Write the two tables into ``folder``, rounded as DVC's metrics are."""
        table = pd.DataFrame(self.rows, columns=["step", "metric", "value"])
        is_loss = table["metric"] == LOSS
        with replacing(folder) as partial:
            partial.mkdir()
            losses = table[is_loss].drop(columns="metric").rename(columns={"value": LOSS})
            for name, rows in (("loss", losses), ("validation", table[~is_loss])):
                rows.round(6).to_csv(partial / f"{name}.csv", index=False, lineterminator="\n")


def is_writer() -> bool:
    """Whether this is the one process that writes files."""
    return os.environ.get("RANK", "0") == "0"


def arguments(
    model: BaseModel, *, rows_per_step: int, head: list[str], head_lr: float, precision: str, seed: int
) -> dict[str, Any]:
    """Return the arguments that all trainers share.

    Args:
        rows_per_step: rows of the training data in a step; several processes share them, so that they follow the curve
            of one, and leave out what does not fill a step at the end of an epoch.
        head: names of the parameters that learn at the rate ``head_lr``.
        precision: auto, fp32 or bf16, see `rerank.model.scores.resolve_precision`.

    Raises:
        UserError: when the processes cannot share a step equally.
    """
    if rows_per_step % processes():
        raise UserError(
            f"params.yaml: batch_size makes steps of {rows_per_step} rows, which {processes()} processes cannot share "
            "equally: set it to a multiple"
        )
    device = model.device.type
    bf16 = resolve_precision(precision, device) == "bf16"
    os.environ["ACCELERATE_MIXED_PRECISION"] = "bf16" if bf16 else "no"  # a launcher's configuration may name another
    return {
        "per_device_train_batch_size": rows_per_step,
        "accelerator_config": {"split_batches": True},
        "dataloader_drop_last": processes() > 1,
        # The model is a module of the loss, or of a loss in the loss.
        "learning_rate_mapping": {rf"^(?:\w+\.)?model\.{re.escape(name)}$": head_lr for name in head},
        "weight_decay": WEIGHT_DECAY,
        "use_cpu": device == "cpu",
        "bf16": bf16,
        "seed": seed,
        "data_seed": seed,
        "eval_on_start": True,
        "logging_first_step": True,
        "save_strategy": "no",
        "report_to": "none",
    }
