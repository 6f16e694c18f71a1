"""The points behind the pictures are right and thin, and titles claim no more than was measured."""

import numpy as np
import pandas as pd
import pytest
from score_tables import pairs_of, score_table
from sklearn.metrics import auc, roc_auc_score

from rerank.measure.by_task import MEASURING
from rerank.measure.pictures import by_task, drawing, duplicates, lists, pooled, similarity, training
from rerank.measure.scores import column, systems_of
from rerank.systems.registry import CHANCE, FINE_TUNED, SYSTEMS


@pytest.fixture(scope="module")
def scores() -> pd.DataFrame:
    """Five systems on 40 lists of 50; popularity counts."""
    table = score_table(users=40, candidates=50, positives=5)
    rng = np.random.default_rng(0)
    table["score/popularity"] = rng.poisson(3 + 2 * table["label"]).astype(float)
    return table


def title(figure: drawing.Figure) -> str:
    return figure.get_suptitle()


def test_curves_are_thin_and_keep_their_ends_and_their_area(scores: pd.DataFrame) -> None:
    for system, curve in pooled.roc_points(scores).groupby("system"):
        x, y = curve["false_positive_rate"], curve["true_positive_rate"]
        assert len(curve) <= 40
        assert (x.iloc[0], y.iloc[0], x.iloc[-1], y.iloc[-1]) == (0, 0, 1, 1)
        area = 0.5 if system == CHANCE else roc_auc_score(scores["label"], scores[column(str(system))])
        assert auc(x, y) == pytest.approx(area, abs=0.01)
    for _, curve in pooled.precision_recall_points(scores).groupby("system"):
        assert len(curve) <= 40
        assert curve["recall"].is_monotonic_increasing
        assert curve["recall"].iloc[-1] == 1


def test_chance_is_a_straight_line(scores: pd.DataFrame) -> None:
    roc, recall = pooled.roc_points(scores), pooled.precision_recall_points(scores)
    assert roc.loc[roc["system"] == CHANCE].iloc[:, 2:].to_numpy().tolist() == [[0, 0], [1, 1]]
    assert recall.loc[recall["system"] == CHANCE].iloc[:, 2:].to_numpy().tolist() == [[0, 0.1], [1, 0.1]]


def test_precision_and_recall_of_a_worked_example() -> None:
    pairs = pd.DataFrame({"user_id": "u", "book_id": list("abcd"), "label": [1, 0, 2, 0]})
    points = pooled.precision_recall_points(pairs.assign(**{column("bm25"): [4.0, 3.0, 2.0, 1.0]}))
    found = points.loc[points["system"] == "bm25", ["recall", "precision"]]
    assert found.to_numpy().tolist() == [[0.5, 1.0], [0.5, 0.5], [1.0, 2 / 3], [1.0, 0.5]]


@pytest.mark.parametrize("system", ["popularity", "cross_encoder"])
def test_the_bins_of_the_scores_hold_all_but_the_outermost_pairs(scores: pd.DataFrame, system: str) -> None:
    points = pooled.score_points(scores, system)
    shares = points.groupby("label")["share"].sum()
    assert shares.index.tolist() == ["negative", "positive"] and shares.between(0.9, 1 + 1e-9).all()
    assert points.groupby("label")["colour"].unique().map(list).to_dict() == {
        "positive": [SYSTEMS[system].colour],
        "negative": ["#333333"],
    }


def test_counts_get_bins_of_whole_numbers(scores: pd.DataFrame) -> None:
    points = pooled.score_points(scores, "popularity").query("label == 'positive'")["score"]
    assert (points == points.round()).all() and (points.diff().dropna() == 1).all()


def test_scores_that_are_all_the_same_are_drawn_too(scores: pd.DataFrame) -> None:
    for value in (0.0, 0.5):
        points = pooled.score_points(scores.assign(**{column("popularity"): value}), "popularity")
        assert np.isfinite(points[["score", "share"]]).all(axis=None)


def test_gains_are_sorted_and_cover_the_users() -> None:
    points = lists.gain_points(pd.Series([0.2, -0.1, 0.0, 0.5]))
    assert points["gain"].tolist() == [-0.1, 0.0, 0.2, 0.5]
    assert points["users_percent"].tolist() == [12.5, 37.5, 62.5, 87.5]
    many = lists.gain_points(pd.Series(np.linspace(-1, 1, 5000)))
    assert len(many) <= lists.MAX_POINTS and many["gain"].iloc[[0, -1]].tolist() == [-1, 1]


def test_favourites_are_counted_in_the_contexts() -> None:
    pairs = pd.DataFrame({"user_id": ["b", "a", "a"], "user_ctx": ["x by A, y by B", "none", "none"]})
    assert lists.favourites_of(pairs, " by ").to_dict() == {"a": 0, "b": 2}
    assert lists.favourites_of(pairs, None) is None


def test_every_user_is_in_one_bin_of_favourites() -> None:
    ids = [f"u{user}" for user in range(20)]
    favourites = pd.Series([1] * 10 + list(range(2, 12)), index=ids)
    points = lists.favourite_points({"chance": pd.Series(0.5, index=ids)}, favourites)
    assert points["users"].sum() == 20
    assert points["bin"].tolist() == ["1 to 3", "4 to 7", "8 to 11"]
    assert points["favourites"].is_monotonic_increasing
    assert (points[["ndcg@10", "low", "high"]] == 0.5).all(axis=None)


