import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from checkout import set_params
from dvc.repo import Repo

from rerank.errors import UserError
from rerank.measure import report
from rerank.measure.metrics import METRICS, interval, per_user, resamples
from rerank.model import encoder as model
from rerank.systems import baselines
from stages import evaluate

PROJECT = Path(__file__).parents[1]
SYSTEMS = ["chance", "popularity", "bm25", "bi_encoder", "cross_encoder"]
WORDS = ["sea", "desert", "kitchen", "stars", "ships", "forest", "castle", "river"]


def score_table(users=60, candidates=20, positives=4, seed=0):
    """Scores of five systems; the cross-encoder sees the label through noise, bm25 through more."""
    generator = np.random.default_rng(seed)
    rows = users * candidates
    label = np.tile([1] * positives + [0] * (candidates - positives), users)
    table = pd.DataFrame(
        {
            "user_id": np.repeat([f"u{number}" for number in range(users)], candidates),
            "book_id": np.tile([f"b{number}" for number in range(candidates)], users),
            "label": label.astype("int32"),
            "favourites": np.repeat(generator.integers(1, 5, users), candidates).astype("int32"),
        }
    )
    for system, signal in zip(SYSTEMS, (0, 0, 0.5, 0, 1.5), strict=True):
        table[system] = signal * label + generator.normal(size=rows)
    return table


def measure(table, **options):
    return evaluate.evaluate(table, **{"bootstrap_samples": 200, "seed": 1, **options})


def test_each_system_is_measured_as_the_mean_over_users_with_its_interval():
    table = score_table()
    results = measure(table)
    assert list(results["systems"]) == SYSTEMS
    drawn = resamples(60, samples=200, seed=1)
    for system in SYSTEMS:
        values = per_user(table["user_id"], table["book_id"], table["label"], table[system])
        for metric in METRICS:
            expected = {key: round(value, 6) for key, value in interval(values[metric], drawn).items()}
            assert results["systems"][system][metric] == expected


def test_sizes_describe_the_candidate_lists():
    results = measure(score_table().iloc[:-3])
    assert (results["users"], results["pairs"]) == (60, 1197)
    assert results["candidates_per_user"] == {"mean": 19.95, "min": 17, "max": 20}
    assert results["positives_per_user"] == {"mean": 4, "min": 4, "max": 4}


def test_the_cross_encoder_is_compared_with_the_best_other_system():
    results = measure(score_table())
    comparison = results["cross_encoder_vs_best_baseline"]
    assert comparison["baseline"] == "bm25"
    means = {system: values["ndcg@10"]["mean"] for system, values in results["systems"].items()}
    difference = comparison["ndcg@10_difference"]
    assert difference["mean"] == pytest.approx(means["cross_encoder"] - means["bm25"], abs=2e-6)
    assert 0 < difference["low"] < difference["mean"] < difference["high"]
    assert comparison["p_value"] < 0.05


def test_pooled_metrics_reward_what_the_means_over_users_do_not():
    table = score_table()
    liked = np.repeat([8] * 30 + [1] * 30, 20)
    table["label"] = (np.tile(np.arange(20), 60) < liked).astype("int32")
    table["chance"] = liked.astype(float)
    chance = measure(table)["systems"]["chance"]
    assert chance["pooled_roc_auc"] > 0.6
    assert chance["roc_auc"]["mean"] == 0.5


def test_the_order_of_the_rows_changes_no_number():
    table = score_table()
    assert measure(table.sample(frac=1, random_state=1)) == measure(table)


def test_the_same_scores_give_the_same_numbers_and_json_can_hold_them():
    assert json.dumps(measure(score_table()), allow_nan=False) == json.dumps(measure(score_table()), allow_nan=False)


def test_users_without_positives_are_left_out_of_the_means():
    table = score_table()
    extra = table.iloc[:20].assign(user_id="without", label=np.int32(0))
    with_them = measure(pd.concat([table, extra], ignore_index=True))
    for system, metrics in measure(table)["systems"].items():
        assert with_them["systems"][system]["ndcg@10"]["mean"] == metrics["ndcg@10"]["mean"]


def test_graded_labels_count_as_gains():
    table = score_table(users=1, candidates=3, positives=2)
    table["label"] = np.array([2, 1, 0], dtype="int32")
    table["cross_encoder"] = [2.0, 3.0, 1.0]
    found = measure(table)["systems"]["cross_encoder"]["ndcg@10"]["mean"]
    assert found == pytest.approx((1 + 3 / np.log2(3)) / (3 + 1 / np.log2(3)), abs=1e-6)


