"""Measure scoring and training against sentence-transformers as it comes: same model, pairs, steps and batches.

    python benchmarks/models.py                                      # small sizes, five minutes on two cores
    python benchmarks/models.py --pairs 3056 --steps 108 --repeats 1 # the whole test set, the whole epoch

Both sides take turns in one process, on the pairs of data/split (`dvc repro` makes them). Fails when the scores differ
by more than bf16 may, when the losses differ, or when the trained model ranks the validation lists worse.
"""

import argparse
import importlib.util
import platform
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from sentence_transformers import CrossEncoder, CrossEncoderTrainer, CrossEncoderTrainingArguments
from torch import nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from rerank.measure.metrics import per_user
from rerank.model.encoder import build, head_parameters
from rerank.model.engines import ENGINES
from rerank.model.fine_tuning import train
from rerank.model.losses import LOSSES
from rerank.model.ranker import load
from rerank.model.scores import resolve_precision, score
from rerank.model.training import LOSS, WEIGHT_DECAY, make_deterministic, some_users

# Of the scores in bf16 with those in fp32; nDCG@10 of a few lists is too coarse for it, and a test holds that of all.
LEAST_CORRELATION = 0.9995
# What two trainings that only round differently may differ by: in their losses, and on so few validation lists.
LOSS_TOLERANCE = 0.1
QUALITY_TOLERANCE = 0.05
TRAINING: dict[str, Any] = {
    "seed": 42,
    "max_grade": 1,
    "lr": 2e-4,
    "head_lr": 1e-3,
    "batch_size": 36,
    "warmup": 0.1,
    "dropout": 0.0,
    "max_length": 64,
    "loss": "lambda",
    "symmetric": False,
    "validation_metric": "ndcg@10",
    "precision": "auto",
    "patience": 99,
}


def in_turns(sides: dict[str, Callable[[], Any]], repeats: int) -> tuple[dict[str, float], dict[str, Any]]:
    """Return each side's median seconds and its last result; the sides take turns, so that noise meets both."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    results = {}
    for _ in range(repeats):
        for name, side in sides.items():
            start = time.perf_counter()
            results[name] = side()
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}, results


def ndcg(pairs: pd.DataFrame, scores: np.ndarray) -> float:
    return float(per_user(pairs["user_id"], pairs["book_id"], pairs["label"], scores)["ndcg@10"].mean())


def measure_scoring(folder: Path, pairs: pd.DataFrame, *, repeats: int) -> list[str]:
    """Return rows of the table; exits when an engine's scores are others."""
    contexts, texts = pairs["user_ctx"].tolist(), pairs["book_text"].tolist()
    as_it_comes = list(zip(contexts, texts, strict=True))
    stock = CrossEncoder(str(folder), local_files_only=True)
    device = stock.device.type
    engines = [
        name
        for name, engine in ENGINES.items()
        if importlib.util.find_spec(name) and engine.device in (None, device)  # each is called as what it needs
    ]
    ours = {engine: load(folder, engine=engine, progress=False) for engine in engines}
    sides: dict[str, Callable[[], Any]] = {
        "stock": lambda: stock.predict(as_it_comes, activation_fn=nn.Identity(), show_progress_bar=False),
        **{engine: partial(ranker.score, contexts, texts) for engine, ranker in ours.items()},
    }
    seconds, scores = in_turns(sides, repeats)
    rates = {name: len(pairs) / value for name, value in seconds.items()}
    lines = []
    for engine in engines:
        correlation = float(np.corrcoef(scores[engine], scores["stock"])[0, 1])
        if correlation < LEAST_CORRELATION:
            sys.exit(f"error: {engine}: its scores and those of the other side have a correlation of {correlation:.5f}")
        difference = abs(ndcg(pairs, scores[engine]) - ndcg(pairs, scores["stock"]))
        lines.append(
            f"| scoring {len(pairs):,} pairs on {device} by {engine}, "
            f"{resolve_precision(ours[engine].how.precision, device)} | "
            f"`CrossEncoder.predict` | {rates['stock']:.0f} → {rates[engine]:.0f} pairs/s | "
            f"{rates[engine] / rates['stock']:.1f} × | nDCG@10 differs by {difference:.4f} |"
        )
    return lines


