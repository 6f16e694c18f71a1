"""The pictures of systems that rank candidate lists."""

from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from rerank.lists import COLD, warm
from rerank.measure.metrics import by_chance, per_user
from rerank.measure.pictures import lists, pooled
from rerank.measure.pictures.drawing import Pictures, Points, interval_points, intervals, one_panel, verdict
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
    warm_lists = warm(test)
    users, books, labels = (warm_lists[key] for key in KEYS)
    measured = {CHANCE: by_chance(users, books, labels)[MAIN].dropna()}
    for system in (baseline, FINE_TUNED):
        measured[system] = per_user(users, books, labels, scores_of(warm_lists, system))[MAIN].dropna()
    differences = measured[FINE_TUNED] - measured[baseline]
    points = {
        "ndcg": interval_points(evaluation, MAIN),
        "roc": pooled.roc_points(warm_lists),
        "precision_recall": pooled.precision_recall_points(warm_lists),
        "score_distribution": pooled.score_points(warm_lists, FINE_TUNED),
        "gain": lists.gain_points(differences),
    }
    pictures = {
        "ndcg": intervals(
            points["ndcg"],
            verdict(evaluation.get("fusion", evaluation["comparison"]), verb="ranks"),
            f"{HEADINGS[MAIN]}: mean over lists with its 95 % interval (higher is better)",
            from_zero=True,
        ),
        "roc": pooled.roc(points["roc"], area=area),
        "precision_recall": pooled.precision_recall(points["precision_recall"], average=average),
        "score_distribution": pooled.score_distributions(warm_lists, area=area),
        "gain": lists.gain(points["gain"], differences=differences, baseline=baseline),
    }
    if COLD in test:
        points["cold"], pictures["cold"] = _cold(evaluation.get("cold"))
    if favourites is not None:
        points["favourites"] = lists.favourite_points(measured, favourites.loc[differences.index])
        pictures["favourites"] = lists.favourites(points["favourites"])
    return pictures, points


def _cold(measured: dict[str, Any] | None) -> tuple[pd.DataFrame, Figure]:
    """Return the points and the picture of the cold lists; where none could be measured the picture says so."""
    x = f"{HEADINGS[MAIN]} of cold lists: mean with its 95 % interval (higher is better)"
    if measured is None:
        nothing = pd.DataFrame(columns=["system", "colour", MAIN, "low", "high"])
        return nothing, one_panel(
            "No cold list was measured: cold_books_share is 0, or the lists are too short", x, ""
        )[0]
    points = interval_points(measured, MAIN)
    title = "Books of which no reader is known:\n" + verdict(measured["comparison"], verb="ranks")
    return points, intervals(points, title, x, from_zero=True)
