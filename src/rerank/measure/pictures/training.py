"""The picture of a training: loss and validation over its steps."""

from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from rerank.errors import UserError
from rerank.measure.pictures.drawing import MARK, colour, titled
from rerank.systems.registry import CHANCE, FINE_TUNED
from rerank.tasks import TASKS

NAMES = {"ndcg@10": "nDCG@10", "spearman": "Spearman correlation", "average_precision": "average precision"}


def read(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the curves that ``train`` wrote: step and loss, step and value (of validation).

    Raises:
        UserError: when a file or a column is missing, or nothing was measured.
    """
    curves = []
    for name, column in (("loss", "loss"), ("validation", "value")):
        file = folder / f"{name}.csv"
        if not file.is_file():
            raise UserError(f"{file}: no such file: run `dvc repro`, or `dvc pull` to fetch an earlier result")
        curve = pd.read_csv(file)
        for needed in ("step", column):
            if needed not in curve or curve.empty:
                raise UserError(f"{file}: has no column '{needed}' with a value: run `dvc repro --force train`")
        curves.append(curve)
    return curves[0], curves[1]


def training(loss: pd.DataFrame, validation: pd.DataFrame, *, task: str) -> Figure:
    """Draw training loss and validation over the steps.

    Args:
        loss: step, loss.
        validation: step, value; not empty; higher is better.
        task: one of `rerank.tasks.TASKS`, which decides what validation measures.
    """
    best = validation.loc[validation["value"].idxmax()]
    shown = NAMES[TASKS[task].validation_metric]
    figure = titled(
        f"Validation {shown} is best at step {best['step']:.0f}: {best['value']:.3f}, from "
        f"{validation['value'].iloc[0]:.3f} at step {validation['step'].iloc[0]:.0f}",
        size=(8, 5),
    )
    upper, lower = figure.subplots(2, 1, sharex=True)
    upper.plot(validation["step"], validation["value"], "o-", color=colour(FINE_TUNED), markersize=4)
    upper.plot(best["step"], best["value"], "o", color=MARK, markersize=9, label="best")
    upper.set_ylabel(f"validation {shown}\n(higher is better)")
    upper.legend(loc="lower right")
    lower.plot(loss["step"], loss["loss"], color=colour(CHANCE), linewidth=0.8, alpha=0.7, label="as logged")
    window = max(3, len(loss) // 20)
    smooth = loss["loss"].rolling(window, min_periods=1).mean()
    lower.plot(loss["step"], smooth, color=colour(FINE_TUNED), linewidth=2, label=f"mean of the last {window}")
    lower.set_ylabel("training loss\n(lower is better)")
    lower.set_xlabel("optimizer steps")
    lower.legend(loc="upper right")
    return figure
