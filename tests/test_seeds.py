"""The noise of training: what the report says of it, and of seeds that belong to another run."""

from pathlib import Path

import pytest

from rerank.errors import UserError
from rerank.measure.seeds import main, spread, summary

SEEDS = {"ndcg@10": {"cross_encoder": [0.5, 0.52, 0.54], "fused": [0.6, 0.61, 0.65], "bm25": [0.4, 0.4, 0.4]}}


def test_the_spread_is_that_of_a_sample() -> None:
    assert spread([1.0, 2.0, 3.0]) == (2.0, 1.0)


def test_the_report_gives_the_spread_of_what_is_trained() -> None:
    assert summary(SEEDS, 0.5) == [
        "over 3 seeds of training, mean (deviation): cross-encoder 0.520 (0.020), fusion 0.620 (0.026)"
    ]


def test_seeds_of_another_run_say_nothing_about_this_one() -> None:
    (line,) = summary(SEEDS, 0.51)
    assert "another run" in line and "make seeds" in line


@pytest.mark.parametrize(
    ("seeds", "words"),
    [
        (["one"], "--seeds one: is no whole number"),
        (["1", "42"], "--seeds 42: is trained with already"),
        (["1", "1"], "--seeds 1: is trained with already"),
    ],
)
def test_a_seed_is_another_whole_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seeds: list[str], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text("training_seed: 42\n")
    with pytest.raises(UserError, match=words):
        main(seeds=seeds, output=Path("seeds.json"))
