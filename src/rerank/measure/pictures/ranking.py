"""The pictures of systems that rank candidate lists."""

from typing import Any

import pandas as pd

from rerank.measure.metrics import by_chance, per_user
from rerank.measure.pictures import lists, pooled
from rerank.measure.pictures.drawing import Pictures, Points, interval_points, intervals, verdict
from rerank.measure.ranking import HEADINGS, MAIN
from rerank.measure.scores import KEYS, scores_of
from rerank.systems.registry import CHANCE, FINE_TUNED


def draw(
    validation: pd.DataFrame | None,
    test: pd.DataFrame,
    *,
    evaluation: dict[str, Any],
    favourites: pd.Series | None = None,
) -> tuple[Pictures, Points]:
    """Return the pictures and the points behind them, by file name without ending.

    Args:
        validation: not used: nothing is chosen on it.
        test: a score table, see `rerank.measure.scores`.
        evaluation: what `rerank.measure.ranking.evaluate` measured on it.
        favourites: how many the context of each user names, indexed by user_id; None: no picture of them.
    """
    baseline = evaluation["comparison"]["baseline"]
    area, average = (
        {system: values[metric] for system, values in evaluation["pooled"].items()}
        for metric in ("roc_auc", "average_precision")
    )
    users, books, labels = (test[key] for key in KEYS)
    measured = {CHANCE: by_chance(users, books, labels)[MAIN].dropna()}
    for system in (baseline, FINE_TUNED):
        measured[system] = per_user(users, books, labels, scores_of(test, system))[MAIN].dropna()
    differences = measured[FINE_TUNED] - measured[baseline]
    points = {
        "ndcg": interval_points(evaluation, MAIN),
        "roc": pooled.roc_points(test),
        "precision_recall": pooled.precision_recall_points(test),
        "score_distribution": pooled.score_points(test, FINE_TUNED),
        "gain": lists.gain_points(differences),
    }
    pictures = {
        "ndcg": intervals(
            points["ndcg"],
            verdict(evaluation["comparison"], verb="ranks"),
            f"{HEADINGS[MAIN]}: mean over lists with its 95 % interval (higher is better)",
            from_zero=True,
        ),
        "roc": pooled.roc(points["roc"], area=area),
        "precision_recall": pooled.precision_recall(points["precision_recall"], average=average),
        "score_distribution": pooled.score_distributions(test, area=area),
        "gain": lists.gain(points["gain"], differences=differences, baseline=baseline),
    }
    if favourites is not None:
        points["favourites"] = lists.favourite_points(measured, favourites.loc[differences.index])
        pictures["favourites"] = lists.favourites(points["favourites"])
    return pictures, points
