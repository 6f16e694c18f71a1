"""The pictures of a test run, one function each: frames of points in, a matplotlib figure out.

Every system has one colour and one name in all of them (Okabe and Ito's palette, which colour-blind readers can tell
apart), and every title says what was found, so that a picture can be read without the text around it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

FINE_TUNED = "cross_encoder"
CHANCE = "chance"
NAMES = {
    "chance": "chance",
    "popularity": "popularity",
    "bm25": "BM25",
    "bi_encoder": "bi-encoder",
    "bi_encoder_cosine": "bi-encoder, cosine loss",
    "bi_encoder_contrastive": "bi-encoder, contrastive loss",
    "bi_encoder_ranking": "bi-encoder, ranking loss",
    "untuned_cross_encoder": "untuned cross-encoder",
    "cross_encoder": "cross-encoder",
}
COLOURS = {
    "chance": "#8c8c8c",
    "popularity": "#E69F00",
    "bm25": "#CC79A7",
    "bi_encoder": "#009E73",
    "bi_encoder_cosine": "#CC79A7",
    "bi_encoder_contrastive": "#E69F00",
    "bi_encoder_ranking": "#D55E00",
    "untuned_cross_encoder": "#56B4E9",
    "cross_encoder": "#0072B2",
}
OTHER_SYSTEM = "#000000"
WORSE = "#D55E00"
VALIDATION_NAMES = {"ndcg@10": "nDCG@10", "spearman": "Spearman correlation", "average_precision": "average precision"}
STYLE: dict[str, Any] = {
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 10,
    "figure.dpi": 120,
    "figure.figsize": (8, 4.5),
    "figure.titlesize": 11,
    "grid.alpha": 0.3,
    "legend.frameon": False,
}


def name(system: str) -> str:
    """Return what the pictures call a system: its own name when it has no other."""
    return NAMES.get(system, system)


def colour(system: str) -> str:
    """Return the colour of a system in every picture; those that have none share one."""
    return COLOURS.get(system, OTHER_SYSTEM)


def save(figure: Figure, path: Path) -> None:
    """Write a PNG whose bytes depend on the figure alone: no date and no version in it."""
    figure.savefig(path, format="png", metadata={"Software": None})


def titled(title: str, *, size: tuple[float, float] | None = None) -> Figure:
    """Return an empty figure with its title at the left."""
    figure = Figure(layout="constrained", figsize=size)
    figure.suptitle(title, x=0.01, horizontalalignment="left")
    return figure


def _axes(title: str, x: str, y: str) -> tuple[Figure, Axes]:
    figure = titled(title)
    return figure, figure.add_subplot(xlabel=x, ylabel=y)


def _legend_beside(axes: Axes, title: str | None = None) -> None:
    axes.legend(title=title, loc="upper left", bbox_to_anchor=(1.01, 1), reverse=True, alignment="left")


def _line(axes: Axes, system: str, x: pd.Series, y: pd.Series, label: str) -> None:
    width, order = (2.4, 3) if system == FINE_TUNED else (1.4, 2)
    axes.plot(x, y, label=label, color=colour(system), linewidth=width, zorder=order)


def finding(verb: str, baseline: str, difference: float, interval: Mapping[str, float]) -> str:
    """Return a title: what the interval, low to high, of the cross-encoder's difference to ``baseline`` says."""
    low, high = interval["low"], interval["high"]
    verdict = f"{verb} better than" if low > 0 else f"{verb} worse than" if high < 0 else "cannot be told apart from"
    return (
        f"The cross-encoder {verdict} the best baseline, {name(baseline)}\n"
        f"difference {difference:+.3f}, 95 % interval {low:+.3f} to {high:+.3f}"
    )


def ndcg(points: pd.DataFrame, *, comparison: dict[str, Any]) -> Figure:
    """Draw one dot and one 95 % interval a system.

    Args:
        points: system, ndcg@10, low, high.
        comparison: ``cross_encoder_vs_best_baseline`` of metrics/test.json.
    """
    difference = comparison["ndcg@10_difference"]
    return intervals(
        points,
        finding("ranks", comparison["baseline"], difference["mean"], difference),
        "nDCG@10: mean over lists with its 95 % interval (higher is better)",
        left=0,
    )


