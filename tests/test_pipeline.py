"""All seven stages through DVC, on a 20-user table with a tiny random BERT, and the commands that users live in."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from checkout import command, commit, make_checkout, set_params

GENRES = ("space", "crime", "love", "myth")


def table() -> pd.DataFrame:
    rows = []
    for user in range(20):
        for book in range(24):
            text = f"Title: Number {book} | Genres: {GENRES[book % 4]}"
            context = f"Favorite books: The {GENRES[user % 4]} Saga by Nobody"
            rows.append((f"reader {user}", book, context, text, int(book % 4 == user % 4)))
    return pd.DataFrame(rows, columns=["reader", "book_id", "user_ctx", "book_text", "label"])


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, tiny_bert: Callable[..., Path]) -> Path:
    """A checkout on which ``dvc repro`` has run, all results committed."""
    folder = make_checkout(tmp_path_factory.mktemp("project"))
    given = tmp_path_factory.mktemp("given")
    table().to_parquet(given / "pairs.parquet")
    base = str(tiny_bert(given / "base", words=GENRES))
    set_params(
        folder,
        source=str(given / "pairs.parquet"),
        user_column="reader",
        base_model=base,
        bi_encoder=base,
        validation_share=0.2,
        test_share=0.3,
        max_length=32,
        epochs=2,
        eval_every=4,
        bootstrap_samples=100,
        precision="fp32",
        seed=3,
    )
    command(folder, "dvc repro")
    commit(folder, "Run")
    return folder


def outputs(project: Path) -> dict[str, str]:
    """Return path → hash of everything that dvc.lock records as an output."""
    from ruamel.yaml import YAML

    lock = YAML(typ="safe").load(project / "dvc.lock")
    return {out["path"]: out["md5"] for stage in lock["stages"].values() for out in stage["outs"]}


def test_every_output_is_there_and_in_git_or_in_the_cache(project: Path) -> None:
    metrics = json.loads((project / "metrics/test.json").read_text())
    assert list(metrics["systems"]) == ["chance", "popularity", "bm25", "bi_encoder", "cross_encoder"]
    assert json.loads((project / "metrics/data.json").read_text())["raw"]["rows"] == 480
    assert {path.suffix for path in (project / "plots").iterdir()} == {".png", ".csv"}
    assert (project / "models/cross-encoder/README.md").exists()
    assert command(project, "git status --porcelain") == ""
    tracked = command(project, "git ls-files")
    assert "metrics/test.json" in tracked and "plots/ndcg.png" in tracked
    assert "models/cross-encoder/" not in tracked and "data/raw/" not in tracked


def test_nothing_to_do_is_seen_at_once(project: Path) -> None:
    assert "up to date" in command(project, "dvc repro")


def test_stages_run_from_any_directory(project: Path) -> None:
    assert "Running stage '../dvc.yaml:split'" in command(
        project / "src", "dvc repro --force --single-item ../dvc.yaml:split"
    )


def test_running_everything_again_gives_the_same_bytes(project: Path) -> None:
    before = outputs(project)
    command(project, "dvc repro --force")
    assert outputs(project) == before
    assert command(project, "git status --porcelain") == ""


def test_an_experiment_with_another_learning_rate_runs_training_and_what_follows(project: Path) -> None:
    printed = command(project, "dvc exp run -S lr=3e-5")
    assert [stage for stage in ("pull", "base", "sample", "split") if f"Running stage '{stage}'" in printed] == []
    assert [stage for stage in ("train", "evaluate", "plot") if f"Running stage '{stage}'" not in printed] == []
    assert "lr: 3e-05" in (project / "params.yaml").read_text()
    assert "lr" in command(project, "dvc params diff")
    difference = command(project, "dvc metrics diff")
    assert "metrics/training/metrics.json" in difference and "systems.bm25" not in difference
    command(project, "dvc plots diff --out both")
    command(project, "dvc plots show --out one")
    both, one = ((project / folder / "index.html").read_text() for folder in ("both", "one"))
    for title in ("nDCG@10 of every system", "Validation nDCG@10", "ROC"):
        assert title in both and title in one
    assert '"rev": "HEAD"' in both and '"rev": "HEAD"' not in one
    command(project, "rm -r both one")
    assert "cross_encoder" in command(project, "dvc metrics show")
    command(project, "git reset --quiet --hard && dvc checkout")
    assert "up to date" in command(project, "dvc repro")


def test_queued_experiments_run_can_be_compared_and_applied(project: Path) -> None:
    command(project, "dvc exp run --queue -S 'lr=1e-5,2e-5'")
    command(project, "dvc queue start")
    deadline = time.monotonic() + 300
    while (states := command(project, "dvc queue status")).count("Success") < 2:
        assert "Failed" not in states and time.monotonic() < deadline, states
        time.sleep(2)
    experiments = json.loads(command(project, "dvc exp show --json").split("\n", 1)[0])
    (branch,) = [entry for entry in experiments if entry.get("experiments")]
    found = {run["revs"][0]["data"]["params"]["params.yaml"]["data"]["lr"] for run in branch["experiments"]}
    assert {1e-5, 2e-5} <= found
    name = next(
        run["name"]
        for run in branch["experiments"]
        if run["revs"][0]["data"]["params"]["params.yaml"]["data"]["lr"] == 2e-5
    )
    command(project, f"dvc exp apply {name}")
    assert "lr: 2e-05" in (project / "params.yaml").read_text()
    assert "up to date" in command(project, "dvc repro")
    command(project, "git reset --quiet --hard && dvc checkout")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("loss=hinge", "error: params.yaml: loss is 'hinge': give one of binary_cross_entropy, lambda, listnet"),
        ("base_model=no/where", "no/where"),
        ("min_positives=99", "min_positives"),
        ("source=nowhere.parquet", "nowhere.parquet"),
        ("label_column=was_liked", "column 'was_liked' is missing"),
        ("head_lr2=1", "head_lr2"),
    ],
)
def test_a_mistake_is_one_line_and_costs_no_earlier_result(project: Path, change: str, words: str) -> None:
    printed = command(project, f"dvc exp run -S '{change}'", fails=True)
    left = [path for path in project.rglob("*.partial") if ".dvc" not in path.parts]
    command(project, "git reset --quiet --hard && dvc checkout")
    assert "Traceback" not in printed, printed
    assert [line for line in printed.splitlines() if words in line and "error" in line.lower()], printed
    assert left == []
    assert "up to date" in command(project, "dvc status dvc.yaml")