def test_few_users_have_a_wide_interval_and_one_has_none() -> None:
    few = pd.Series([0.1, 0.2, 0.3, 0.4], index=list("abcd"))
    points = lists.favourite_points({"chance": few}, pd.Series([3, 3, 3, 9], index=few.index))
    assert points[["bin", "users"]].to_numpy().tolist() == [["3", 3], ["9", 1]]
    # Student's t of two degrees of freedom: 4.303 standard errors of 0.1 / sqrt(3).
    assert points["high"].iloc[0] == pytest.approx(0.2 + 4.3027 * 0.1 / 3**0.5, abs=1e-4)
    assert points[["low", "high"]].iloc[1].isna().all()


def evaluation(*, low: float, high: float, p_value: float = 0.01) -> dict:
    difference = {"value": (low + high) / 2, "low": low, "high": high}
    return {"system": FINE_TUNED, "baseline": "bm25", "difference": difference, "p_value": p_value}


@pytest.mark.parametrize(
    ("low", "high", "p_value", "words"),
    [
        (0.1, 0.3, 0.01, "ranks better than the best baseline, BM25"),
        (-0.3, -0.1, 0.01, "ranks worse than"),
        (-0.1, 0.1, 0.01, "cannot be told apart from"),
        (0.1, 0.3, 0.06, "cannot be told apart from"),
        (0.1, 0.3, 0.0001, "p < 0.001"),
    ],
)
def test_a_title_claims_only_what_the_interval_and_the_test_support(
    low: float, high: float, p_value: float, words: str
) -> None:
    assert words in drawing.verdict(evaluation(low=low, high=high, p_value=p_value), verb="ranks")


def test_the_pooled_pictures_say_that_they_are_pooled_and_name_no_winner(scores: pd.DataFrame) -> None:
    area = dict.fromkeys(systems_of(scores), 0.5)
    for figure in (
        pooled.roc(pooled.roc_points(scores), area=area),
        pooled.precision_recall(pooled.precision_recall_points(scores), average=area),
        pooled.score_distributions(scores, area=area),
    ):
        assert "pooled over all pairs" in title(figure)
        assert not any(system.label in title(figure) for system in SYSTEMS.values())


def test_the_favourites_title_gives_the_sizes_of_the_bins_and_no_finding() -> None:
    ids = list("abcdefgh")
    measured = {name: pd.Series(np.linspace(0, 1, 8), index=ids) for name in ("chance", "bm25", FINE_TUNED)}
    favourites = pd.Series([1, 1, 1, 2, 2, 2, 2, 2], index=ids)
    found = title(lists.favourites(lists.favourite_points(measured, favourites)))
    assert "3 to 5 users in a bin" in found
    assert "gain" not in found.lower() and not any(SYSTEMS[name].label in found for name in measured)


def test_chance_stands_lowest_as_a_row_and_a_dashed_line_and_the_best_highest() -> None:
    measured = {"chance": 0.3, "bm25": 0.2, "cross_encoder": 0.5}
    systems = {name: {"m": {"value": m, "low": m - 0.1, "high": m + 0.1}} for name, m in measured.items()}
    points = drawing.interval_points({"systems": systems}, "m")
    assert points["system"].tolist() == ["chance", "bm25", "cross_encoder"]
    (axes,) = drawing.intervals(points, "t", "x", from_zero=True).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["chance", "BM25", "cross-encoder"]
    dashed = [line for line in axes.lines if line.get_linestyle() == "--"]
    assert [line.get_xdata() for line in dashed] == [[0.3, 0.3]]


def test_a_list_without_positives_is_left_out_of_the_pictures(scores: pd.DataFrame) -> None:
    lonely = scores[scores["user_id"] == "u0"].assign(user_id="lonely", label=0)
    table = pd.concat([scores, lonely], ignore_index=True)
    measured = MEASURING["ranking"].evaluate(None, table, max_grade=1, seed=1, samples=50)
    favourites = lists.favourites_of(pairs_of(table), " by ")
    _, points = by_task.DRAW["ranking"](None, table, evaluation=measured, favourites=favourites)
    assert points["favourites"].groupby("system")["users"].sum().tolist() == [40, 40, 40]
    assert len(points["gain"]) == 40


def test_the_training_picture_names_the_tasks_metric_and_its_best_step() -> None:
    loss, validation = pd.DataFrame({"step": [1], "loss": [0.5]}), pd.DataFrame({"step": [0, 10], "value": [0.2, 0.4]})
    found = title(training.training(loss, validation, task="similarity"))
    assert found == "Validation Spearman correlation is best at step 10: 0.400, from 0.200 at step 0"


def test_predictions_are_on_the_scale_of_the_labels(scores: pd.DataFrame) -> None:
    points = similarity.predicted_points(scores, max_grade=5)
    assert points["predicted"].between(0, 5).all()
    assert points["label"].is_monotonic_increasing


def test_calibration_has_bins_of_equal_size(scores: pd.DataFrame) -> None:
    points = duplicates.calibration_points(scores, scores)
    assert (points["pairs"] == len(scores) / 10).all()
    assert points["system"].unique().tolist() == systems_of(scores)