def intervals(points: pd.DataFrame, title: str, x: str, *, left: float) -> Figure:
    """Draw one dot and one 95 % interval a system, and a dashed line where chance lies.

    Args:
        points: system, the value, low, high; the first row is drawn lowest.
        x: what the values are.
        left: where the axis begins.
    """
    figure, axes = _axes(title, x, "")
    for row, (system, value, low, high) in enumerate(points.itertuples(index=False)):
        axes.plot([low, high], [row, row], color=colour(system), linewidth=3, solid_capstyle="butt")
        axes.plot(value, row, "o", color=colour(system), markersize=9)
        axes.annotate(
            f"{value:.3f}", (high, row), xytext=(6, 0), textcoords="offset points", va="center", fontweight="bold"
        )
        if system == CHANCE:
            axes.axvline(value, color=COLOURS[CHANCE], linestyle="--", linewidth=1, zorder=1)
    axes.set_yticks(range(len(points)), [name(system) for system in points["system"]])
    axes.set_ylim(-0.6, len(points) - 0.4)
    right = points["high"].max()
    axes.set_xlim(left, right + 0.12 * (right - left))
    axes.grid(axis="y", visible=False)
    return figure


def roc(points: pd.DataFrame, *, area: dict[str, float], baseline: str) -> Figure:
    """Draw the ROC curves.

    Args:
        points: system, false_positive_rate, true_positive_rate.
        area: system → area under its curve.
        baseline: the best baseline by nDCG@10, for the title.
    """
    figure, axes = _axes(
        f"A positive outscores a negative in {100 * area[FINE_TUNED]:.1f} % of cases by the cross-encoder, "
        f"in {100 * area[baseline]:.1f} % by {name(baseline)}\n"
        "ROC, pooled over all pairs (nearer the top left is better)",
        "false positive rate: share of negatives above the threshold",
        "true positive rate: share of positives above it",
    )
    for system, curve in points.groupby("system", sort=False):
        label = f"{name(system)}: {area[system]:.3f}"
        _line(axes, system, curve["false_positive_rate"], curve["true_positive_rate"], label)
    axes.plot([0, 1], [0, 1], color=COLOURS[CHANCE], linestyle="--", linewidth=1)
    axes.set(xlim=(0, 1), ylim=(0, 1.01))
    _legend_beside(axes, "area under the curve")
    return figure


def precision_recall(
    points: pd.DataFrame, *, average: dict[str, float], positive_share: float, baseline: str
) -> Figure:
    """Draw the precision-recall curves and the precision of guessing.

    Args:
        points: system, recall, precision.
        average: system → average precision.
        positive_share: share of positives among the pairs, 0 to 1.
        baseline: the best baseline by nDCG@10, for the title.
    """
    figure, axes = _axes(
        f"Average precision is {average[FINE_TUNED]:.3f} by the cross-encoder, {average[baseline]:.3f} by "
        f"{name(baseline)}, {positive_share:.3f} by guessing\n"
        "Precision and recall, pooled over all pairs (higher is better)",
        "recall: share of positives above the threshold",
        "precision: share of positives among those above it",
    )
    for system, curve in points.groupby("system", sort=False):
        _line(axes, system, curve["recall"], curve["precision"], f"{name(system)}: {average[system]:.3f}")
    axes.axhline(
        positive_share,
        color=COLOURS[CHANCE],
        linestyle="--",
        linewidth=1,
        label=f"share of positives: {positive_share:.3f}",
    )
    axes.set(xlim=(0, 1), ylim=(0, 1.01))
    _legend_beside(axes, "average precision")
    return figure


