import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import label_ranking_average_precision_score, ndcg_score, roc_auc_score

from rerank.measure.metrics import METRICS, by_chance, mrr, ndcg, per_user, precision
from rerank.measure.rankings import Rankings

GRADES = st.integers(0, 3)


def lists_of_one_user(labels, scores):
    return Rankings(["u"] * len(labels), [f"b{number}" for number in range(len(labels))], labels, scores)


def one_user(labels, scores):
    """The metrics of a single user as a plain dict."""
    books = [f"b{number}" for number in range(len(labels))]
    return per_user(["u"] * len(labels), books, labels, scores).loc["u"].to_dict()


@st.composite
def tables(draw, label=GRADES):
    """Rows (user, book, label, score) of a few users; scores differ within a user."""
    rows = []
    for user in range(draw(st.integers(1, 4))):
        size = draw(st.integers(1, 25))
        scores = draw(st.permutations(range(size)))
        labels = draw(st.lists(label, min_size=size, max_size=size))
        rows += [(f"u{user}", f"b{book}", labels[book], scores[book] / 7) for book in range(size)]
    return pd.DataFrame(rows, columns=["user", "book", "label", "score"])


def measure(table, scores=None):
    return per_user(table["user"], table["book"], table["label"], table["score"] if scores is None else scores)


def textbook(labels_by_rank, k=10):
    """nDCG, MRR, MAP, precision@1 and precision@k of one ranked list, with the loops of a textbook."""
    dcg = ideal = reciprocal = found = precision_sum = 0.0
    for rank, (label, best) in enumerate(zip(labels_by_rank, sorted(labels_by_rank)[::-1], strict=True), start=1):
        if rank <= k:
            dcg += (2**label - 1) / math.log2(rank + 1)
            ideal += (2**best - 1) / math.log2(rank + 1)
        if label > 0:
            found += 1
            precision_sum += found / rank
            if found == 1 and rank <= k:
                reciprocal = 1 / rank
    first, top = float(labels_by_rank[0] > 0), sum(label > 0 for label in labels_by_rank[:k])
    return [dcg / ideal, reciprocal, precision_sum / found, first, top / k]


def test_each_metric_equals_one_example_worked_by_hand():
    # Ranked by score the labels are 0, 2, 0, 1: gains 0, 3, 0, 1.
    metrics = one_user(labels=[2, 1, 0, 0], scores=[0.8, 0.1, 0.9, 0.5])
    dcg = 3 / math.log2(3) + 1 / math.log2(5)
    ideal = 3 / math.log2(2) + 1 / math.log2(3)
    assert metrics["ndcg@10"] == pytest.approx(dcg / ideal)
    assert metrics["mrr@10"] == pytest.approx(1 / 2)
    assert metrics["map"] == pytest.approx((1 / 2 + 2 / 4) / 2)
    assert metrics["precision@1"] == 0
    assert metrics["precision@10"] == pytest.approx(2 / 10)
    # Of the four (positive, negative) pairs only one is in order: 0.8 above 0.5.
    assert metrics["roc_auc"] == pytest.approx(1 / 4)


@settings(max_examples=100, deadline=None)
@given(st.one_of(tables(), tables(st.sampled_from([0, 0.1, 0.5, 0.9, 1.0, 2.7]))))
def test_metrics_equal_the_textbook_loops_with_whole_labels_and_others(table):
    measured = measure(table)
    for user, rows in table.groupby("user"):
        if (rows["label"] == 0).all():
            assert measured.loc[user].isna().all()
            continue
        expected = textbook(rows.sort_values("score", ascending=False)["label"].tolist())
        assert measured.loc[user, list(METRICS)[:5]].tolist() == pytest.approx(expected)


@settings(max_examples=100, deadline=None)
@given(tables())
def test_metrics_equal_scikit_learn_for_each_user(table):
    measured = measure(table)
    for user, rows in table.groupby("user"):
        label, score = rows["label"].to_numpy(), rows["score"].to_numpy()
        if 0 < np.count_nonzero(label) < len(label):
            assert measured.loc[user, "roc_auc"] == pytest.approx(roc_auc_score(label > 0, score))
        if np.any(label) and len(label) > 1:
            gains = 2.0**label - 1
            assert measured.loc[user, "ndcg@10"] == pytest.approx(ndcg_score([gains], [score], k=10))
            average_precision = label_ranking_average_precision_score([label > 0], [score])
            assert measured.loc[user, "map"] == pytest.approx(average_precision)


@settings(max_examples=50, deadline=None)
@given(tables(), st.randoms(use_true_random=False), st.integers(1, 3))
def test_the_order_of_the_rows_changes_nothing_even_with_tied_scores(table, random, distinct_scores):
    table["score"] = [random.randrange(distinct_scores) for _ in range(len(table))]
    shuffled = table.sample(frac=1, random_state=random.randrange(2**32))
    pd.testing.assert_frame_equal(measure(table), measure(shuffled), rtol=1e-12)


@settings(max_examples=50, deadline=None)
@given(tables())
def test_scoring_by_the_label_is_perfect_and_by_its_opposite_is_worst(table):
    table = table[table.groupby("user")["label"].transform(lambda label: label.max() > 0 and label.min() == 0)]
    if table.empty:
        return
    best, some, worst = (measure(table, scores) for scores in (table["label"], table["score"], -table["label"]))
    assert np.allclose(best.drop(columns="precision@10"), 1)
    positives = (table["label"] > 0).groupby(table["user"]).sum()
    assert np.allclose(best["precision@10"], np.minimum(positives, 10) / 10)
    assert np.allclose(worst["roc_auc"], 0)
    assert (worst <= some + 1e-12).all(axis=None)


