"""tasks/movies through DVC, on its sample with a tiny random cross-encoder: what somebody without a network types."""

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest
from checkout import ROOT, command, commit, make_checkout

from rerank.model import encoder as model

SAMPLE = ROOT / "tasks/movies/sample"
SYSTEMS = ["chance", "bm25", "bi_encoder", "cross_encoder"]


def rows(name: str) -> list[dict[str, str]]:
    with (SAMPLE / name).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory, tiny_bert: Callable[..., Path]) -> str:
    """The options of `dvc exp run` for the sample and the tiny models."""
    folder = tmp_path_factory.mktemp("models")
    built = model.build(tiny_bert(folder / "bi-encoder"), max_length=128, dropout=0.0, seed=1)
    built.save_pretrained(str(folder / "cross-encoder"))
    params = {
        "source": "sample/judgments.csv",
        "documents": "sample/documents.csv",
        "base_model": folder / "cross-encoder",
        "max_length": 128,
    }
    shared = {"bi_encoder": folder / "bi-encoder"}
    task = [f"-S {key}={value}" for key, value in params.items()]
    return " ".join([*task, *(f"-S ../../params.yaml:{key}={value}" for key, value in shared.items())])


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory, options: str) -> Iterator[tuple[Path, str]]:
    """The task's folder in a checkout in which the experiment has run, committed, and what the run printed."""
    folder = make_checkout(tmp_path_factory.mktemp("project")) / "tasks/movies"
    printed = command(folder, f"dvc exp run {options}")
    commit(folder, "Run")
    yield folder, printed


def test_the_sample_is_a_small_search_set_with_some_documents_missing() -> None:
    documents, judgments = rows("documents.csv"), rows("judgments.csv")
    assert sum(file.stat().st_size for file in SAMPLE.iterdir()) < 40_000
    assert len({row["id"] for row in documents}) == len(documents) == 60
    assert len({row["keywords"] for row in judgments}) == 12
    assert {row["grade"] for row in judgments} == {"0", "1", "2"}
    assert len({row["doc_id"] for row in judgments} - {row["id"] for row in documents}) == 5


def test_every_system_is_measured_per_query_and_nothing_is_trained(task: tuple[Path, str]) -> None:
    folder, printed = task
    measured = json.loads((folder / "data/evaluation.json").read_text())
    assert list(measured["systems"]) == SYSTEMS
    assert measured["users"] == 12
    assert {"ndcg@10", "mrr@10", "map", "precision@10"} <= measured["systems"]["cross_encoder"].keys()
    assert list(json.loads((folder / "metrics/test.json").read_text())["ndcg@10"]) == SYSTEMS
    assert "p = " in printed and "candidates a second" in printed
    scores = pd.read_parquet(folder / "data/scores/untrained/test.parquet")
    assert scores.columns.tolist()[3:] == ["score/bm25", "score/bi_encoder"]


def test_lost_judgments_are_counted(task: tuple[Path, str]) -> None:
    counts = json.loads((task[0] / "data/judged/counts.json").read_text())
    assert counts["judgments"] == {"rows": 274, "queries": 12, "documents": 65, "relevant": 55}
    assert (counts["dropped"]["without_text"], counts["dropped_relevant"]["without_text"]) == (6, 2)
    assert counts["judged"]["rows"] == 268


def test_the_example_is_shown_best_first_with_its_grades(task: tuple[Path, str]) -> None:
    folder, printed = task
    lines = (folder / "data/example.md").read_text().splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[4:]]
    assert lines[0] == "# vietnam war"
    assert [float(row[1]) for row in cells] == sorted((float(row[1]) for row in cells), reverse=True)
    grades = {row[3]: row[2] for row in cells}
    assert {title for title, grade in grades.items() if grade == "2"} == {
        "Apocalypse Now",
        "Platoon",
        "Full Metal Jacket",
        "The Deer Hunter",
    }
    assert "vietnam war\nrank  score  grade  document" in printed


def test_pictures_and_their_points_are_in_git_and_data_and_models_are_not(task: tuple[Path, str]) -> None:
    folder, _ = task
    tracked = command(folder, "git ls-files").splitlines()
    assert {"metrics/test.json", "plots/test/ndcg.png", "plots/test/ndcg.csv", "dvc.lock"} <= set(tracked)
    assert {Path(name).stem for name in tracked if name.startswith("plots/")} == {
        "ndcg",
        "gain",
        "roc",
        "precision_recall",
        "score_distribution",
    }
    assert [name for name in tracked if name.startswith(("data/", "models/")) and not name.endswith(".gitignore")] == []
    command(folder, "dvc plots show --out shown && rm -r shown")


def test_running_it_again_does_nothing_and_forced_gives_the_same_bytes(task: tuple[Path, str]) -> None:
    folder, _ = task
    assert "up to date" in command(folder, "dvc repro")
    lock = (folder / "dvc.lock").read_bytes()
    command(folder, "dvc repro --force join score_untrained score evaluate plot show")
    assert (folder / "dvc.lock").read_bytes() == lock
    assert command(folder, "git status --porcelain") == ""


def test_another_example_query_scores_nothing_again(task: tuple[Path, str]) -> None:
    folder, _ = task
    printed = command(folder, "dvc exp run -S 'example_query=World War II'")
    assert "Running stage 'show'" in printed and "Running stage 'score" not in printed
    assert "Das Boot" in (folder / "data/example.md").read_text()
    command(folder, "git reset --quiet --hard")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            "document_id_column=tmdb",
            "error: data/raw-documents/pairs.csv: column 'tmdb' is missing (it has id, title, overview)",
        ),
        ("example_query=gardening", "error: params.yaml: example_query is 'gardening', and none of 12 queries is that"),
        ("max_grade=1", "error: data/raw-judgments/pairs.csv: column 'grade' holds 2"),
        ("documents=sample/nowhere.csv", "nowhere.csv"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_the_committed_results(
    task: tuple[Path, str], change: str, words: str
) -> None:
    folder, _ = task
    printed = command(folder, f"dvc exp run -S '{change}'", fails=True)
    assert "Traceback" not in printed, printed
    assert words in printed, printed
    command(folder, "git reset --quiet --hard")
    assert (folder / "metrics/test.json").exists() and (folder / "plots/test/ndcg.png").exists()