def score_distributions(points: pd.DataFrame, *, area: dict[str, float]) -> Figure:
    """Draw the scores of positives and of negatives, one panel a system.

    Args:
        points: system, score (middle of a bin), positives, negatives (shares of the pairs with that label).
        area: system → pooled ROC AUC.
    """
    systems = list(points["system"].unique())[::-1]
    columns = min(3, len(systems))
    rows = -(-len(systems) // columns)
    figure = titled(
        "Scores of positives (filled) and negatives (line): the less they overlap, the better",
        size=(9, 0.6 + 2.5 * rows),
    )
    for number, system in enumerate(systems, start=1):
        bins = points[points["system"] == system]
        axes = figure.add_subplot(rows, columns, number)
        axes.fill_between(bins["score"], 100 * bins["positives"], step="mid", color=colour(system), alpha=0.65)
        axes.step(bins["score"], 100 * bins["negatives"], where="mid", color="#333333", linewidth=1.2)
        axes.set_ylim(bottom=0)
        axes.set_title(f"{name(system)}: AUC {area[system]:.3f}")
        axes.set_xlabel("raw score")
        axes.set_ylabel("% of pairs of the label" if number % columns == 1 or columns == 1 else "")
    return figure


def gain(points: pd.DataFrame, *, differences: pd.Series, baseline: str) -> Figure:
    """Draw the gain on each candidate list (of a user, or a query), sorted.

    Args:
        points: users_percent (share of lists so far, 0 to 100), gain (nDCG@10 minus that of the baseline), ascending.
        differences: the gain on each list.
        baseline: the best baseline.
    """
    better, equal, worse = (100 * (np.sign(differences) == sign).mean() for sign in (1, 0, -1))
    figure, axes = _axes(
        f"Cross-encoder against {name(baseline)}: better on {better:.0f} % of the lists, equal on {equal:.0f} %, "
        f"worse on {worse:.0f} %\nmean gain {differences.mean():+.3f} (above 0 is better)",
        "lists, sorted by gain (%)",
        f"nDCG@10 minus that of {name(baseline)}",
    )
    x, y = points["users_percent"], points["gain"]
    axes.fill_between(x, y, where=y >= 0, step="mid", color=COLOURS[FINE_TUNED], alpha=0.5)
    axes.fill_between(x, y, where=y <= 0, step="mid", color=WORSE, alpha=0.5)
    axes.step(x, y, where="mid", color="#333333", linewidth=1)
    axes.axhline(0, color="#333333", linewidth=0.8)
    axes.set(xlim=(0, 100))
    return figure


def training(loss: pd.DataFrame, validation: pd.DataFrame, *, metric: str) -> Figure:
    """Draw training loss and validation over the steps.

    Args:
        loss: step, loss.
        validation: step and a column ``metric``; not empty.
        metric: what was measured, as `validation_metric` in params.yaml names it; higher is better.
    """
    best = validation.loc[validation[metric].idxmax()]
    shown = VALIDATION_NAMES.get(metric, metric)
    figure = titled(
        f"Validation {shown} is best at step {best['step']:.0f}: {best[metric]:.3f}, from "
        f"{validation[metric].iloc[0]:.3f} at step {validation['step'].iloc[0]:.0f}",
        size=(8, 5),
    )
    upper, lower = figure.subplots(2, 1, sharex=True)
    upper.plot(validation["step"], validation[metric], "o-", color=COLOURS[FINE_TUNED], markersize=4)
    upper.plot(best["step"], best[metric], "o", color=WORSE, markersize=9, label="best")
    upper.set_ylabel(f"validation {shown}\n(higher is better)")
    upper.legend(loc="lower right")
    lower.plot(loss["step"], loss["loss"], color=COLOURS[CHANCE], linewidth=0.8, alpha=0.7, label="as logged")
    window = max(3, len(loss) // 20)
    smooth = loss["loss"].rolling(window, min_periods=1).mean()
    lower.plot(loss["step"], smooth, color=COLOURS[FINE_TUNED], linewidth=2, label=f"mean of the last {window}")
    lower.set_ylabel("training loss\n(lower is better)")
    lower.set_xlabel("optimizer steps")
    lower.legend(loc="upper right")
    return figure


def favourites(points: pd.DataFrame, *, baseline: str) -> Figure:
    """Draw nDCG@10 by the number of favourites that the context names.

    Args:
        points: system, favourites (mean of the bin), bin (its range), users, ndcg@10, low, high; the cross-encoder,
            ``baseline`` and chance have the same bins in the same order.
        baseline: the best baseline.
    """
    by_system = points.set_index(["system", "bin"])["ndcg@10"]
    gains = by_system[FINE_TUNED] - by_system[baseline]
    span = f"{gains.min():+.3f} ({gains.idxmin()} favourites) to {gains.max():+.3f} ({gains.idxmax()} favourites)"
    figure, axes = _axes(
        f"Gain over {name(baseline)} by known favourites: {span if len(gains) > 1 else f'{gains.iloc[0]:+.3f}'}\n"
        "means over users with 95 % intervals (higher is better)",
        "favourites that the user's context names",
        "nDCG@10",
    )
    curves = list(points.groupby("system", sort=False))
    for shift, (system, curve) in zip(np.linspace(-0.07, 0.07, len(curves)), curves, strict=True):
        x, y = np.arange(len(curve)) + shift, curve["ndcg@10"]
        _line(axes, system, x, y, name(system))
        axes.errorbar(x, y, (y - curve["low"], curve["high"] - y), fmt="o", color=colour(system), capsize=3)
    bins = points.drop_duplicates("bin")
    axes.set_xticks(range(len(bins)), [f"{row.bin}\n{row.users} users" for row in bins.itertuples()])
    axes.set(xlim=(-0.5, len(bins) - 0.5))
    axes.set_ylim(bottom=0)
    _legend_beside(axes)
    return figure