def test_the_report_has_a_row_for_each_system_in_order_and_the_comparison_below():
    lines = report.report(measure(score_table())).splitlines()
    assert lines[0] == "60 test lists, 20.0 candidates each, 4.0 positive"
    assert [line.split()[0] for line in lines[2:-1]] == SYSTEMS
    assert len({len(line) for line in lines[1:-1]}) == 1
    assert lines[-1].startswith("cross_encoder against bm25: nDCG@10 +0.")


def test_a_report_of_a_missing_file_says_what_to_run(tmp_path):
    with pytest.raises(UserError, match=r"test\.json: .*`dvc repro`"):
        report.main(tmp_path / "test.json")


@pytest.fixture(scope="module")
def models(tiny_bert, tmp_path_factory):
    """A bi-encoder, and two cross-encoders with different heads."""
    folder = tmp_path_factory.mktemp("models")
    tiny_bert(folder / "bi-encoder", WORDS)
    for name, seed in (("untuned", 1), ("cross-encoder", 2)):
        built = model.build(folder / "bi-encoder", max_length=64, dropout=0.0, seed=seed)
        built.save_pretrained(str(folder / name))
    return folder


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder with the project's params and a test split of 12 readers."""
    for file in ("dvc.yaml", "params.yaml"):
        shutil.copy(PROJECT / file, tmp_path)
    monkeypatch.chdir(tmp_path)
    Repo.init(no_scm=True).close()
    generator = np.random.default_rng(3)
    books = {f"b{number}": " ".join(generator.choice(WORDS, 3, replace=False)) for number in range(30)}
    rows = [
        (f"u{user}", book, f"Favourites: {WORDS[user % 8]} by A, {WORDS[user % 5]} by B", books[book], int(rank < 3))
        for user in range(12)
        for rank, book in enumerate(generator.choice(list(books), 10, replace=False))
    ]
    write_test(pd.DataFrame(rows, columns=["user_id", "book_id", "user_ctx", "book_text", "label"]))
    counts = pd.DataFrame({"book_id": list(books)[:20], "positives": np.arange(20)})
    counts.to_parquet("data/split/popularity.parquet")
    return tmp_path


def write_test(test):
    Path("data/split").mkdir(parents=True, exist_ok=True)
    test.astype({"label": "int32"}).to_parquet("data/split/test.parquet", index=False)


def run_stage(models, base="bi-encoder", cross_encoder="cross-encoder"):
    scores, metrics = Path("data/scores/test.parquet"), Path("metrics/test.json")
    evaluate.main(Path("data/split"), models / base, models / "bi-encoder", models / cross_encoder, scores, metrics)
    return pd.read_parquet(scores), json.loads(metrics.read_text())


def test_the_stage_writes_scores_of_every_pair_metrics_and_a_table(project, models, capsys):
    scores, metrics = run_stage(models)
    test = pd.read_parquet("data/split/test.parquet")
    assert scores.columns.tolist() == [*evaluate.KEYS, *SYSTEMS]
    assert scores[["user_id", "book_id", "label"]].equals(test[["user_id", "book_id", "label"]])
    assert scores["favourites"].tolist() == [2] * 120
    assert list(metrics["systems"]) == SYSTEMS
    assert metrics == evaluate.evaluate(scores, bootstrap_samples=2000, seed=42)
    assert report.report(metrics) in capsys.readouterr().out


def test_the_stage_gives_the_same_bytes_again(project, models):
    files = [Path("data/scores/test.parquet"), Path("metrics/test.json")]
    written = []
    for _ in range(2):
        run_stage(models)
        written.append([file.read_bytes() for file in files])
    assert written[0] == written[1]


def test_an_untuned_cross_encoder_is_measured_where_the_base_has_a_head(project, models):
    scores, metrics = run_stage(models, base="untuned")
    assert list(metrics["systems"]) == [*SYSTEMS[:4], "untuned_cross_encoder", "cross_encoder"]
    assert not np.allclose(scores["untuned_cross_encoder"], scores["cross_encoder"])


