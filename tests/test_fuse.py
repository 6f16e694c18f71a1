"""The fusion: what standardising does, what validation teaches, when it gives up, and the stage."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from score_tables import TRAINED, UNTRAINED, score_table, write_scores

from rerank.errors import UserError
from rerank.json_file import read_json, write_json
from rerank.lists import is_cold, numbers
from rerank.measure.metrics import per_user
from rerank.systems.fusion import Fusion, fit, standardised
from stages.fuse import main

ALL = ["popularity", "bm25", "cross_encoder"]


def two_halves(users: int = 60, seed: int = 0) -> pd.DataFrame:
    """Two systems that each see half of what a label follows from, and one that sees nothing."""
    generator = np.random.default_rng(seed)
    rows = users * 20
    one, other = generator.normal(size=(2, rows))
    label = (one + other + generator.normal(scale=0.5, size=rows) > 1.5).astype("int32")
    return pd.DataFrame(
        {
            "user_id": np.repeat([f"u{number}" for number in range(users)], 20),
            "book_id": np.tile([f"b{number}" for number in range(20)], users),
            "label": label,
            "score/popularity": generator.normal(size=rows),
            "score/bm25": one,
            "score/cross_encoder": other,
        }
    )


def systems(table: pd.DataFrame) -> dict[str, np.ndarray]:
    names = [name for name in table.columns if name.startswith("score/")]
    return {name.removeprefix("score/"): table[name].to_numpy() for name in names}


def ndcg(table: pd.DataFrame, scores: np.ndarray) -> float:
    return float(per_user(table["user_id"], table["book_id"], table["label"], scores)["ndcg@10"].mean())


def test_scores_are_standardised_within_their_list() -> None:
    values = standardised([1.0, 3.0, 10.0, 10.0, 7.0, 100.0, 8.0], [0, 0, 1, 1, 2, 2, 2])
    assert values[:4].tolist() == [-1, 1, 0, 0]
    assert values[4:].mean() == pytest.approx(0) and values[4:].std() == pytest.approx(1)


def test_what_a_system_cannot_judge_gets_the_mean_of_the_list() -> None:
    values = standardised([1.0, 3.0, -50.0], [0, 0, 0], known=[True, True, False])
    assert values.tolist() == [-1, 1, 0]


@pytest.mark.parametrize("scale", [0.001, 1000])
def test_the_scale_and_the_level_of_a_systems_scores_change_nothing(scale: float) -> None:
    table = two_halves()
    fusion, held_out = fit(table, systems(table))
    moved = table.assign(**{"score/bm25": table["score/bm25"] * scale + 7})
    other, moved_out = fit(moved, systems(moved))
    assert other.weights == pytest.approx(fusion.weights, abs=1e-6)
    np.testing.assert_allclose(moved_out, held_out, atol=1e-6)


def test_two_halves_together_rank_better_than_either_on_readers_who_taught_nothing() -> None:
    validation, test = two_halves(), two_halves(seed=1)
    fusion, held_out = fit(validation, systems(validation))
    single = max(ndcg(test, scores) for scores in systems(test).values())
    assert ndcg(test, fusion.scores(systems(test), numbers(test), is_cold(test))) > single + 0.05
    assert ndcg(validation, held_out) == pytest.approx(fusion.ndcg["fused"], abs=1e-9)
    assert fusion.weights.get("popularity", 0) < 0.2 * fusion.weights["bm25"]
    lost = {name: fusion.ndcg["fused"] - value for name, value in fusion.ndcg["without"].items()}
    assert min(lost["bm25"], lost["cross_encoder"]) > 0.05 and abs(lost["popularity"]) < 0.02


def test_what_is_served_from_the_file_is_what_was_measured_to_the_last_digit(tmp_path: Path) -> None:
    table, other = two_halves(), two_halves(seed=1)
    fusion, _ = fit(table, systems(table))
    write_json(tmp_path / "fusion.json", asdict(fusion))
    stored = read_json(tmp_path / "fusion.json")
    served = Fusion(stored["weights"], stored["text_weights"], stored["ndcg"], stored["penalty"])
    both = [one.scores(systems(other), numbers(other), is_cold(other)) for one in (fusion, served)]
    assert stored["weights"] and both[0].tolist() == both[1].tolist()


def test_labels_of_a_held_out_reader_teach_nothing_about_that_reader() -> None:
    """Random labels have nothing to teach: what is fused is no better than chance by more than noise."""
    table = two_halves(users=30)
    table["label"] = np.random.default_rng(3).permutation(table["label"])
    fusion, _ = fit(table, systems(table))
    assert fusion.ndcg["fused"] < max(ndcg(table, scores) for scores in systems(table).values()) + 0.03


def test_no_weight_is_negative_and_a_system_that_ranks_upside_down_is_left_out() -> None:
    table = two_halves()
    table["score/popularity"] = -table["label"] + table["score/popularity"]
    fusion, _ = fit(table, systems(table))
    assert fusion.weights.keys() == {"bm25", "cross_encoder"} and min(fusion.weights.values()) > 0


def test_where_no_fusion_is_better_the_best_single_system_is_taken() -> None:
    table = two_halves()
    table["score/cross_encoder"] = table["label"] + 0.01 * table["score/bm25"]
    fusion, held_out = fit(table, systems(table))
    assert fusion.weights == {"cross_encoder": 1.0} and fusion.penalty is None
    assert ndcg(table, held_out) == pytest.approx(1)


def with_cold_lists() -> pd.DataFrame:
    """Popularity knows the label of warm books and nothing of cold ones."""
    warm, cold = two_halves(), two_halves(seed=5).assign(**{"score/popularity": 0.0})
    warm["score/popularity"] += 1.5 * warm["label"]
    cold["score/bm25"] += 100
    return pd.concat([warm.assign(cold=False), cold.assign(cold=True)], ignore_index=True)


def test_cold_lists_are_standardised_apart_and_weighed_by_what_needs_no_reader() -> None:
    both = with_cold_lists()
    fusion, held_out = fit(both, systems(both))
    assert fusion.weights["popularity"] > 0.3 and fusion.penalty is not None
    assert fusion.text_weights.keys() == {"bm25", "cross_encoder"}
    assert fusion.text_weights["bm25"] == pytest.approx(fusion.text_weights["cross_encoder"], rel=0.3)
    cold = both["cold"].to_numpy()
    found = fusion.scores(systems(both), numbers(both), cold)
    for values in (found, held_out):
        best = max(ndcg(both[cold], scores[cold]) for scores in systems(both).values())
        assert ndcg(both[cold], values[cold]) > best + 0.05


def test_where_readers_alone_win_cold_books_and_lists_that_they_know_nothing_of_are_ranked_by_texts() -> None:
    both = with_cold_lists()
    both["score/popularity"] = both["label"].where(~both["cold"], 0) + 1e-3 * both["score/bm25"]
    fusion, _ = fit(both, systems(both))
    assert fusion.weights == {"popularity": 1.0} and fusion.penalty is None
    unknown = two_halves(seed=9).assign(**{"score/popularity": 0.0})
    scores = fusion.scores(systems(unknown), numbers(unknown), is_cold(unknown))
    assert ndcg(unknown, scores) > max(ndcg(unknown, values) for values in systems(unknown).values()) + 0.05


def test_the_stage_writes_scores_of_both_splits_and_weights_and_the_same_bytes_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_scores(two_halves(), two_halves(seed=1))
    written = []
    for _ in range(2):
        main(scores=[UNTRAINED, TRAINED], weigh=ALL, fused=Path("fused"), weights=Path("fusion.json"))
        written.append([Path(name).read_bytes() for name in ("fused/validation.parquet", "fused/test.parquet")])
        written[-1].append(Path("fusion.json").read_bytes())
    assert written[0] == written[1]
    weights = json.loads(Path("fusion.json").read_text())
    assert {"bm25", "cross_encoder"} <= weights["weights"].keys() <= {"popularity", "bm25", "cross_encoder"}
    assert "cross-validated over validation readers" in capsys.readouterr().out
    test, fused = two_halves(seed=1), pd.read_parquet("fused/test.parquet")
    assert fused.columns.tolist() == ["user_id", "book_id", "label", "score/fused"]
    expected = Fusion(**weights).scores(systems(test), numbers(test), is_cold(test))
    np.testing.assert_allclose(fused["score/fused"], expected, atol=1e-4)


def test_a_folder_without_validation_or_with_one_system_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_scores(None, score_table())
    with pytest.raises(UserError, match=r"has no validation\.parquet"):
        main(scores=[UNTRAINED, TRAINED], weigh=ALL, fused=Path("fused"), weights=Path("fusion.json"))
    write_scores(score_table(), score_table())
    with pytest.raises(UserError, match="nothing to fuse: only cross_encoder"):
        main(scores=[TRAINED], weigh=ALL, fused=Path("fused"), weights=Path("fusion.json"))
    assert not Path("fused").exists() and not Path("fusion.json").exists()
