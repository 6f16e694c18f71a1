"""Pictures of all pairs pooled, whoever's they are: ROC, precision and recall, and the scores themselves.

They show what a threshold would do. Which system ranks better is another question, that of the lists.
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.figure import Figure
from sklearn.metrics import precision_recall_curve, roc_curve

from rerank.measure.pictures.drawing import INK, colour, coloured, label, legend_beside, line, one_panel, titled
from rerank.measure.scores import scores_of, systems_of
from rerank.systems.registry import CHANCE, FINE_TUNED

MAX_POINTS = 20  # of a curve: the CSV files are in Git
SCORE_BINS = 40


def thinned(points: pd.DataFrame, progress: npt.NDArray[np.floating]) -> pd.DataFrame:
    """Keep at most `MAX_POINTS` rows, first and last among them, at even steps of the ascending ``progress``."""
    if len(points) <= MAX_POINTS:
        return points
    kept = np.searchsorted(progress, np.linspace(progress[0], progress[-1], MAX_POINTS))
    kept[0], kept[-1] = 0, len(points) - 1
    return points.iloc[np.unique(kept)]


def roc_points(scores: pd.DataFrame) -> pd.DataFrame:
    """Return system, colour, false_positive_rate, true_positive_rate; chance is the diagonal."""
    curves = [pd.DataFrame({"system": CHANCE, "false_positive_rate": [0.0, 1.0], "true_positive_rate": [0.0, 1.0]})]
    for system in systems_of(scores):
        false, true, _ = roc_curve(scores["label"] > 0, scores_of(scores, system))
        curve = pd.DataFrame({"system": system, "false_positive_rate": false, "true_positive_rate": true})
        curves.append(thinned(curve, false + true))
    return coloured(pd.concat(curves, ignore_index=True))


def precision_recall_points(scores: pd.DataFrame) -> pd.DataFrame:
    """Return system, colour, recall, precision, by rising recall; chance is the share of positives.

    Without the point (0, 1) that scikit-learn adds, which no threshold gives, and from recall 0.01 on: the few pairs
    above say nothing.
    """
    share = float((scores["label"] > 0).mean())
    curves = [pd.DataFrame({"system": CHANCE, "recall": [0.0, 1.0], "precision": share})]
    for system in systems_of(scores):
        precision, recall, _ = precision_recall_curve(scores["label"] > 0, scores_of(scores, system))
        curve = pd.DataFrame({"system": system, "recall": recall, "precision": precision})[-2::-1]
        curve = curve[curve["recall"] >= 0.01]
        curves.append(thinned(curve, curve["recall"].to_numpy()))
    return coloured(pd.concat(curves, ignore_index=True))


def roc(points: pd.DataFrame, *, area: Mapping[str, float]) -> Figure:
    """Draw the ROC curves; ``area`` is system → the area under its own."""
    figure, axes = one_panel(
        "ROC, pooled over all pairs: true against false positives at every threshold\n(nearer the top left is better)",
        "false positive rate: share of negatives above the threshold",
        "true positive rate: share of positives above it",
    )
    for system, curve in points.groupby("system", sort=False):
        words = f"{label(str(system))}: {area.get(str(system), 0.5):.3f}"
        line(axes, str(system), curve["false_positive_rate"], curve["true_positive_rate"], words)
    axes.set(xlim=(0, 1), ylim=(0, 1.01))
    legend_beside(axes, "area under the curve")
    return figure


def precision_recall(points: pd.DataFrame, *, average: Mapping[str, float]) -> Figure:
    """Draw the precision-recall curves; ``average`` is system → its average precision."""
    figure, axes = one_panel(
        "Precision and recall, pooled over all pairs, at every threshold (higher is better)",
        "recall: share of positives above the threshold",
        "precision: share of positives among those above it",
    )
    for system, curve in points.groupby("system", sort=False):
        value = average.get(str(system), curve["precision"].iloc[0])
        line(axes, str(system), curve["recall"], curve["precision"], f"{label(str(system))}: {value:.3f}")
    axes.set(xlim=(0, 1), ylim=(0, 1.01))
    legend_beside(axes, "average precision")
    return figure


def score_points(scores: pd.DataFrame, system: str) -> pd.DataFrame:
    """Return label (positive, negative), score (middle of a bin), share (of that label's pairs), colour.

    The outermost 1 % of the scores are left out; counts get bins of whole numbers.
    """
    positive = scores["label"].to_numpy() > 0
    score = scores_of(scores, system)
    low, high = np.quantile(score, [0.005, 0.995])
    edges = np.linspace(low, high, SCORE_BINS + 1)
    if np.all(score == np.round(score)):
        edges = np.arange(low - 0.5, high + 1, np.ceil((high - low + 1) / SCORE_BINS))
    tables = [
        pd.DataFrame(
            {
                "label": name,
                "score": (edges[:-1] + edges[1:]) / 2,
                "share": np.histogram(score[chosen], edges)[0] / max(1, chosen.sum()),
                "colour": shade,
            }
        )
        for name, chosen, shade in (("positive", positive, colour(system)), ("negative", ~positive, INK))
    ]
    return pd.concat(tables, ignore_index=True)


def score_distributions(scores: pd.DataFrame, *, area: Mapping[str, float]) -> Figure:
    """Draw the scores of positives and of negatives, one panel a system, the fine-tuned one first.

    Args:
        scores: a score table, see `rerank.measure.scores`.
        area: system → pooled ROC AUC.
    """
    systems = sorted(systems_of(scores), key=lambda system: system != FINE_TUNED)
    columns = min(3, len(systems))
    rows = -(-len(systems) // columns)
    figure = titled(
        "Scores of positives (filled) and negatives (line), pooled over all pairs: less overlap is better",
        size=(9, 0.6 + 2.5 * rows),
    )
    for number, system in enumerate(systems, start=1):
        points = score_points(scores, system).pivot(index="score", columns="label", values="share")
        axes = figure.add_subplot(rows, columns, number)
        axes.fill_between(points.index, 100 * points["positive"], step="mid", color=colour(system), alpha=0.65)
        axes.step(points.index, 100 * points["negative"], where="mid", color=INK, linewidth=1.2)
        axes.set_ylim(bottom=0)
        axes.set_title(f"{label(system)}: AUC {area[system]:.3f}")
        axes.set_xlabel("raw score")
        axes.set_ylabel("% of pairs of the label" if number % columns == 1 or columns == 1 else "")
    return figure
