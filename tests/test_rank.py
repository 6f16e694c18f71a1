"""`python -m rerank`, run as a user runs it, on a real cross-encoder of toy size."""

import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from sentence_transformers import CrossEncoder
from torch import nn

from rerank.__main__ import arguments, main, rank, table
from rerank.command import run
from rerank.errors import UserError
from rerank.model.folder import SCORING, Scoring
from rerank.model.ranker import load

SOURCE = Path(__file__).parents[1] / "src"
USER = "Favorite books: Dune"
CANDIDATES = ["Emma", "Hyperion", "Ringworld", "Persuasion"]


@dataclass
class Printed:
    returncode: int
    stdout: str
    stderr: str


def rerank(*words: object, stdin: str = "") -> Printed:
    """What the command does, in this process: starting torch anew takes most of the time of one of its own."""
    out, err = io.StringIO(), io.StringIO()
    code = 0
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
        try:
            run(main, arguments().parse_args(list(map(str, words))))
        except SystemExit as exit:
            print(exit.code, file=sys.stderr)
            code = 1
    return Printed(code, out.getvalue(), err.getvalue())


def rerank_in_a_process(*words: object, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "rerank", *map(str, words)],
        check=False,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        capture_output=True,
        encoding="utf-8",
    )


@pytest.fixture(scope="module")
def expected(cross_encoder: Path) -> np.ndarray:
    """Give the raw scores."""
    return load(cross_encoder).score([USER] * len(CANDIDATES), CANDIDATES)


@pytest.fixture
def ranker(cross_encoder: Path, tmp_path: Path) -> Callable[..., Path]:
    """Give a function that makes a model folder that says how it scores."""

    def make(**how: Any) -> Path:
        folder = tmp_path / "ranker"
        shutil.copytree(cross_encoder, folder)
        Scoring(**{"max_length": 64, "precision": "fp32", **how}).write(folder)
        return folder

    return make


def test_equal_scores_keep_the_order_of_the_candidates() -> None:
    scores = [0.0, 1.0, 0.0, 1.0]
    assert [row["candidate"] for row in rank(["a", "b", "c", "d"], scores, scores, top=None)] == ["b", "d", "a", "c"]


def test_the_raw_scores_decide_the_order_where_a_sigmoid_calls_them_equal() -> None:
    ranked = rank(["a", "b", "c"], [40.0, 41.0, 39.0], [1.0, 1.0, 1.0], top=2)
    assert [(row["rank"], row["score"], row["candidate"]) for row in ranked] == [(1, 1.0, "b"), (2, 1.0, "a")]


def test_the_table_is_aligned_whatever_the_width_of_a_score() -> None:
    assert table(rank(["one", "two"], [-12.5, 3.0], [0.000012345, 0.95], top=None)).splitlines() == [
        "rank      score  candidate",
        "   1       0.95  two",
        "   2  1.234e-05  one",
    ]


def test_a_file_of_candidates_becomes_a_table_best_first(
    cross_encoder: Path, expected: np.ndarray, tmp_path: Path
) -> None:
    file = tmp_path / "candidates.txt"
    file.write_text("\n".join(["\ufeff" + CANDIDATES[0], "", *CANDIDATES[1:], " "]), encoding="utf-8")
    result = rerank_in_a_process("--model", cross_encoder, "--user", USER, file)
    assert result.returncode == 0, result.stderr
    lines = [line.split() for line in result.stdout.splitlines()]
    best_first = [CANDIDATES[number] for number in np.argsort(-expected)]
    assert lines[0] == ["rank", "score", "candidate"]
    assert [candidate for _, _, candidate in lines[1:]] == best_first
    shown = 1 / (1 + np.exp(-np.sort(expected)[::-1]))
    np.testing.assert_allclose([float(score) for _, score, _ in lines[1:]], shown, rtol=1e-3)