def test_every_row_gets_the_score_of_its_own_pair_and_equal_pairs_are_scored_once(project, models, monkeypatch):
    test = pd.read_parquet("data/split/test.parquet")
    write_test(pd.concat([test, test.assign(user_id="again-" + test["user_id"])]).sample(frac=1, random_state=1))
    asked = []
    score = model.score

    def listening(loaded, contexts, texts, **options):
        asked.append(len(contexts))
        return score(loaded, contexts, texts, **options)

    monkeypatch.setattr(model, "score", listening)
    scores, _ = run_stage(models)
    test = pd.read_parquet("data/split/test.parquet")
    assert asked == [len(test.drop_duplicates(["user_ctx", "book_text"]))]
    contexts, texts = test["user_ctx"].tolist(), test["book_text"].tolist()
    loaded = model.load(models / "cross-encoder", max_length=128)
    assert scores["cross_encoder"].to_numpy() == pytest.approx(
        score(loaded, contexts, texts, precision="auto"), abs=1e-2
    )
    assert scores["bm25"].to_numpy() == pytest.approx(baselines.bm25(contexts, texts), abs=1e-5)


@pytest.mark.parametrize(
    ("label", "found"),
    [
        (lambda test: 0, r"test\.parquet: column 'label' has no positive in 120 rows: add"),
        (lambda test: test["user_id"].isin(["u1", "u2"]), r"test\.parquet: column 'label' is above 0 in every row"),
    ],
)
def test_a_test_split_that_cannot_be_measured_is_refused_before_any_work(project, models, label, found):
    test = pd.read_parquet("data/split/test.parquet")
    write_test(test.assign(label=label(test)))
    with pytest.raises(UserError, match=found):
        run_stage(models)
    assert not Path("data/scores").exists()


def test_a_collapsed_model_stops_the_stage_and_leaves_earlier_results(project, models, monkeypatch):
    run_stage(models)
    before = Path("metrics/test.json").read_bytes()
    monkeypatch.setattr(model, "score", lambda loaded, contexts, texts, **options: np.full(len(texts), 0.25))
    with pytest.raises(UserError, match=r"^cross_encoder: all 120 scores are 0\.25: training collapsed"):
        run_stage(models)
    assert Path("metrics/test.json").read_bytes() == before


def test_a_search_set_without_training_has_neither_popularity_nor_favourites_nor_a_second_cross_encoder(
    project, models, capsys
):
    Path("data/split/popularity.parquet").unlink()
    set_params(project, favourite_pattern=None, max_length=64)
    scores, metrics = run_stage(models, base="untuned", cross_encoder="untuned")
    systems = ["chance", "bm25", "bi_encoder", "cross_encoder"]
    assert scores.columns.tolist() == ["user_id", "book_id", "label", *systems]
    assert list(metrics["systems"]) == systems
    assert report.report(metrics) in capsys.readouterr().out


def test_the_speed_of_each_model_is_printed_and_is_in_no_file(project, models, capsys):
    _, metrics = run_stage(models)
    lines = [line for line in capsys.readouterr().out.splitlines() if "candidates a second" in line]
    assert [line.split(":")[0] for line in lines] == ["bi_encoder", "cross_encoder"]
    assert "second" not in json.dumps(metrics)


def test_a_symmetric_model_is_scored_by_both_orders_of_the_texts(project, models):
    set_params(project, symmetric=True, precision="fp32")
    scores, _ = run_stage(models)
    test = pd.read_parquet("data/split/test.parquet")
    loaded = model.load(models / "cross-encoder", max_length=128)
    there, back = (
        model.score(loaded, test[first].tolist(), test[second].tolist(), precision="fp32")
        for first, second in (("user_ctx", "book_text"), ("book_text", "user_ctx"))
    )
    assert scores["cross_encoder"].to_numpy() == pytest.approx((there + back) / 2, abs=1e-5)


@pytest.mark.parametrize(
    ("folder", "max_length", "found"),
    [
        ("bi-encoder", 64, r"bi-encoder: gives no score for a pair of texts: set base_model to a cross-encoder"),
        ("untuned", 512, r"params\.yaml: max_length is 512: the base model reads 128 tokens at most"),
    ],
)
def test_a_base_that_cannot_rank_as_it_is_is_one_line(project, models, folder, max_length, found):
    set_params(project, max_length=max_length)
    with pytest.raises(UserError, match=found):
        run_stage(models, base=folder, cross_encoder=folder)
    assert not Path("data/scores").exists()
