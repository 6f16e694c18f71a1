"""`python -m rerank`, run as a user runs it, on a real cross-encoder of toy size."""

import io
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
from model_folders import scoring_as
from scipy.special import expit
from sentence_transformers import CrossEncoder
from torch import nn

from rerank.__main__ import arguments, main, rank, table
from rerank.errors import UserError

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


def ranked_here(
    folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path, candidates: list[str] = CANDIDATES
) -> list[dict]:
    """Return what the command prints as JSON, run in this process."""
    file = tmp_path / "candidates.txt"
    file.write_text("\n".join(candidates), encoding="utf-8")
    capsys.readouterr()
    main(arguments().parse_args([f"--model={folder}", f"--user={USER}", "--format=json", str(file)]))
    return json.loads(capsys.readouterr().out)


def logits(folder: Path, pairs: list[tuple[str, str]]) -> np.ndarray:
    plain = CrossEncoder(str(folder), device="cpu", local_files_only=True)
    return plain.predict(pairs, activation_fn=nn.Identity(), show_progress_bar=False).astype(np.float64)


@pytest.fixture(scope="module")
def ranking(cross_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of rankings, in fp32."""
    return scoring_as(cross_encoder, tmp_path_factory.mktemp("ranking") / "model")


@pytest.fixture(scope="module")
def expected(ranking: Path) -> np.ndarray:
    """The raw scores of `CANDIDATES`."""
    return logits(ranking, [(USER, candidate) for candidate in CANDIDATES])


def steeper(folder: Path, factor: float) -> Path:
    """Multiply the raw scores of a model."""
    model = CrossEncoder(str(folder), device="cpu")
    model[-1].linear.weight.data *= factor
    model[-1].linear.bias.data *= factor
    model.save_pretrained(str(folder), create_model_card=False)
    return folder


def test_equal_scores_keep_the_order_of_the_candidates() -> None:
    scores = [0.0, 1.0, 0.0, 1.0]
    assert [row["candidate"] for row in rank(["a", "b", "c", "d"], scores, scores, top=None)] == ["b", "d", "a", "c"]


def test_the_table_is_aligned_whatever_the_width_of_a_score() -> None:
    assert table(rank(["one", "two"], [-12.5, 3.0], [3.7266e-06, 0.952574], top=None)).splitlines() == [
        "rank      score  candidate",
        "   1     0.9526  two",
        "   2  3.727e-06  one",
    ]


def test_a_file_of_candidates_becomes_a_table_best_first(ranking: Path, expected: np.ndarray, tmp_path: Path) -> None:
    file = tmp_path / "candidates.txt"
    file.write_text("\n".join(["\ufeff" + CANDIDATES[0], "", *CANDIDATES[1:], " "]), encoding="utf-8")
    result = rerank("--model", ranking, "--user", USER, file)
    assert result.returncode == 0, result.stderr
    lines = [line.split() for line in result.stdout.splitlines()]
    best_first = [CANDIDATES[number] for number in np.argsort(-expected)]
    assert lines[0] == ["rank", "score", "candidate"]
    assert [candidate for _, _, candidate in lines[1:]] == best_first
    np.testing.assert_allclose([float(score) for _, score, _ in lines[1:]], expit(np.sort(expected)[::-1]), rtol=1e-3)


def test_standard_input_becomes_json_of_the_best_n(
    ranking: Path, expected: np.ndarray, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("\r\n".join(CANDIDATES).encode())))
    main(arguments().parse_args([f"--model={ranking}", "--user", USER, "--format", "json", "--top", "2", "-"]))
    ranked = json.loads(capsys.readouterr().out)
    assert [row["candidate"] for row in ranked] == [CANDIDATES[number] for number in np.argsort(-expected)[:2]]
    assert [row["rank"] for row in ranked] == [1, 2]


@pytest.mark.parametrize("factor", [1, 60])
def test_a_model_of_rankings_prints_what_plain_sentence_transformers_ranks(
    factor: float, cross_encoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = steeper(scoring_as(cross_encoder, tmp_path / "model"), factor)
    candidates = [*CANDIDATES, "The Old Man and the Sea " * 12, "It"]
    found = ranked_here(folder, capsys, tmp_path, candidates)
    plain = CrossEncoder(str(folder), device="cpu").rank(USER, candidates, show_progress_bar=False)
    assert [row["candidate"] for row in found] == [candidates[row["corpus_id"]].strip() for row in plain]
    np.testing.assert_allclose([row["score"] for row in found], [row["score"] for row in plain], rtol=1e-3)


def test_the_raw_score_orders_what_a_sigmoid_calls_equal(
    cross_encoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = scoring_as(cross_encoder, tmp_path / "model")
    model = CrossEncoder(str(folder), device="cpu")
    model[-1].linear.bias.data += 60
    model.save_pretrained(str(folder), create_model_card=False)
    raw = logits(folder, [(USER, candidate) for candidate in CANDIDATES])
    found = ranked_here(folder, capsys, tmp_path)
    assert {row["score"] for row in found} == {1.0} and raw.min() > 50
    assert [row["candidate"] for row in found] == [CANDIDATES[number] for number in np.argsort(-raw)]
    assert np.argsort(-raw).tolist() != sorted(range(len(raw)))


@pytest.mark.parametrize(("task", "scale"), [("similarity", 5), ("duplicates", 1)])
def test_a_symmetric_model_prints_the_mean_of_both_orders(
    task: str, scale: float, cross_encoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = scoring_as(cross_encoder, tmp_path / "model", symmetric=True, task=task, max_grade=5)
    there, back = (
        logits(folder, pairs)
        for pairs in ([(USER, text) for text in CANDIDATES], [(text, USER) for text in CANDIDATES])
    )
    mean = (there + back) / 2
    assert np.abs(mean - there).max() > 1e-3
    found = ranked_here(folder, capsys, tmp_path)
    assert [row["candidate"] for row in found] == [CANDIDATES[number] for number in np.argsort(-mean)]
    np.testing.assert_allclose([row["score"] for row in found], scale * expit(np.sort(mean)[::-1]), rtol=1e-3)


def test_pairs_keep_their_rows_and_columns_and_get_a_raw_score(
    ranking: Path, expected: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    pairs = pd.DataFrame({"reader": USER, "book": CANDIDATES, "label": [0, 1, 1, 0], "noted": [None, "x", None, "y"]})
    pairs["book"] = pairs["book"].astype("category")
    pairs.to_parquet(tmp_path / "in.parquet", index=False)
    words = ["--pairs=in.parquet", "--output=out.parquet", "--context-column=reader", "--text-column=book"]
    main(arguments().parse_args([f"--model={ranking}", *words]))
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
        (["--user", USER, "--engine=abacus", "candidates.txt"], "no engine is called 'abacus'"),
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
        (
            ["--pairs", "in.parquet", "--text-column", "text", "--output", "in.parquet"],
            "in.parquet: is in.parquet itself",
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
    with pytest.raises(UserError) as error:
        main(arguments().parse_args(["--model=models/none", *words]))
    assert culprit in str(error.value) and "\n" not in str(error.value)
    assert not Path("o.parquet").exists()
    assert Path("results/precious.txt").read_text() == "kept"


@pytest.mark.parametrize("use", ["rank", "pairs"])
def test_a_bi_encoder_is_refused_rather_than_given_a_random_head(
    use: str, tiny_bert: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    tiny_bert(tmp_path / "bi-encoder")
    Path("books.txt").write_text("Emma")
    pd.DataFrame({"user_ctx": [USER], "book_text": ["Emma"]}).to_parquet("in.parquet")
    words = ["--user", USER, "books.txt"] if use == "rank" else ["--pairs=in.parquet", "--output=out.parquet"]
    with pytest.raises(UserError, match=r"^bi-encoder: gives embeddings, not scores"):
        main(arguments().parse_args(["--model=bi-encoder", *words]))
    assert not Path("out.parquet").exists()


def test_a_mistake_is_found_before_torch_is_imported(tmp_path: Path) -> None:
    program = (
        "import sys\nfrom rerank.__main__ import arguments, main\n"
        "try:\n    main(arguments().parse_args(sys.argv[1:]))\n"
        "except Exception as error:\n    print(error, 'torch' in sys.modules)"
    )
    words = ["--model=models/none", "--user=Dune", "-"]
    result = subprocess.run(
        [sys.executable, "-c", program, *words],
        input="Emma",
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        capture_output=True,
        encoding="utf-8",
    )
    assert result.stdout.startswith("models/none: holds no model") and result.stdout.endswith(" False\n")


def test_help_shows_both_uses(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        arguments().parse_args(["--help"])
    shown = capsys.readouterr().out
    assert "--user" in shown and "--pairs" in shown and "examples:" in shown
