import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import label_ranking_average_precision_score, ndcg_score, roc_auc_score

from rerank.errors import UserError
from rerank.measure.metrics import METRICS, check_scores, interval, paired_test, per_user, resamples


def one_user(labels, scores, k=10):
    """The metrics of a single user as a plain dict."""
    books = [f"b{number}" for number in range(len(labels))]
    return per_user(["u"] * len(labels), books, labels, scores, k=k).loc["u"].to_dict()


@st.composite
def tables(draw, max_grade=3):
    """Rows (user, book, label, score) of a few users; scores differ within a user."""
    rows = []
    for user in range(draw(st.integers(1, 4))):
        size = draw(st.integers(1, 25))
        scores = draw(st.permutations(range(size)))
        labels = draw(st.lists(st.integers(0, max_grade), min_size=size, max_size=size))
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
@given(tables())
def test_metrics_equal_the_textbook_loops(table):
    measured = measure(table)
    for user, rows in table.groupby("user"):
        if (rows["label"] == 0).all():
            assert measured.loc[user].isna().all()
            continue
        expected = textbook(rows.sort_values("score", ascending=False)["label"].tolist())
        assert measured.loc[user, list(METRICS[:5])].tolist() == pytest.approx(expected)


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
    assert {metric: right[metric] for metric in METRICS[1:]} == {metric: wrong[metric] for metric in METRICS[1:]}


def test_a_positive_below_rank_k_counts_for_map_alone():
    metrics = one_user([0, 0, 1], [3, 2, 1], k=2)
    assert (metrics["ndcg@2"], metrics["mrr@2"], metrics["precision@2"]) == (0, 0, 0)
    assert metrics["map"] == pytest.approx(1 / 3)


def test_precision_at_k_counts_a_short_list_as_if_it_went_on_without_positives():
    metrics = one_user([1, 0, 1], [3, 2, 1], k=5)
    assert (metrics["precision@1"], metrics["precision@5"]) == (1, pytest.approx(2 / 5))


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


@pytest.mark.parametrize("system", ["chance", "popularity", "bm25", "bi_encoder", "cross_encoder"])
@pytest.mark.parametrize(
    ("scores", "found"),
    [
        ([0.5, 0.5, 0.5], "all 3 scores are 0.5"),
        ([0.5, 0.50000003, 0.5], "all 3 scores are 0.5"),
        ([0.1, math.nan, 0.2], "1 of 3 scores are not finite"),
        ([0.1, math.inf, -math.inf], "2 of 3 scores are not finite"),
    ],
)
def test_scores_that_rank_nothing_name_the_system_and_a_cause(system, scores, found):
    with pytest.raises(UserError, match=rf"^{system}: {found}.*: .+$"):
        check_scores(system, np.array(scores))


def test_a_collapsed_training_is_told_to_lower_its_learning_rate():
    with pytest.raises(UserError, match="lower lr"):
        check_scores("cross_encoder", np.zeros(4, dtype=np.float32))
    with pytest.raises(UserError, match=r"bi_encoder_cosine: .* lower bi_encoder_lr"):
        check_scores("bi_encoder_cosine", np.zeros(4, dtype=np.float32))
    with pytest.raises(UserError, match="weights are broken"):
        check_scores("cross_encoder", np.zeros(4, dtype=np.float32), trained=False)


def test_scores_that_differ_pass():
    check_scores("cross_encoder", np.array([0.0, 1e-4]))


def test_the_bootstrap_interval_covers_the_true_mean_in_about_95_of_100_samples():
    generator = np.random.default_rng(2)
    drawn = resamples(100, samples=400, seed=3)
    covered = 0
    for _ in range(200):
        found = interval(generator.beta(2, 3, size=100), drawn)
        covered += found["low"] <= 2 / 5 <= found["high"]
    assert 0.90 <= covered / 200 <= 0.99


def test_the_interval_of_a_mean_has_the_width_of_its_standard_error():
    values = np.random.default_rng(4).normal(size=1000)
    found = interval(values, resamples(1000, samples=2000, seed=5))
    assert found["high"] - found["low"] == pytest.approx(2 * 1.96 * values.std() / math.sqrt(1000), rel=0.1)
    assert found["low"] < found["mean"] < found["high"]


def test_the_interval_does_not_depend_on_how_the_resamples_are_cut_into_chunks(monkeypatch):
    values, drawn = np.random.default_rng(6).random(50), resamples(50, samples=101, seed=7)
    whole = interval(values, drawn)
    monkeypatch.setattr("rerank.measure.metrics.CHUNK_VALUES", 120)
    assert interval(values, drawn) == whole


def test_the_interval_leaves_undefined_users_out():
    values = [0.2, 0.4, math.nan, 0.6]
    found = interval(values, resamples(4, samples=200, seed=8))
    assert found["mean"] == pytest.approx(0.4)
    assert 0.2 <= found["low"] <= found["high"] <= 0.6
    assert all(math.isnan(value) for value in interval([math.nan] * 4, resamples(4, samples=200, seed=8)).values())


def test_resamples_depend_on_the_seed_alone():
    assert np.array_equal(resamples(9, samples=5, seed=1), resamples(9, samples=5, seed=1))
    assert not np.array_equal(resamples(9, samples=5, seed=1), resamples(9, samples=5, seed=2))


def test_the_paired_test_is_symmetric():
    a, b = np.random.default_rng(9).random((2, 40))
    there, p_there = paired_test(a, b, seed=1, samples=999)
    back, p_back = paired_test(b, a, seed=1, samples=999)
    assert p_there == pytest.approx(p_back, abs=1e-12)
    assert (there["mean"], there["low"], there["high"]) == pytest.approx((-back["mean"], -back["high"], -back["low"]))


def test_equal_systems_have_p_1_and_no_difference():
    values = np.random.default_rng(10).random(30)
    assert paired_test(values, values, seed=1, samples=500) == ({"mean": 0, "low": 0, "high": 0}, 1)


def test_a_clear_gap_has_a_small_p_and_an_interval_above_0():
    generator = np.random.default_rng(11)
    weak = generator.random(200)
    difference, p_value = paired_test(weak + generator.normal(0.2, 0.1, 200), weak, seed=1, samples=2000)
    assert p_value <= 2 / 2000
    assert 0.15 < difference["low"] < difference["mean"] < difference["high"] < 0.25


def test_few_users_get_the_exact_p_value():
    # Three users who all prefer a: of the 8 sign flips two are as extreme.
    assert paired_test([0.3, 0.5, 0.9], [0.1, 0.2, 0.3], seed=1, samples=500)[1] == pytest.approx(2 / 8)
    assert paired_test([0.3], [0.1], seed=1, samples=500)[1] == 1


def test_the_p_value_of_equally_good_systems_is_uniform():
    generator = np.random.default_rng(12)
    p_values = [paired_test(*generator.random((2, 25)), seed=1, samples=200)[1] for _ in range(200)]
    assert np.mean(np.array(p_values) <= 0.05) <= 0.1
    assert 0.4 < np.mean(p_values) < 0.6


def test_users_undefined_in_either_system_are_left_out_of_the_pairs():
    difference, _ = paired_test([0.5, math.nan, 0.9], [0.4, 0.2, 0.8], seed=1, samples=500)
    assert difference["mean"] == pytest.approx(0.1)
