"""The evaluate stage: candidate lists measured as means over users, and the few values that DVC shows."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from score_tables import SYSTEMS, TRAINED, UNTRAINED, score_table, write_params, write_scores

from rerank.errors import UserError
from rerank.json_file import rounded
from rerank.measure import by_task, metrics
from rerank.measure.intervals import mean_interval, resamples
from rerank.measure.metrics import METRICS, Metric, by_chance, per_user
from rerank.measure.ranking import evaluate
from rerank.measure.report import report
from rerank.tasks import TASKS
from stages.evaluate import main

SRC = Path(__file__).parents[1] / "src"


def measure(table, **options):
    return evaluate(None, table, **{"max_grade": 1, "samples": 200, "seed": 1, **options})


def value(results, system, metric="ndcg@10"):
    return results["systems"][system][metric]["value"]


def test_every_task_is_measured():
    assert by_task.MEASURING.keys() == TASKS.keys()


def test_each_system_is_measured_as_the_mean_over_users_with_its_interval():
    table = score_table()
    results = measure(table)
    assert list(results["systems"]) == ["chance", *SYSTEMS]
    drawn = resamples(60, samples=200, seed=1)
    for system in SYSTEMS:
        values = per_user(table["user_id"], table["book_id"], table["label"], table[f"score/{system}"])
        for metric in METRICS:
            assert results["systems"][system][metric] == mean_interval(values[metric], drawn)


def test_chance_is_a_row_with_its_expected_value_and_an_interval_over_users():
    table = score_table().drop(index=range(2))  # one user has fewer positives than the others
    chance = measure(table)["systems"]["chance"]
    expected = by_chance(table["user_id"], table["book_id"], table["label"])
    for metric in METRICS:
        assert chance[metric]["value"] == pytest.approx(expected[metric].mean())
    assert chance["ndcg@10"]["low"] < chance["ndcg@10"]["value"] < chance["ndcg@10"]["high"]
    assert chance["roc_auc"] == {"value": 0.5, "low": 0.5, "high": 0.5}


def test_sizes_describe_the_candidate_lists():
    results = measure(score_table().iloc[:-3])
    assert (results["users"], results["pairs"]) == (60, 1197)
    assert results["candidates_per_user"] == {"mean": 19.95, "min": 17, "max": 20}
    assert results["positives_per_user"] == {"mean": 4, "min": 4, "max": 4}


def test_the_cross_encoder_is_compared_with_the_best_other_system():
    results = measure(score_table())
    comparison = results["comparison"]
    assert (comparison["system"], comparison["baseline"]) == ("cross_encoder", "bm25")
    difference = comparison["difference"]
    assert difference["value"] == pytest.approx(value(results, "cross_encoder") - value(results, "bm25"))
    assert 0 < difference["low"] < difference["value"] < difference["high"]
    assert comparison["p_value"] < 0.05


def with_cold_lists(users: int = 60) -> pd.DataFrame:
    """A warm and a cold list a user; popularity knows no cold book, and fused is the cross-encoder and some bm25."""
    warm = score_table(users).assign(cold=False)
    cold = score_table(users, candidates=8, positives=2, seed=1).assign(cold=True)
    cold["book_id"] = "cold" + cold["book_id"]
    cold["score/popularity"] = 0.0
    table = pd.concat([warm, cold], ignore_index=True)
    return table.assign(**{"score/fused": table["score/cross_encoder"] + 0.5 * table["score/bm25"]})


def test_cold_lists_are_measured_apart_and_what_knows_no_book_of_them_is_at_chance():
    table = with_cold_lists()
    results = measure(table)
    warm, cold = (measure(table[table["cold"] == is_cold].drop(columns="cold")) for is_cold in (False, True))
    assert results["systems"] == warm["systems"] and results["cold"]["systems"] == cold["systems"]
    assert (results["cold"]["users"], results["cold"]["candidates_per_user"]["mean"]) == (60, 8)
    popularity, chance = (value(results["cold"], system) for system in ("popularity", "chance"))
    assert popularity == pytest.approx(chance, abs=0.08) and value(results["cold"], "cross_encoder") > chance + 0.2


def test_a_cold_list_without_a_positive_or_a_negative_is_left_out():
    table = with_cold_lists()
    cold = table["cold"]
    table.loc[cold & (table["user_id"] == "u0"), "label"] = np.int32(0)
    table.loc[cold & (table["user_id"] == "u1"), "label"] = np.int32(1)
    assert measure(table)["cold"]["users"] == 58
    assert "cold" not in measure(table[~cold])


def test_the_fused_system_is_compared_with_the_best_single_one_and_is_no_baseline():
    results = measure(with_cold_lists())
    fusion = results["fusion"]
    assert (fusion["system"], fusion["baseline"]) == ("fused", "cross_encoder")
    assert fusion["difference"]["value"] == pytest.approx(value(results, "fused") - value(results, "cross_encoder"))
    assert results["comparison"]["baseline"] == "bm25"
    assert results["cold"]["fusion"]["baseline"] == "cross_encoder"


def test_a_system_that_shows_everyone_the_same_books_is_seen():
    table = score_table()
    table["score/popularity"] = table["book_id"].str[1:].astype(float)
    shown = measure(table)["shown"]
    assert shown["popularity"] == {"different_books": 10, "readers": 14.5}
    assert shown["cross_encoder"]["different_books"] == 20 and shown["cross_encoder"]["readers"] < 14


def test_the_few_values_of_dvc_are_of_the_systems_that_head_the_table():
    few = by_task.summary(measure(with_cold_lists()))
    assert list(few) == ["ndcg@10", "cold_ndcg@10", "gain", "p"]
    assert few["ndcg@10"].keys() == {"cross_encoder", "fused"}
    assert few["gain"] == measure(with_cold_lists())["fusion"]["difference"]["value"]


def test_the_printed_table_has_cold_lists_shown_books_and_each_comparison():
    printed = report(measure(with_cold_lists()))
    assert "cold, of books of which no reader is known: 60 test lists, 8.0 candidates each, 2.0 positive" in printed
    heading = next(line for line in printed.splitlines() if "95 % interval" in line)
    assert heading.split()[-2:] == ["books", "readers"] and "cold" in heading
    assert "\ncross-encoder against BM25: nDCG@10 +" in printed and "\nfusion against cross-encoder: " in printed
    assert "\ncold lists: cross-encoder against " in printed


def test_chance_is_no_baseline_even_where_nothing_beats_it():
    table = score_table()[["user_id", "book_id", "label", "score/bm25", "score/cross_encoder"]]
    table["score/bm25"] = -table["label"].astype(float)
    results = measure(table)
    assert value(results, "bm25") < value(results, "chance")
    assert results["comparison"]["baseline"] == "bm25"


def test_pooled_metrics_reward_what_the_means_over_users_do_not():
    table = score_table()
    liked = np.repeat([8] * 30 + [1] * 30, 20)
    table["label"] = (np.tile(np.arange(20), 60) < liked).astype("int32")
    table["score/popularity"] = liked.astype(float)
    results = measure(table)
    assert results["pooled"]["popularity"]["roc_auc"] > 0.6
    assert value(results, "popularity", "roc_auc") == 0.5


def test_the_order_of_the_rows_changes_no_number():
    table = score_table()
    assert rounded(measure(table.sample(frac=1, random_state=1))) == rounded(measure(table))


def test_users_without_positives_are_left_out_of_the_means():
    table = score_table()
    extra = table.iloc[:20].assign(user_id="without", label=np.int32(0))
    with_them = measure(pd.concat([table, extra], ignore_index=True))
    for system in ("chance", *SYSTEMS):
        assert value(with_them, system) == pytest.approx(value(measure(table), system))


def test_graded_labels_count_as_gains():
    table = score_table(users=1, candidates=3, positives=2)
    table["label"] = np.array([2, 1, 0], dtype="int32")
    table["score/cross_encoder"] = [2.0, 3.0, 1.0]
    assert value(measure(table), "cross_encoder") == pytest.approx((1 + 3 / np.log2(3)) / (3 + 1 / np.log2(3)))


@pytest.mark.parametrize(
    ("label", "found"),
    [
        (lambda table: 0, r"test\.parquet: column 'label' has no positive in 1,200 rows: add"),
        (lambda table: table["user_id"].isin(["u1", "u2"]).astype(int), r"column 'label' is above 0 in every row"),
    ],
)
def test_lists_that_cannot_be_measured_are_refused(label, found):
    table = score_table()
    with pytest.raises(UserError, match=found):
        measure(table.assign(label=label(table)))


def test_a_new_metric_is_one_entry_that_measure_and_report_follow():
    """In a process of its own, because both follow the registry as it stands when they are imported."""
    code = """
