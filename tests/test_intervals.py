"""Intervals hold what they promise, resamples keep groups whole, and a difference is a finding by both tests."""

import math

import numpy as np
import pandas as pd
import pytest

from rerank.measure.intervals import (
    compared_by_groups,
    group_intervals,
    is_finding,
    mean_interval,
    paired_test,
    resamples,
    row_resamples,
)


def test_the_bootstrap_interval_covers_the_true_mean_in_about_95_of_100_samples():
    generator = np.random.default_rng(2)
    drawn = resamples(100, samples=400, seed=3)
    covered = 0
    for _ in range(200):
        found = mean_interval(generator.beta(2, 3, size=100), drawn)
        covered += found["low"] <= 2 / 5 <= found["high"]
    assert 0.90 <= covered / 200 <= 0.99


def test_the_interval_of_a_mean_has_the_width_of_its_standard_error():
    values = np.random.default_rng(4).normal(size=1000)
    found = mean_interval(values, resamples(1000, samples=2000, seed=5))
    assert found["high"] - found["low"] == pytest.approx(2 * 1.96 * values.std() / math.sqrt(1000), rel=0.1)
    assert found["low"] < found["value"] < found["high"]


def test_the_interval_does_not_depend_on_how_the_resamples_are_cut_into_chunks(monkeypatch):
    values, drawn = np.random.default_rng(6).random(50), resamples(50, samples=101, seed=7)
    whole = mean_interval(values, drawn)
    monkeypatch.setattr("rerank.measure.intervals.CHUNK_VALUES", 120)
    assert mean_interval(values, drawn) == whole


def test_the_interval_leaves_undefined_users_out():
    values = [0.2, 0.4, math.nan, 0.6]
    found = mean_interval(values, resamples(4, samples=200, seed=8))
    assert found["value"] == pytest.approx(0.4)
    assert 0.2 <= found["low"] <= found["high"] <= 0.6
    assert all(math.isnan(value) for value in mean_interval([math.nan] * 4, resamples(4, samples=200, seed=8)).values())


def test_resamples_depend_on_the_seed_alone():
    assert np.array_equal(resamples(9, samples=5, seed=1), resamples(9, samples=5, seed=1))
    assert not np.array_equal(resamples(9, samples=5, seed=1), resamples(9, samples=5, seed=2))


def test_the_paired_test_is_symmetric():
    a, b = np.random.default_rng(9).random((2, 40))
    there, p_there = paired_test(a, b, seed=1, samples=999)
    back, p_back = paired_test(b, a, seed=1, samples=999)
    assert p_there == pytest.approx(p_back, abs=1e-12)
    assert (there["value"], there["low"], there["high"]) == pytest.approx((-back["value"], -back["high"], -back["low"]))


def test_equal_systems_have_p_1_and_no_difference():
    values = np.random.default_rng(10).random(30)
    assert paired_test(values, values, seed=1, samples=500) == ({"value": 0, "low": 0, "high": 0}, 1)


def test_a_clear_gap_has_a_small_p_and_an_interval_above_0():
    generator = np.random.default_rng(11)
    weak = generator.random(200)
    difference, p_value = paired_test(weak + generator.normal(0.2, 0.1, 200), weak, seed=1, samples=2000)
    assert p_value <= 2 / 2000
    assert 0.15 < difference["low"] < difference["value"] < difference["high"] < 0.25


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
    assert difference["value"] == pytest.approx(0.1)


def test_a_resample_draws_whole_groups():
    groups = pd.Series(["a", "b", "a", "c", "c", "c"])
    for rows in row_resamples(groups, samples=20, seed=1):
        times = np.bincount(rows, minlength=6)
        assert times[0] == times[2] and times[3] == times[4] == times[5]
        assert times[0] + times[1] + times[3] == 3


def compared(shift, *, samples=400):
    """A fine-tuned system that is better than a baseline by ``shift`` on each of 200 rows, but for noise."""
    generator = np.random.default_rng(3)
    scores = {name: generator.normal(mean, 1, 200) for name, mean in (("bi_encoder", 0), ("cross_encoder", shift))}
    systems, drawn = group_intervals(
        lambda rows: {name: {"m": float(values[rows].mean())} for name, values in scores.items()},
        pd.Series(range(200)),
        samples=samples,
        seed=1,
    )
    return compared_by_groups(systems, drawn, metric="m")


@pytest.mark.parametrize(("shift", "found"), [(0.6, True), (-0.6, True), (0.0, False)])
def test_groups_tell_two_systems_apart_where_they_differ(shift, found):
    comparison = compared(shift)
    assert (comparison["system"], comparison["baseline"]) == ("cross_encoder", "bi_encoder")
    assert is_finding(comparison) == found
    assert comparison["difference"]["low"] <= comparison["difference"]["value"] <= comparison["difference"]["high"]


def test_the_p_value_of_a_bootstrap_is_never_0():
    assert compared(5.0, samples=99)["p_value"] == pytest.approx(2 / 100)


@pytest.mark.parametrize(
    ("low", "high", "p_value", "found"),
    [(0.1, 0.3, 0.01, True), (-0.3, -0.1, 0.01, True), (0.1, 0.3, 0.06, False), (-0.1, 0.3, 0.01, False)],
)
def test_a_finding_needs_the_interval_and_the_test(low, high, p_value, found):
    difference = {"value": (low + high) / 2, "low": low, "high": high}
    assert is_finding({"difference": difference, "p_value": p_value}) == found
