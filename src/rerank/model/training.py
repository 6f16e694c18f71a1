"""What every training shares: one seed, validation from before the first step on, the best weights kept, the log."""

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
from scipy.stats import spearmanr
from sentence_transformers.base.evaluation import BaseEvaluator
from sentence_transformers.base.model import BaseModel
from sklearn.metrics import average_precision_score
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments, set_seed

from rerank.errors import UserError
from rerank.files import replacing
from rerank.measure.metrics import check_scores, per_user
from rerank.model.encoder import resolve_precision

Record = Callable[[str, float, int], None]
Scorer = Callable[[Any], npt.NDArray[np.floating]]


def make_deterministic(seed: int) -> None:
    """Seed all generators and refuse operations whose result could differ between two runs."""
    set_seed(seed)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # what deterministic CUDA needs
    torch.use_deterministic_algorithms(True)


def quality(metric: str, pairs: pd.DataFrame, scores: npt.NDArray[np.floating]) -> float:
    """Return a metric of scored pairs, higher is better.

    Args:
        metric: ``ndcg@10``, the mean over users; ``spearman`` (rank correlation with the label) or
            ``average_precision`` (of labels above 0), over all pairs.
        pairs: frame with user_id, book_id and label.
        scores: one a row.
    """
    if metric == "spearman":
        return float(spearmanr(pairs["label"], scores).statistic)
    if metric == "average_precision":
        return float(average_precision_score(pairs["label"] > 0, scores))
    measured = per_user(pairs["user_id"], pairs["book_id"], pairs["label"], scores)
    return float(measured[metric].mean())


@dataclass
class Validation(BaseEvaluator):
    """Measure a model on the validation pairs and remember its best weights, from before the first step on.

    Attributes:
        scorer: gives a model's scores of ``pairs``.
        metric: see `quality`.
        system: what the error calls a model whose scores rank nothing.
        record: called with a name, a value and the step.
        misses: measurements since the best one.
    """

    pairs: pd.DataFrame
    scorer: Scorer
    metric: str
    system: str
    record: Record
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
        check_scores(self.system, scores)
        value = quality(self.metric, self.pairs, scores)
        self.record(f"validation/{self.metric}", value, steps)
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
            self.validation.record("train/loss", float(logs["loss"]), state.global_step)

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        # Only the first of several processes measures; all of them get its metrics, and stop together.
        metrics = kwargs["metrics"]
        assert isinstance(metrics, dict)
        if metrics["eval_misses"] >= self.patience:
            control.should_training_stop = True


def with_curves(curves: Path, train: Callable[..., tuple[Any, Validation]]) -> tuple[Any, Validation]:
    """Return what ``train(record=...)`` returns; the folder ``curves`` gets what it records, through DVCLive."""
    from dvclive import Live

    with replacing(curves) as unfinished, Live(str(unfinished), save_dvc_exp=False, dvcyaml=False) as live:

        def record(name: str, value: float, step: int) -> None:
            live.step = step
            live.log_metric(name, value)

        model, validation = train(record=record)
        live.summary["best"] = {f"validation_{validation.metric}": validation.best, "step": validation.best_step}
    return model, validation


def processes() -> int:
    """Return how many processes train together, under `accelerate launch` or torchrun."""
    return int(os.environ.get("WORLD_SIZE", "1"))


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
        precision: auto, fp32 or bf16, see `rerank.model.encoder.resolve_precision`.

    Raises:
        UserError: when the processes cannot share a step equally.
    """
    if rows_per_step % processes():
        raise UserError(
            f"params.yaml: batch_size makes steps of {rows_per_step} rows, which {processes()} processes cannot share "
            "equally: set it to a multiple"
        )
    device = model.device.type
    return {
        "per_device_train_batch_size": rows_per_step,
        "accelerator_config": {"split_batches": True},
        "dataloader_drop_last": processes() > 1,
        "learning_rate_mapping": {f"^model\\.{re.escape(name)}$": head_lr for name in head},
        "use_cpu": device == "cpu",
        "bf16": resolve_precision(precision, device) == "bf16",
        "seed": seed,
        "data_seed": seed,
        "eval_on_start": True,
        "logging_first_step": True,
        "save_strategy": "no",
        "report_to": "none",
    }
