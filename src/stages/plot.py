"""Turn the scores of the test pairs, the test metrics and any training log into pictures and points.

A PNG for each question that a reader of a pull request has, and beside it the points as CSV, so that `dvc plots diff`
overlays two commits. Nothing is scored again and torch is not imported: scores of every system are in one table.
"""

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib.style
import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.figure import Figure
from sklearn.metrics import precision_recall_curve, roc_curve

from rerank.errors import UserError, run
from rerank.files import replacing
from rerank.measure import figures
from rerank.measure.figures import CHANCE, FINE_TUNED
from rerank.measure.metrics import per_user

NOT_SYSTEMS = ("user_id", "book_id", "label", "favourites")
MAX_POINTS = 200  # of a curve: the CSV files are in Git
SCORE_BINS = 40
FAVOURITE_BINS = 5
DECIMALS = 5


def systems_of(scores: pd.DataFrame) -> list[str]:
    """Return the names of the systems whose scores the table has, in its order."""
    return [name for name in scores.columns if name not in NOT_SYSTEMS]


def thinned(points: pd.DataFrame, progress: npt.NDArray[np.floating]) -> pd.DataFrame:
    """Keep at most `MAX_POINTS` rows, first and last among them, at even steps of the ascending ``progress``."""
    if len(points) <= MAX_POINTS:
        return points
    kept = np.searchsorted(progress, np.linspace(progress[0], progress[-1], MAX_POINTS))
    kept[0], kept[-1] = 0, len(points) - 1
    return points.iloc[np.unique(kept)]


def ndcg_points(metrics: dict[str, Any]) -> pd.DataFrame:
    """Return system, ndcg@10, low, high from metrics/test.json."""
    measured = {system: values["ndcg@10"] for system, values in metrics["systems"].items()}
    return pd.DataFrame(
        [(system, value["mean"], value["low"], value["high"]) for system, value in measured.items()],
        columns=["system", "ndcg@10", "low", "high"],
    )


def roc_points(scores: pd.DataFrame) -> pd.DataFrame:
    """Return system, false_positive_rate, true_positive_rate, pooled over all pairs."""
    curves = []
    for system in systems_of(scores):
        false, true, _ = roc_curve(scores["label"] > 0, scores[system])
        curve = pd.DataFrame({"system": system, "false_positive_rate": false, "true_positive_rate": true})
        curves.append(thinned(curve, false + true))
    return pd.concat(curves, ignore_index=True)


def precision_recall_points(scores: pd.DataFrame) -> pd.DataFrame:
    """Return system, recall, precision, pooled over all pairs, by rising recall.

    Without the point (0, 1) that scikit-learn adds, which no threshold gives, and from recall 0.01 on: the few pairs
    above say nothing.
    """
    curves = []
    for system in systems_of(scores):
        precision, recall, _ = precision_recall_curve(scores["label"] > 0, scores[system])
        curve = pd.DataFrame({"system": system, "recall": recall, "precision": precision})[-2::-1]
        curve = curve[curve["recall"] >= 0.01]
        curves.append(thinned(curve, curve["recall"].to_numpy()))
    return pd.concat(curves, ignore_index=True)


def score_points(scores: pd.DataFrame) -> pd.DataFrame:
    """Return system, score (middle of a bin), positives, negatives (shares of the pairs with that label).

    The outermost 1 % of a system's scores are left out; counts get bins of whole numbers.
    """
    positive = scores["label"].to_numpy() > 0
    tables = []
    for system in systems_of(scores):
        score = scores[system].to_numpy(dtype=np.float64)
        low, high = np.quantile(score, [0.005, 0.995])
        edges = np.linspace(low, high, SCORE_BINS + 1)
        if np.all(score == np.round(score)):
            edges = np.arange(low - 0.5, high + 1, np.ceil((high - low + 1) / SCORE_BINS))
        shares = {
            name: np.histogram(score[chosen], edges)[0] / max(1, chosen.sum())
            for name, chosen in (("positives", positive), ("negatives", ~positive))
        }
        tables.append(pd.DataFrame({"system": system, "score": (edges[:-1] + edges[1:]) / 2, **shares}))
    return pd.concat(tables, ignore_index=True)


def gain_points(differences: pd.Series) -> pd.DataFrame:
    """Return users_percent (0 to 100) and gain, ascending, from the difference of each user."""
    gain = np.sort(differences.to_numpy())
    percent = 100 * (np.arange(len(gain)) + 0.5) / len(gain)
    return thinned(pd.DataFrame({"users_percent": percent, "gain": gain}), percent)