from rerank.measure.metrics import METRICS, Metric, _at, precision, precision_by_chance
METRICS["precision@3"] = _at(3, "P@3", precision, precision_by_chance)
from score_tables import score_table
from rerank.measure.ranking import evaluate
from rerank.measure.report import report
results = evaluate(None, score_table(), max_grade=1, seed=1, samples=50)
assert abs(results["systems"]["chance"]["precision@3"]["value"] - 0.2) < 1e-9
assert report(results).splitlines()[1].split()[-3] == "P@3", report(results)
"""
    paths = f"{SRC}:{Path(__file__).parent}"
    subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": paths}, check=True)
    assert all(isinstance(metric, Metric) for metric in metrics.METRICS.values())


def test_the_report_has_a_row_for_each_system_by_its_label_and_the_comparison_below():
    lines = report(measure(score_table())).splitlines()
    assert lines[0] == "60 test lists, 20.0 candidates each, 4.0 positive"
    assert [line.split("  ")[0] for line in lines[2:-2]] == [
        "chance",
        "popularity",
        "BM25",
        "bi-encoder",
        "cross-encoder",
    ]
    assert len({len(line) for line in lines[1:-2]}) == 1
    assert lines[-1].startswith("cross-encoder against BM25: nDCG@10 +0.")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ([], 2, "usage: report.py [-h] --evaluation EVALUATION"),
        (["--evaluation", "gone.json"], 1, "error: gone.json: no such file: run `dvc repro`"),
    ],
)
def test_a_report_of_nothing_says_what_to_do(arguments, code, words):
    line = [sys.executable, "-m", "rerank.measure.report", *arguments]
    done = subprocess.run(line, env={"PYTHONPATH": str(SRC)}, capture_output=True, text=True)
    assert done.returncode == code
    assert done.stderr.startswith(words)


def similarities(seed):
    """Scores on which two of the tasks can be measured: labels from 0 to 1, a little noise, two systems."""
    generator = np.random.default_rng(seed)
    label = generator.integers(0, 2, 200)
    return pd.DataFrame(
        {
            "user_id": [f"g{n // 2}" for n in range(200)],
            "book_id": [f"p{n}" for n in range(200)],
            "label": label.astype("int32"),
            "score/bi_encoder": label + generator.normal(0, 1, 200),
            "score/cross_encoder": label + generator.normal(0, 0.5, 200),
        }
    )


@pytest.fixture(params=["ranking", "similarity", "duplicates"])
def task(request, tmp_path, monkeypatch):
    """A folder with the scores and the params of a task."""
    monkeypatch.chdir(tmp_path)
    write_params(seed=42, task=request.param, max_grade=1)
    if request.param == "ranking":
        write_scores(score_table(seed=1), score_table())
    else:
        write_scores(similarities(1), similarities(2))
    return request.param


def test_the_stage_writes_a_small_file_for_dvc_all_else_beside_it_and_prints_the_table(task, capsys):
    written = []
    for _ in range(2):
        main(scores=[TRAINED, UNTRAINED], metrics=Path("metrics/test.json"), evaluation=Path("data/evaluation.json"))
        written.append([Path(name).read_text() for name in ("metrics/test.json", "data/evaluation.json")])
    assert written[0] == written[1]
    shown, measured = map(json.loads, written[0])
    (main_metric, *others) = shown
    assert main_metric == measured["comparison"]["metric"] and others == ["gain", "p"]
    assert shown[main_metric] == {name: values[main_metric]["value"] for name, values in measured["systems"].items()}
    assert shown["gain"] == measured["comparison"]["difference"]["value"]
    assert measured["task"] == task
    headings = by_task.MEASURING[task].headings
    for values in measured["systems"].values():
        assert values.keys() == headings.keys()
        assert all(value.keys() == {"value", "low", "high"} for value in values.values())
    assert report(measured).splitlines()[0] in capsys.readouterr().out
