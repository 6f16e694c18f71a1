"""Ranking with a fusion: the scores that were measured, what is said of what is not known, and the folder."""

import io
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import score_tables
import test_coreading

from rerank.__main__ import arguments
from rerank.__main__ import main as rerank
from rerank.errors import UserError
from rerank.json_file import write_json
from rerank.serve.fused import FusedRanker
from rerank.systems.fusion import Fusion
from rerank.systems.registry import sources
from rerank.systems.scoring import score
from stages.coreading import main as coreading
from stages.ranker import main as make

TEXT_WEIGHTS = {"bi_encoder": 0.9, "cross_encoder": 0.4}
WEIGHTS = {"popularity": 0.3, "item_knn": 1.0, "bi_encoder": 0.5, "cross_encoder": 0.7}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, cross_encoder: Path, tiny_bert: Callable[..., Path]) -> Path:
    """A folder in which the stages before this one have run, and this one."""
    return write_ranker(tmp_path_factory.mktemp("fused"), cross_encoder, tiny_bert)


def write_ranker(folder: Path, cross_encoder: Path, tiny_bert: Callable[..., Path]) -> Path:
    """Run the stages up to this one in a folder, and return it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("DVC_STAGE", raising=False)
        test_coreading.write_project()
        coreading(
            split=Path("split"), sampled=Path("sampled"), coreading=Path("coreading"), teacher=Path("teacher.parquet")
        )
        popularity = (
            test_coreading.liked()["book_id"].value_counts().rename_axis("book_id").reset_index(name="positives")
        )
        popularity.to_parquet("popularity.parquet", index=False)
        tiny_bert(folder / "bi-encoder")
        write_json(Path("fusion.json"), {"weights": WEIGHTS, "text_weights": TEXT_WEIGHTS, "ndcg": {}, "penalty": 0.1})
        score_tables.write_params(max_length=64, precision="fp32")
        make(
            weights=Path("fusion.json"),
            coreading=Path("coreading"),
            systems=[*given(cross_encoder), "ease=coreading"],
            ranker=Path("ranker"),
        )
    return folder


def given(cross_encoder: Path) -> list[str]:
    return [
        "popularity=popularity.parquet",
        "item_knn=coreading",
        "bi_encoder=bi-encoder",
        f"cross_encoder={cross_encoder}",
    ]


def test_the_scores_are_those_that_the_pipeline_measures(
    folder: Path, cross_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    for cold in (False, True):
        pairs = test_coreading.lists(["t"], [4], cold=cold)
        pairs = pairs.assign(
            book_text=pairs["book_id"].map(test_coreading.catalogue().set_index("book_id")["book_text"])
        )
        measured = score(pairs, sources(given(cross_encoder)), max_length=64, precision="fp32")
        lists = np.zeros(len(pairs), dtype=int)
        unmeasured = {name: np.zeros(len(pairs)) for name in WEIGHTS} | measured
        expected = Fusion(WEIGHTS, TEXT_WEIGHTS, {}, None).scores(unmeasured, lists, np.full(len(pairs), cold))
        found = FusedRanker(Path("ranker")).rank(pairs["user_ctx"].iloc[0], pairs["book_text"].tolist())
        np.testing.assert_allclose(found.scores, expected, atol=1e-4)
        assert np.ptp(expected) > 0.1


def test_a_cold_or_unknown_candidate_is_neither_helped_nor_hurt_by_what_readers_know(folder: Path) -> None:
    context, known = "Favorite books: Book 4", [f"Title: Book {n} | and more" for n in range(4)]
    alone = FusedRanker(folder / "ranker").rank(context, known)
    more = FusedRanker(folder / "ranker").rank(context, [*known, "Title: Book 11 | and more", "Title: Never heard of"])
    assert alone.words == ["scores: 1.00 item-kNN, 0.70 cross-encoder, 0.50 bi-encoder, 0.30 popularity"]
    assert more.words[1:] == ["2 of 6 candidates have no known readers: 0.90 bi-encoder, 0.40 cross-encoder"]
    assert np.isfinite(more.scores).all()


def test_a_reader_without_a_known_favourite_gets_what_the_other_systems_say(folder: Path) -> None:
    found = FusedRanker(folder / "ranker").rank("likes cooking", [f"Title: Book {n} | and more" for n in range(4)])
    assert found.words[1:] == ["no favourite of the reader is in the catalogue: item-kNN say nothing"]
    assert np.ptp(found.scores) > 0


def test_one_candidate_and_an_empty_catalogue_are_ranked_too(folder: Path, tmp_path: Path) -> None:
    assert FusedRanker(folder / "ranker").rank("Favorite books: Book 4", ["Title: Book 1"]).scores.tolist() == [0]
    empty = shutil.copytree(folder / "ranker", tmp_path / "ranker")
    for table in ("catalogue", "books", "item_knn"):
        path = empty / f"coreading/{table}.parquet"
        pd.read_parquet(path).iloc[:0].to_parquet(path)
    found = FusedRanker(empty).rank("Favorite books: Book 4", ["Title: Book 1", "Title: Book 2"])
    assert "2 of 2 candidates have no known readers" in found.words[-1] and np.ptp(found.scores) > 0


@pytest.mark.parametrize(
    "texts", [["!", "?", "..."], ["\U0001f600", "\U0001f601"], ["\u4e00", "\u4e8c"], ["\u200b"] * 2]
)
def test_candidates_without_one_word_are_ranked_too(folder: Path, texts: list[str]) -> None:
    for context in ("Favorite books: Book 4", "\U0001f602"):
        found = FusedRanker(folder / "ranker").rank(context, texts)
        assert found.scores.shape == (len(texts),) and np.isfinite(found.scores).all()


def test_a_fusion_of_readers_alone_ranks_by_texts_where_they_know_nothing(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "ranker", tmp_path / "ranker")
    content = json.loads((tmp_path / "ranker/ranker.json").read_text())
    write_json(tmp_path / "ranker/ranker.json", {**content, "weights": {"item_knn": 1.0}}, exact=True)
    texts = [f"Title: Book {n} | and more" for n in range(4)]
    assert np.ptp(FusedRanker(tmp_path / "ranker").rank("likes cooking", texts).scores) > 0


def run(*words: object, capsys: pytest.CaptureFixture[str]) -> tuple[list[dict], str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"Title: Book 1\nTitle: Book 2\nTitle: Other")))
        rerank(arguments().parse_args([*map(str, words), "--format", "json", "-"]))
    printed = capsys.readouterr()
    return json.loads(printed.out), printed.err


def test_the_command_ranks_with_the_fusion_and_says_so_or_with_one_system_alone(
    folder: Path, cross_encoder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    user = ["--user", "Favorite books: Book 4"]
    ranked, words = run("--model", folder / "ranker", *user, capsys=capsys)
    assert ranked[0]["candidate"] == "Title: Book 2" and "1.00 item-kNN" in words
    only, words = run("--model", folder / "ranker", "--only", "cross_encoder", *user, capsys=capsys)
    plain, _ = run("--model", cross_encoder, *user, capsys=capsys)
    assert only == plain != ranked and "item-kNN" not in words


def test_a_reader_is_told_as_the_training_contexts_were_and_a_lone_model_says_how(
    folder: Path, cross_encoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = shutil.copytree(folder / "ranker", tmp_path / "ranker")
    catalogue = pd.read_parquet(told / "coreading/catalogue.parquet")
    catalogue.assign(part=catalogue["book_id"].map({"b4": "more"})).to_parquet(told / "coreading/catalogue.parquet")
    model = shutil.copytree(cross_encoder, tmp_path / "model")
    plain, more = ["--user", "Favorite books: Book 4"], ["--user", "Favorite books: Book 4 (more)"]
    for only in ([], ["--only", "cross_encoder"]):
        ours, _ = run("--model", told, *only, *plain, capsys=capsys)
        assert ours == run("--model", folder / "ranker", *only, *more, capsys=capsys)[0]
        assert ours != run("--model", folder / "ranker", *only, *plain, capsys=capsys)[0]
    write_json(model / "training.json", {"params": {"favourite_parts": "Genres: (.+)"}, "cut_pairs": 0.0})
    assert "with 'Genres: (.+)' of each favourite's text in brackets" in run("--model", model, *plain, capsys=capsys)[1]


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["--model", "RANKER", "--pairs", "p.parquet", "--output", "o.parquet"], "--pairs: a fusion ranks whole lists"),
        (
            ["--model", "RANKER", "--only", "bm25", "--user", "u", "c"],
            "only cross_encoder ranks alone",
        ),
        (["--model", "MODEL", "--only", "cross_encoder", "--user", "u", "c"], "is one system: leave it out"),
    ],
)
def test_what_a_fusion_cannot_do_is_one_line(folder: Path, cross_encoder: Path, words: list[str], error: str) -> None:
    paths = {"RANKER": str(folder / "ranker"), "MODEL": str(cross_encoder)}
    with pytest.raises(UserError, match=error):
        rerank(arguments().parse_args([paths.get(word, word) for word in words]))


def test_the_stage_copies_what_is_weighed_alone_and_the_same_bytes_again(
    folder: Path, cross_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)

    def files() -> dict[str, bytes]:
        return {str(path): path.read_bytes() for path in Path("ranker").rglob("*") if path.is_file()}

    before = files()
    paths = {"weights": Path("fusion.json"), "coreading": Path("coreading"), "ranker": Path("ranker")}
    make(**paths, systems=given(cross_encoder))
    assert files() == before and "ranker/popularity" in before
    for systems in (["popularity=popularity.parquet"], ["bm25"]):
        with pytest.raises(UserError, match=r"fusion\.json: weighs .*item_knn, .*of which --systems names no file"):
            make(**paths, systems=systems)
    assert files() == before