def test_equal_scores_give_chance_level_although_positives_come_first():
    users = np.repeat([f"u{number}" for number in range(2000)], 20)
    books = np.tile([f"b{number}" for number in range(20)], 2000)
    labels = np.tile([1] * 4 + [0] * 16, 2000)
    tied = per_user(users, books, labels, np.zeros(len(users))).mean()
    random = per_user(users, books, labels, np.random.default_rng(0).random(len(users))).mean()
    assert tied["precision@1"] == pytest.approx(4 / 20, abs=0.03)
    assert tied["roc_auc"] == 0.5
    assert tied.to_numpy() == pytest.approx(random.to_numpy(), abs=0.03)


def test_a_higher_grade_first_is_worth_more():
    right, wrong = one_user([3, 1, 0], [3, 2, 1]), one_user([3, 1, 0], [2, 3, 1])
    assert right["ndcg@10"] == 1 > wrong["ndcg@10"]
    assert {metric: right[metric] for metric in list(METRICS)[1:]} == {
        metric: wrong[metric] for metric in list(METRICS)[1:]
    }


def test_fractions_of_a_label_are_gains():
    """0.9 above 0.1 in the wrong order: a whole number would make both 0."""
    found = one_user([0.1, 0.9], [2, 1])["ndcg@10"]
    gains = [2**0.1 - 1, 2**0.9 - 1]
    assert found == pytest.approx((gains[0] + gains[1] / math.log2(3)) / (gains[1] + gains[0] / math.log2(3)))


def test_a_positive_below_rank_k_counts_for_map_alone():
    lists = lists_of_one_user([0, 0, 1], [3, 2, 1])
    assert [float(metric(lists, k=2)[0]) for metric in (ndcg, mrr, precision)] == [0, 0, 0]
    assert one_user([0, 0, 1], [3, 2, 1])["map"] == pytest.approx(1 / 3)


def test_precision_at_k_counts_a_short_list_as_if_it_went_on_without_positives():
    lists = lists_of_one_user([1, 0, 1], [3, 2, 1])
    assert [float(precision(lists, k=k)[0]) for k in (1, 5)] == [1, pytest.approx(2 / 5)]


@pytest.mark.parametrize(
    "labels",
    [
        [1] * 10 + [0] * 70,
        [1, 0, 0],
        [1] * 5,
        [1],
        [4, 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        [0.9, 0.2, 0.0, 0.0, 0.4],
        [1] * 12 + [0] * 3,
    ],
)
def test_chance_is_the_mean_over_random_rankings(labels):
    """Each closed form against thousands of random orders, within four standard errors."""
    orders, size = 4000, len(labels)
    users, books = np.repeat(np.arange(orders), size), np.tile(np.arange(size), orders)
    drawn = per_user(users, books, np.tile(labels, orders), np.random.default_rng(5).random(orders * size))
    expected = by_chance(["u"] * size, range(size), labels).loc["u"]
    for metric in METRICS:
        if math.isnan(expected[metric]):
            assert metric == "roc_auc" and drawn[metric].isna().all()
        else:
            error = 4 * drawn[metric].sem() + 1e-9
            assert expected[metric] == pytest.approx(drawn[metric].mean(), abs=error), metric


def test_chance_of_a_long_list_and_of_no_positive_is_a_number_or_nan():
    labels = [1] * 300 + [0] * 99_700
    expected = by_chance(["u"] * len(labels), range(len(labels)), labels).loc["u"]
    assert expected["precision@10"] == pytest.approx(0.003)
    assert expected["mrr@10"] == pytest.approx(0.003 * sum(1 / rank for rank in range(1, 11)), rel=0.02)
    assert by_chance(["u", "u"], [1, 2], [0, 0]).isna().all(axis=None)


def test_a_model_that_knows_only_the_user_gets_chance():
    generator = np.random.default_rng(1)
    users = np.repeat([f"u{number:03}" for number in range(500)], 20)
    taste = np.repeat(generator.random(500), 20)  # pooled over users, this predicts the label
    labels = (generator.random(len(users)) < taste).astype(int)
    books = np.tile([f"b{number}" for number in range(20)], 500)
    assert roc_auc_score(labels, taste) > 0.7
    knows_user = per_user(users, books, labels, taste).mean()
    random = per_user(users, books, labels, generator.random(len(users))).mean()
    assert knows_user["roc_auc"] == 0.5
    assert knows_user.to_numpy() == pytest.approx(random.to_numpy(), abs=0.03)


def test_users_without_positives_or_negatives_are_nan_where_undefined():
    measured = per_user(["a", "a", "b", "b"], ["1", "2", "1", "2"], [0, 0, 1, 1], [1.0, 2.0, 1.0, 2.0])
    assert measured.loc["a"].isna().all()
    assert measured.loc["b"].isna().tolist() == [False, False, False, False, False, True]


def test_users_come_sorted_by_id():
    assert per_user(["b", "a", "c"], ["1"] * 3, [1] * 3, [0.0] * 3).index.tolist() == ["a", "b", "c"]
