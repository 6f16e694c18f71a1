"""`python -m rerank`, run as a user runs it, on a real cross-encoder of toy size."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from rerank.__main__ import arguments, main, rank, table
from rerank.errors import UserError
from rerank.model import encoder as model
from rerank.serve.scoring import scorer_of

SOURCE = Path(__file__).parents[1] / "src"
USER = "Favorite books: Dune"
CANDIDATES = ["Emma", "Hyperion", "Ringworld", "Persuasion"]


def rerank(*arguments: object, stdin: str = "", folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "rerank", *map(str, arguments)],
        input=stdin,
        check=False,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        capture_output=True,
        encoding="utf-8",
    )


@pytest.fixture(scope="module")
def expected(cross_encoder: Path) -> np.ndarray:
    return model.score(model.load(cross_encoder), [USER] * len(CANDIDATES), CANDIDATES, precision="auto")


def test_equal_scores_keep_the_order_of_the_candidates() -> None:
    assert [row["candidate"] for row in rank(["a", "b", "c", "d"], [0.0, 1.0, 0.0, 1.0], top=None)] == [
        "b",
        "d",
        "a",
        "c",
    ]


def test_the_table_is_aligned_whatever_the_width_of_a_score() -> None:
    assert table(rank(["one", "two"], [-12.5, 3.0], top=None)).splitlines() == [
        "rank     score  candidate",
        "   1    3.0000  two",
        "   2  -12.5000  one",
    ]


def test_a_file_of_candidates_becomes_a_table_best_first(
    cross_encoder: Path, expected: np.ndarray, tmp_path: Path
) -> None:
    file = tmp_path / "candidates.txt"
    file.write_text("\n".join(["\ufeff" + CANDIDATES[0], "", *CANDIDATES[1:], " "]), encoding="utf-8")
    result = rerank("--model", cross_encoder, "--user", USER, file)
    assert result.returncode == 0, result.stderr
    lines = [line.split() for line in result.stdout.splitlines()]
    best_first = [CANDIDATES[number] for number in np.argsort(-expected)]
    assert lines[0] == ["rank", "score", "candidate"]
    assert [candidate for _, _, candidate in lines[1:]] == best_first
    np.testing.assert_allclose([float(score) for _, score, _ in lines[1:]], np.sort(expected)[::-1], atol=1e-4)


def test_standard_input_becomes_json_of_the_best_n(cross_encoder: Path, expected: np.ndarray) -> None:
    result = rerank(
        "--model", cross_encoder, "--user", USER, "--format", "json", "--top", 2, "-", stdin="\r\n".join(CANDIDATES)
    )
    assert result.returncode == 0, result.stderr
    ranked = json.loads(result.stdout)
    assert [row["candidate"] for row in ranked] == [CANDIDATES[number] for number in np.argsort(-expected)[:2]]
    assert [row["rank"] for row in ranked] == [1, 2]


def test_pairs_keep_their_rows_and_columns_and_get_a_score(
    cross_encoder: Path, expected: np.ndarray, tmp_path: Path
) -> None:
    pairs = pd.DataFrame({"reader": USER, "book": CANDIDATES, "label": [0, 1, 1, 0], "noted": [None, "x", None, "y"]})
    pairs["book"] = pairs["book"].astype("category")
    pairs.to_parquet(tmp_path / "in.parquet", index=False)
    result = rerank(
        *("--model", cross_encoder, "--pairs", "in.parquet", "--output", "out.parquet"),
        *("--context-column", "reader", "--text-column", "book"),
        folder=tmp_path,
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
    with pytest.raises(UserError, match=r"^in\.parquet: column 'user_ctx' holds None"):
        main(arguments().parse_args([f"--model={cross_encoder}", "--pairs=in.parquet", "--output=out.parquet"]))
    assert [path.name for path in tmp_path.iterdir()] == ["in.parquet"]


def test_a_missing_model_says_how_to_get_one(tmp_path: Path) -> None:
    result = rerank("--model", "models/none", "--user", USER, "-", stdin="Emma", folder=tmp_path)
    assert result.returncode == 1 and result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert "error: models/none" in line and "dvc repro" in line and "dvc pull" in line


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
    with pytest.raises(UserError) as error:
        main(arguments().parse_args(["--model=models/none", *words]))
    assert culprit in str(error.value) and "\n" not in str(error.value)
    assert not Path("o.parquet").exists()
    assert Path("results/precious.txt").read_text() == "kept"


def test_a_bi_encoder_is_refused_rather_than_given_a_random_head(
    tiny_bert: Callable[..., Path], tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="gives embeddings, not scores"):
        scorer_of(tiny_bert(tmp_path / "bi-encoder"))


def test_help_shows_both_uses(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        arguments().parse_args(["--help"])
    shown = capsys.readouterr().out
    assert "--user" in shown and "--pairs" in shown and "examples:" in shown
