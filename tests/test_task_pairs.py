"""The tasks stsb and quora through DVC, on their samples with a tiny random BERT, as a user runs them."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from checkout import command, commit, make_checkout, set_params

PARAMS = {"precision": "fp32"}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, tiny_bert: Callable[..., Path]) -> Path:
    folder = make_checkout(tmp_path_factory.mktemp("project"))
    base = str(tiny_bert(tmp_path_factory.mktemp("given") / "base", words=["man", "woman", "dog", "bread", "kite"]))
    set_params(folder, base_model=base, bi_encoder=base, **PARAMS)
    set_params(folder / "tasks/stsb", source="sample.tsv", epochs=1, eval_every=4, max_length=32)
    changes = {"epochs": 1, "eval_every": 10, "bi_encoder_epochs": 1, "max_length": 32, "max_pairs": 300}
    set_params(folder / "tasks/quora", source="sample.csv", **changes)
    commit(folder, "Try the tasks")
    return folder


def test_stsb_is_a_project_of_its_own_and_runs_again_for_another_learning_rate(project: Path) -> None:
    task = project / "tasks/stsb"
    command(task, "dvc repro")
    measured = json.loads((task / "data/evaluation.json").read_text())
    assert list(measured["systems"]) == ["bi_encoder", "cross_encoder"] and measured["pairs"] == 40
    data = json.loads((task / "data/sampled/counts.json").read_text())
    assert data["raw"]["rows"] == 200 == data["sampled"]["rows"] + sum(data["dropped"].values())
    assert {path.name for path in (task / "plots/test").iterdir()} == {"training.png"} | {
        f"{name}.{kind}" for name in ("spearman", "predicted") for kind in ("png", "csv")
    }
    commit(project, "Run stsb")
    assert "up to date" in command(task, "dvc repro")
    printed = command(task, "dvc exp run -S lr=3e-5")
    assert "Running stage 'train'" in printed and "Running stage 'group'" not in printed
    assert "lr: 3e-05" in (task / "params.yaml").read_text()
    assert "lr" in command(task, "dvc params diff")
    difference = command(task, "dvc metrics diff --all")
    assert "spearman.cross_encoder" in difference and "failed" not in difference
    ranked = command(
        project,
        "printf 'A person is playing a guitar.\\nParis is a city.\\n' | "
        "python -m rerank --model tasks/stsb/models/cross-encoder --user 'A man is playing a guitar.' -",
    )
    scores = [float(line.split()[1]) for line in ranked.splitlines() if line.strip().startswith(("1  ", "2  "))]
    assert len(scores) == 2 and all(0 < score < 5 for score in scores)


def test_quora_compares_four_bi_encoders_with_the_cross_encoder(project: Path) -> None:
    task = project / "tasks/quora"
    command(task, "dvc repro")
    measured = json.loads((task / "data/evaluation.json").read_text())
    tuned = [f"bi_encoder_{loss}" for loss in ("cosine", "contrastive", "ranking")]
    assert list(measured["systems"]) == ["bi_encoder", *tuned, "cross_encoder"]
    data = json.loads((task / "data/sampled/counts.json").read_text())
    assert data["sampled"]["groups"] > 20 and data["dropped"]["beyond_max_pairs"] > 0
    assert {path.name for path in (task / "plots/test").iterdir()} == {"training.png"} | {
        f"{name}.{kind}" for name in ("f1", "calibration") for kind in ("png", "csv")
    }


def test_no_question_stands_in_two_splits(project: Path) -> None:
    import pandas as pd

    texts = {}
    for split in ("train", "validation", "test"):
        pairs = pd.read_parquet(project / f"tasks/quora/data/split/{split}.parquet")
        texts[split] = {*pairs["user_ctx"], *pairs["book_text"]}
    assert all(texts.values())
    assert (
        not texts["train"] & texts["test"] | texts["train"] & texts["validation"] | texts["validation"] & texts["test"]
    )


@pytest.mark.parametrize(
    ("task", "change", "words"),
    [
        ("stsb", "lr2=1", "lr2"),
        ("stsb", "split_column=part", "column 'part' is missing"),
        ("quora", "max_pairs=1", "max_pairs"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_tasks_file_or_key(
    project: Path, task: str, change: str, words: str
) -> None:
    printed = command(project / f"tasks/{task}", f"dvc exp run -S '{change}'", fails=True)
    command(project, "git reset --quiet --hard")
    assert "Traceback" not in printed, printed
    assert [line for line in printed.splitlines() if words in line and "error" in line.lower()], printed


def test_the_samples_are_what_the_script_makes(project: Path) -> None:
    command(project, "rm tasks/stsb/sample.tsv tasks/quora/sample.csv && python tasks/make_samples.py")
    assert command(project, "git status --porcelain tasks/stsb/sample.tsv tasks/quora/sample.csv") == ""


def test_the_projects_own_commands_say_nothing_of_the_tasks(project: Path) -> None:
    for line in ("dvc stage list", "dvc metrics show", "dvc plots show --out shown"):
        printed = command(project, line)
        assert "tasks" not in printed and "group" not in printed, printed