def favourite_points(measured: dict[str, pd.Series], favourites: pd.Series) -> pd.DataFrame:
    """Group users into up to `FAVOURITE_BINS` bins of similar size by their number of favourites.

    Args:
        measured: system → nDCG@10 of each user, indexed by user_id.
        favourites: number of favourites that the context of each of these users names, indexed by user_id.

    Returns:
        system, favourites (mean of the bin), bin (its range), users, ndcg@10 (mean), low, high: the 95 % interval of
        the mean under the normal approximation, mean ± 1.96 standard errors, within 0..1.
    """
    codes = pd.qcut(favourites, FAVOURITE_BINS, labels=False, duplicates="drop").fillna(0)
    tables = []
    for system, values in measured.items():
        users = pd.DataFrame({"favourites": favourites, "ndcg@10": values}).dropna()
        bins = users.groupby(codes.loc[users.index])
        mean, error = bins["ndcg@10"].mean(), bins["ndcg@10"].sem().fillna(0)
        lowest, highest = bins["favourites"].min(), bins["favourites"].max()
        names = [f"{low}" if low == high else f"{low} to {high}" for low, high in zip(lowest, highest, strict=True)]
        table = {
            "system": system,
            "favourites": bins["favourites"].mean(),
            "bin": names,
            "users": bins.size(),
            "ndcg@10": mean,
            "low": (mean - 1.96 * error).clip(0, 1),
            "high": (mean + 1.96 * error).clip(0, 1),
        }
        tables.append(pd.DataFrame(table))
    return pd.concat(tables, ignore_index=True)


def plot(scores: pd.DataFrame, *, metrics: dict[str, Any]) -> tuple[dict[str, Figure], dict[str, pd.DataFrame]]:
    """Return the pictures and the points behind them, by file name without ending.

    Args:
        scores: user_id, book_id, label and one column of scores a system, from ``evaluate``; favourites have a picture
            where the table counts them.
        metrics: what ``evaluate`` writes to metrics/test.json.
    """
    comparison = metrics["cross_encoder_vs_best_baseline"]
    baseline = comparison["baseline"]
    area = {system: values["pooled_roc_auc"] for system, values in metrics["systems"].items()}
    average = {system: values["pooled_average_precision"] for system, values in metrics["systems"].items()}
    keys = scores["user_id"], scores["book_id"], scores["label"]
    measured = {
        system: per_user(*keys, scores[system])["ndcg@10"].dropna()
        for system in dict.fromkeys((CHANCE, baseline, FINE_TUNED))
    }
    differences = measured[FINE_TUNED] - measured[baseline]
    distributions = score_points(scores)
    points = {
        "ndcg": ndcg_points(metrics),
        "roc": roc_points(scores),
        "precision_recall": precision_recall_points(scores),
        "score_distribution": distributions[distributions["system"] == FINE_TUNED].drop(columns="system"),
        "gain": gain_points(differences),
    }
    share = float((scores["label"] > 0).mean())
    pictures = {
        "ndcg": figures.ndcg(points["ndcg"], comparison=comparison),
        "roc": figures.roc(points["roc"], area=area, baseline=baseline),
        "precision_recall": figures.precision_recall(
            points["precision_recall"], average=average, positive_share=share, baseline=baseline
        ),
        "score_distribution": figures.score_distributions(distributions, area=area),
        "gain": figures.gain(points["gain"], differences=differences, baseline=baseline),
    }
    if "favourites" in scores:
        favourites = scores.groupby("user_id")["favourites"].first().loc[differences.index]
        points["favourites"] = favourite_points(measured, favourites)
        pictures["favourites"] = figures.favourites(points["favourites"], baseline=baseline)
    return pictures, points


def training_picture(training: Path) -> Figure:
    """Draw the curves that ``train`` wrote to the folder ``training``; its file of validation names the metric.

    Raises:
        UserError: when a curve is missing, or there are several of validation.
    """
    loss, folder = training / "plots/metrics/train/loss.tsv", training / "plots/metrics/validation"
    validation = sorted(folder.glob("*.tsv"))
    if not loss.is_file() or len(validation) != 1:
        raise UserError(f"{training}: needs {loss} and one .tsv file in {folder}: run `dvc repro --force train`")
    curves = (pd.read_csv(path, sep="\t") for path in (loss, validation[0]))
    return figures.training(*curves, metric=validation[0].stem)


def main(scores: Path, metrics: Path, plots: Path, training: Path | None = None) -> None:
    """Read what ``evaluate`` wrote, and ``train`` where a model was trained; write the folder ``plots``."""
    for path in (scores, metrics):
        if not path.is_file():
            raise UserError(f"{path}: no such file: run `dvc repro`, or `dvc pull` to fetch an earlier result")
    with matplotlib.style.context(["default", figures.STYLE]):
        pictures, points = plot(pd.read_parquet(scores), metrics=json.loads(metrics.read_text(encoding="utf-8")))
        if training is not None:
            pictures["training"] = training_picture(training)
        with replacing(plots) as partial:
            partial.mkdir()
            for name, picture in pictures.items():
                figures.save(picture, partial / f"{name}.png")
            for name, table in points.items():
                table.round(DECIMALS).to_csv(partial / f"{name}.csv", index=False, lineterminator="\n")


if __name__ == "__main__":
    run(main, *map(Path, sys.argv[1:]))