def test_standard_input_becomes_json_of_the_best_n(cross_encoder: Path, expected: np.ndarray) -> None:
    result = rerank(
        "--model", cross_encoder, "--user", USER, "--format", "json", "--top", 2, "-", stdin="\r\n".join(CANDIDATES)
    )
    assert result.returncode == 0, result.stderr
    ranked = json.loads(result.stdout)
    assert [row["candidate"] for row in ranked] == [CANDIDATES[number] for number in np.argsort(-expected)[:2]]
    assert [row["rank"] for row in ranked] == [1, 2]


def test_the_scores_are_those_of_cross_encoder_rank(ranker: Callable[..., Path]) -> None:
    folder = ranker(task="ranking")
    result = rerank("--model", folder, "--user", USER, "--format", "json", "-", stdin="\n".join(CANDIDATES))
    assert result.returncode == 0, result.stderr
    theirs = CrossEncoder(str(folder)).rank(USER, CANDIDATES)
    ours = json.loads(result.stdout)
    assert [row["candidate"] for row in ours] == [CANDIDATES[row["corpus_id"]] for row in theirs]
    np.testing.assert_allclose([row["score"] for row in ours], [row["score"] for row in theirs], rtol=1e-3)


def test_a_model_of_similarities_prints_them_as_it_was_measured_in_both_orders(ranker: Callable[..., Path]) -> None:
    folder = ranker(task="similarity", symmetric=True, max_grade=5)
    plain = CrossEncoder(str(folder), max_length=64)
    users, raw = [USER] * len(CANDIDATES), nn.Identity()
    forth = plain.predict(list(zip(users, CANDIDATES, strict=True)), activation_fn=raw)
    back = plain.predict(list(zip(CANDIDATES, users, strict=True)), activation_fn=raw)
    assert np.abs(forth - back).max() > 1e-3
    mean = (forth + back) / 2
    result = rerank("--model", folder, "--user", USER, "--format", "json", "-", stdin="\n".join(CANDIDATES))
    assert result.returncode == 0, result.stderr
    found = {row["candidate"]: row["score"] for row in json.loads(result.stdout)}
    np.testing.assert_allclose([found[text] for text in CANDIDATES], 5 / (1 + np.exp(-mean)), rtol=1e-3)


def test_what_a_folder_says_reaches_the_scores_and_arguments_do_not_override_it(
    ranker: Callable[..., Path], cross_encoder: Path, tmp_path: Path
) -> None:
    """Length, both orders and precision; a folder that says nothing takes what it is given."""
    folder = ranker(max_length=12)
    long = ["one two three four five six seven " * 4] * 2, ["alpha", "beta " * 30]
    short = load(folder, otherwise=Scoring(max_length=64, symmetric=True, precision="fp32")).score(*long)
    silent = shutil.copytree(cross_encoder, tmp_path / "silent")
    (silent / SCORING).unlink()
    for how, same in ((Scoring(max_length=12, precision="fp32"), True), (Scoring(precision="fp32"), False)):
        found = load(silent, otherwise=how).score(*long)
        assert np.allclose(found, short, atol=1e-6) == same, how
    (folder / SCORING).write_text('{"max_length": "many"}')
    with pytest.raises(UserError, match=r"scoring\.json: max_length: .*: get the model again"):
        load(folder)
    (folder / SCORING).write_text("{")
    with pytest.raises(UserError, match=r"scoring\.json: not valid JSON"):
        load(folder)
    Scoring(max_length=1000).write(folder)
    with pytest.raises(UserError, match=r"scoring\.json: max_length is 1000: .* reads 128 tokens at most"):
        load(folder)