class Clock(TrainerCallback):
    """Remember each loss and when it was logged: training is timed between the first step and the last."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.losses: list[float] = []
        self.steps: list[int] = []

    def tick(self, name: str, value: float, step: int) -> None:
        if name == LOSS:
            self.times.append(time.perf_counter())
            self.losses.append(value)
            self.steps.append(step)

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if "loss" in kwargs["logs"]:
            self.tick(LOSS, float(kwargs["logs"]["loss"]), state.global_step)

    def seconds(self) -> float:
        return self.times[-1] - self.times[0]


def train_stock(base: Path, pairs: pd.DataFrame, clock: Clock, *, log_every: int) -> CrossEncoder:
    """Train once over the pairs as sentence-transformers comes: the same model, loss, steps, batches and rates."""
    make_deterministic(TRAINING["seed"])
    model = build(base, max_length=TRAINING["max_length"], dropout=0.0, seed=TRAINING["seed"])
    transformer: Any = model[0]
    transformer.model.set_attn_implementation("sdpa")
    chosen = LOSSES[TRAINING["loss"]]
    data = chosen.rows(pairs, max_grade=1, symmetric=False)
    rows, sampler = chosen.steps(data, TRAINING["batch_size"])
    with tempfile.TemporaryDirectory() as folder:
        args = CrossEncoderTrainingArguments(
            output_dir=folder,
            num_train_epochs=1,
            per_device_train_batch_size=rows,
            batch_sampler=sampler,
            learning_rate=TRAINING["lr"],
            learning_rate_mapping={
                f"^model\\.{re.escape(name)}$": TRAINING["head_lr"] for name in head_parameters(model)
            },
            warmup_steps=TRAINING["warmup"],
            weight_decay=WEIGHT_DECAY,
            seed=TRAINING["seed"],
            data_seed=TRAINING["seed"],
            logging_steps=log_every,
            logging_first_step=True,
            save_strategy="no",
            report_to="none",
        )
        loss = chosen.make(model, 0.0)
        CrossEncoderTrainer(model=model, args=args, train_dataset=data, loss=loss, callbacks=[clock]).train()
    return model


def measure_training(base: Path, pairs: pd.DataFrame, validation: pd.DataFrame, *, steps: int, repeats: int) -> str:
    """Return the row of the table; exits when our model ranks the validation lists worse."""
    chosen = LOSSES[TRAINING["loss"]]
    rows, _ = chosen.steps(chosen.rows(pairs, max_grade=1, symmetric=False), TRAINING["batch_size"])
    lists = pairs[pairs["user_id"].isin(pairs["user_id"].drop_duplicates().head(steps * rows))]
    data = chosen.rows(lists, max_grade=1, symmetric=False)
    rows, sampler = chosen.steps(data, TRAINING["batch_size"])
    steps = len(sampler(data, batch_size=rows, drop_last=False))
    seconds: dict[str, list[float]] = {"stock": [], "ours": []}
    quality: dict[str, float] = {}
    for _ in range(repeats):
        clocks = {name: Clock() for name in seconds}
        models = {
            "stock": train_stock(base, lists, clocks["stock"], log_every=max(1, steps // 5)),
            "ours": train(
                lists, validation, base=base, epochs=1, eval_every=steps, record=clocks["ours"].tick, **TRAINING
            )[0],
        }
        for name, model in models.items():
            seconds[name].append(clocks[name].seconds())
            contexts, texts = validation["user_ctx"].tolist(), validation["book_text"].tolist()
            quality[name] = ndcg(validation, score(model, contexts, texts, precision="fp32", progress=False))
    if not np.allclose(clocks["ours"].losses, clocks["stock"].losses, rtol=LOSS_TOLERANCE):
        sys.exit(f"error: the losses differ: {clocks['stock'].losses} and {clocks['ours'].losses}")
    if quality["ours"] < quality["stock"] - QUALITY_TOLERANCE:
        sys.exit(f"error: validation nDCG@10 fell from {quality['stock']:.3f} to {quality['ours']:.3f}")
    trained = len(lists) * (clocks["ours"].steps[-1] - 1) / steps
    rates = {name: trained / statistics.median(values) for name, values in seconds.items()}
    return (
        f"| training, {steps} steps of {TRAINING['batch_size']} pairs | `CrossEncoderTrainer` | {rates['stock']:.0f} → "
        f"{rates['ours']:.0f} pairs/s | {rates['ours'] / rates['stock']:.1f} × | "
        f"nDCG@10 {quality['stock']:.3f} → {quality['ours']:.3f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--split", type=Path, default=Path("data/split"))
    parser.add_argument("--base", type=Path, default=Path("models/base"))
    parser.add_argument("--model", type=Path, default=Path("models/cross-encoder"))
    parser.add_argument("--pairs", type=int, default=600, help="test pairs to score")
    parser.add_argument("--steps", type=int, default=20, help="training steps of 36 pairs")
    parser.add_argument("--repeats", type=int, default=3, help="the median of so many is reported")
    given = parser.parse_args()
    for folder in (given.split, given.base, given.model):
        if not folder.exists():
            sys.exit(f"error: {folder} is missing: run `dvc repro` first")
    train_pairs, validation, test = (
        pd.read_parquet(given.split / f"{name}.parquet") for name in ("train", "validation", "test")
    )
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.processor() or platform.machine()
    print(f"{device}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    for line in measure_scoring(given.model, test.head(given.pairs), repeats=given.repeats):
        print(line)
    lists = some_users(validation, 20, seed=TRAINING["seed"])
    print(measure_training(given.base, train_pairs, lists, steps=given.steps, repeats=given.repeats))


if __name__ == "__main__":
    main()