def test_pairs_keep_their_rows_and_columns_and_get_a_score(
    cross_encoder: Path, expected: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    pairs = pd.DataFrame({"reader": USER, "book": CANDIDATES, "label": [0, 1, 1, 0], "noted": [None, "x", None, "y"]})
    pairs["book"] = pairs["book"].astype("category")
    pairs.to_parquet(tmp_path / "in.parquet", index=False)
    result = rerank(
        *("--model", cross_encoder, "--pairs", "in.parquet", "--output", "out.parquet"),
        *("--context-column", "reader", "--text-column", "book"),
    )
    assert result.returncode == 0, result.stderr
    scored = pd.read_parquet(tmp_path / "out.parquet")
    pd.testing.assert_frame_equal(scored.drop(columns="score"), pd.read_parquet(tmp_path / "in.parquet"))
    assert pq.read_schema(tmp_path / "out.parquet").field("score").type == "float"
    np.testing.assert_allclose(scored["score"], expected, atol=1e-4)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.parquet", "out.parquet"]


def test_a_text_that_is_null_leaves_no_output(
    cross_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    pd.DataFrame({"user_ctx": [USER, None], "book_text": ["a", "b"]}).to_parquet("in.parquet")
    with pytest.raises(UserError, match=r"^in\.parquet: column 'user_ctx' is null in 1 of 2 rows"):
        main(arguments().parse_args([f"--model={cross_encoder}", "--pairs=in.parquet", "--output=out.parquet"]))
    assert [path.name for path in tmp_path.iterdir()] == ["in.parquet"]


def test_a_missing_model_says_how_to_get_one(tmp_path: Path) -> None:
    result = rerank("--model", tmp_path / "none", "--user", USER, "-", stdin="Emma")
    assert result.returncode == 1 and result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert f"error: {tmp_path}/none" in line and "dvc repro" in line and "dvc pull" in line


@pytest.mark.parametrize(
    ("words", "culprit"),
    [
        (["--user", USER, "blank.txt"], "blank.txt: holds no candidates"),
        (["--user", USER, "none.txt"], "none.txt: no such file"),
        (["--user", USER, "in.parquet"], "in.parquet: is not UTF-8 text"),
        (["--user", USER], "file of candidates"),
        (["--pairs", "none.parquet", "--output", "o.parquet"], "none.parquet: no such file"),
        (["--pairs", "blank.txt", "--output", "o.parquet"], "blank.txt: not a readable parquet file"),
        (["--pairs", "in.parquet"], "--output is missing"),
        (["--pairs", "in.parquet", "--output", "o.parquet", "--user", USER], "leave out --user"),
        (["--pairs", "in.parquet", "--output", "o.parquet"], "column 'book_text' is missing"),
        (["--pairs", "scored.parquet", "--output", "o.parquet"], "column 'score' is there already"),
        (
            ["--pairs", "in.parquet", "--text-column", "text", "--output", "none/o.parquet"],
            "folder none does not exist",
        ),
        (["--pairs", "in.parquet", "--text-column", "text", "--output", "results"], "results: is a folder"),
        *(
            (["--pairs", "in.parquet", "--text-column", "text", "--output", same], f"{same}: is in.parquet itself")
            for same in ("in.parquet", "./in.parquet", "results/../in.parquet", "link.parquet", "hard.parquet")
        ),
    ],
)
def test_a_mistake_is_one_line_that_names_it(
    words: list[str], culprit: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    pd.DataFrame({"user_ctx": [USER], "text": ["Emma"]}).to_parquet("in.parquet")
    pd.DataFrame({"user_ctx": [USER], "book_text": ["Emma"], "score": [1.0]}).to_parquet("scored.parquet")
    Path("blank.txt").write_text("\n")
    Path("results").mkdir()
    Path("results/precious.txt").write_text("kept")
    Path("link.parquet").symlink_to("in.parquet")
    Path("hard.parquet").hardlink_to("in.parquet")
    before = Path("in.parquet").read_bytes()
    with pytest.raises(UserError) as error:
        main(arguments().parse_args(["--model=models/none", *words]))
    assert culprit in str(error.value) and "\n" not in str(error.value)
    assert not Path("o.parquet").exists()
    assert Path("results/precious.txt").read_text() == "kept" and Path("in.parquet").read_bytes() == before


def test_a_bi_encoder_is_refused_rather_than_given_a_random_head(
    tiny_bert: Callable[..., Path], tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="gives embeddings, not scores"):
        load(tiny_bert(tmp_path / "bi-encoder"))


def test_help_shows_both_uses(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        arguments().parse_args(["--help"])
    shown = capsys.readouterr().out
    assert "--user" in shown and "--pairs" in shown and "examples:" in shown and "raw scores" in shown
