"""All stages through DVC, on a 20-user table with a tiny random BERT, and the commands that users live in."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from checkout import command, commit, make_checkout, set_params
from ruamel.yaml import YAML
from workflow import run_job, runner

MAKE = "make --no-print-directory --old-file=environment VENV=$(dirname $(dirname $(which python)))"
GENRES = ("space", "crime", "love", "myth")
STAGES = YAML(typ="safe").load(Path(__file__).parent.parent / "dvc.yaml")["stages"]
AFTER_LR = {
    "train",
    "score",
    "fuse",
    "evaluate",
    "plot",
    "card",
    "ranker",
}  # what sees the same scores does not run again


def table() -> pd.DataFrame:
    rows = []
    for user in range(20):
        for book in range(24):
            text = f"Title: Number {book} | Genres: {GENRES[book % 4]}"
            genre = GENRES[user % 4]
            context = f"Favorite books: Number {user % 4} by Nobody ({genre}); The {genre} Saga {user} by Nobody"
            rows.append((f"reader {user}", book, context, text, int(book % 4 == user % 4)))
    return pd.DataFrame(rows, columns=["reader", "book_id", "user_ctx", "book_text", "label"])


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, tiny_bert: Callable[..., Path]) -> Path:
    """A checkout on which ``dvc repro`` has run, all results committed."""
    folder = make_checkout(tmp_path_factory.mktemp("project"))
    given = tmp_path_factory.mktemp("given")
    # No shell sees the name, and no engine takes it for a pattern.
    source = given / "pairs $(touch RAN) it's [1].parquet"
    table().to_parquet(source)
    base = str(tiny_bert(given / "base", words=GENRES))
    set_params(
        folder,
        source=str(source),
        user_column="reader",
        base_model=base,
        bi_encoder=base,
        cold_books_share=0.3,
        validation_share=0.2,
        test_share=0.3,
        max_length=32,
        epochs=2,
        eval_every=4,
        precision="fp32",
        seed=3,
    )
    command(folder, "dvc repro")
    commit(folder, "Run")
    return folder


def outputs(project: Path) -> dict[str, str]:
    """Return path → hash of everything that dvc.lock records as an output."""
    lock = YAML(typ="safe").load(project / "dvc.lock")
    return {out["path"]: out["md5"] for stage in lock["stages"].values() for out in stage["outs"]}


def go_back(project: Path) -> None:
    """Return to the last commit, as the README says."""
    command(project, "git reset --quiet --hard && dvc checkout --quiet")


def test_every_output_is_there_and_in_git_or_in_the_cache(project: Path) -> None:
    measured = json.loads((project / "metrics/test.json").read_text())
    headlines = {"item_knn", "bi_encoder_tuned", "cross_encoder", "fused"}
    assert set(measured["ndcg@10"]) == headlines
    assert set(json.loads((project / "data/evaluation.json").read_text())["cold"]["systems"]) > headlines
    assert json.loads((project / "data/sampled/counts.json").read_text())["raw"]["rows"] == 480
    assert {path.suffix for path in (project / "plots/test").iterdir()} == {".png", ".csv"}
    assert (project / "models/cross-encoder.md").exists()
    assert not [path for path in project.rglob("RAN") if ".dvc" not in path.parts]
    assert command(project, "git status --porcelain") == ""
    tracked = command(project, "git ls-files")
    assert "metrics/test.json" in tracked and "plots/test/ndcg.png" in tracked
    assert "models/cross-encoder" not in tracked and "data/raw/" not in tracked


def test_the_metrics_fit_a_screen_and_read_by_themselves(project: Path) -> None:
    values = {
        f"{file.stem}.{key}": value
        for file in (project / "metrics").glob("*.json")
        for key, value in pd.json_normalize(json.loads(file.read_text())).iloc[0].items()
    }
    assert len(values) <= 12, values
    some = {"data.rows", "data.users", "test.ndcg@10.fused", "test.cold_ndcg@10", "test.gain", "test.p"}
    assert some <= set(values)
    shown = command(project, "dvc metrics show")
    assert max(map(len, shown.splitlines())) <= 190 and "failed" not in shown, shown


def test_nothing_to_do_is_seen_at_once_from_any_directory(project: Path) -> None:
    assert "up to date" in command(project / "src", "dvc repro ../dvc.yaml")


def test_an_experiment_runs_training_and_what_follows_and_going_back_runs_nothing(project: Path) -> None:
    printed = command(project, "dvc exp run -S lr=3e-5")
    ran = {stage for stage in STAGES if f"Running stage '{stage}'" in printed}
    assert {"train", "score", "card"} <= ran <= AFTER_LR
    assert "lr: 3e-05" in (project / "params.yaml").read_text()
    assert "lr" in command(project, "dvc params diff")
    difference = command(project, "dvc metrics diff --all")
    assert "ndcg@10.cross_encoder" in difference and "failed" not in difference
    command(project, "dvc plots diff --out both")
    command(project, "dvc plots show --out one")
    both, one = ((project / folder / "index.html").read_text() for folder in ("both", "one"))
    for title in ("nDCG@10 of every system", "Validation", "ROC"):
        assert title in both and title in one
    assert '"rev": "HEAD"' in both and '"rev": "HEAD"' not in one
    printed = command(project, f"{MAKE} report BASE=HEAD; true")
    assert "nDCG@10" in printed and "report/report.md" in printed and "lacks" not in printed, printed
    page = (project / "report/report.md").read_text()
    assert all(words in page for words in ("## Params", "| lr ", "| train ", "xychart-beta", "## Systems")), page
    command(project, "rm -r both one report && git checkout --quiet params.yaml")
    printed = command(project, "dvc repro")
    assert {stage for stage in STAGES if f"Stage '{stage}' is cached - skipping run" in printed} == ran
    assert "Running stage" not in printed
    before = outputs(project)
    command(project, "rm dvc.lock")
    printed = command(project, "dvc repro")
    assert {stage for stage in STAGES if f"Stage '{stage}' is cached - skipping run" in printed} == set(STAGES)
    assert outputs(project) == before
    go_back(project)


def test_queued_experiments_run_can_be_compared_and_applied(project: Path) -> None:
    command(project, "dvc exp run --queue -S 'lr=1e-5,2e-5'")
    command(project, "dvc queue start")
    deadline = time.monotonic() + 300
    while (states := command(project, "dvc queue status")).count("Success") < 2:
        assert "Failed" not in states and time.monotonic() < deadline, states
        time.sleep(2)
    experiments = json.loads(command(project, "dvc exp show --json").split("\n", 1)[0])
    (branch,) = [entry for entry in experiments if entry.get("experiments")]
    rates = {
        run["revs"][0]["data"]["params"]["params.yaml"]["data"]["lr"]: run["name"] for run in branch["experiments"]
    }
    assert {1e-5, 2e-5} <= set(rates)
    shown = command(project, f"{MAKE} experiments")
    assert rates[1e-5] in shown and "cross_encoder" in shown and max(map(len, shown.splitlines())) <= 200, shown
    command(project, f"dvc exp apply {rates[2e-5]}")
    assert "lr: 2e-05" in (project / "params.yaml").read_text()
    assert "up to date" in command(project, "dvc repro")
    go_back(project)


def test_another_seed_of_training_changes_what_is_trained_alone_and_leaves_the_workspace(project: Path) -> None:
    printed = command(project, f"{MAKE} seeds SEEDS=7")
    assert "over 2 seeds of training, mean" in printed and "cross-encoder" in printed
    seeds = json.loads((project / "data/seeds.json").read_text())["ndcg@10"]
    assert seeds["cross_encoder"][0] != seeds["cross_encoder"][1] and len(set(seeds["item_knn"])) == 1
    (changed,) = command(project, "git status --porcelain").splitlines()
    assert changed.endswith(" data/seeds.json")
    assert "over 2 seeds of training" in command(project, f"{MAKE} repro")
    command(project, "git add --all && git reset --quiet --hard")


@pytest.fixture(scope="module")
def remote(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's DVC remote, a folder, to which all of main is pushed."""
    folder = tmp_path_factory.mktemp("remote")
    command(project, f"dvc remote add --quiet --default storage {folder}")
    commit(project, "Name the remote")
    command(project, "dvc push --quiet --run-cache")
    return folder


def pull_request(project: Path, clone: Path, *, lr: str, run: bool) -> Path:
    """Return a checkout of a pull request that changes lr, as GitHub would merge it; with its results, or without."""
    name = f"lr-{lr}"
    command(project, f"git checkout --quiet -b {name} main")
    set_params(project, lr=float(lr))
    if run:
        command(project, "dvc repro && dvc push --quiet")
    commit(project, name)
    return merged(project, name, clone)


def merged(project: Path, branch: str, clone: Path) -> Path:
    """Return a checkout of a branch of the project as GitHub would merge it into main, to which the project returns."""
    command(project, f"git checkout --quiet -b {branch}-merged main && git merge --quiet --no-ff --no-edit {branch}")
    command(project.parent, f"git clone --quiet --depth 2 --branch {branch}-merged file://{project} {clone}")
    command(project, "git checkout --quiet main && dvc checkout --quiet")
    return clone


EXPRESSIONS = {
    "runner.environment == 'github-hosted' && 'https://download.pytorch.org/whl/cpu' || ''": "",
    "secrets.CACHE_READ_KEY_ID": "",
    "secrets.CACHE_READ_KEY": "",
}


@pytest.mark.parametrize(("lr", "run"), [("3e-5", True), ("5e-5", False)])
def test_the_workflow_of_a_pull_request_runs_what_changed_and_reports_it(
    project: Path, remote: Path, tmp_path: Path, lr: str, run: bool
) -> None:
    clone = pull_request(project, tmp_path / "clone", lr=lr, run=run)
    env = runner(clone, tmp_path / "summary")
    code, printed = run_job("report", clone, env, EXPRESSIONS)
    ran = {stage for stage in STAGES if f"Running stage '{stage}'" in printed}
    assert ran == set() if run else {"train", "score", "card"} <= ran <= AFTER_LR, printed
    assert "The fusion" in printed and "lacks" not in printed and "not of its params" not in printed, printed
    assert code == ("broken: " in printed)
    page = (clone / "report/report.md").read_text()
    assert "| train " in page and f"| {float(lr)}" in page and (tmp_path / "summary").read_text() == page
    assert ("https://example.org/owner/name/blob/" in page) == run, "only pictures in a commit can be linked"
    assert (clone / "report/index.html").stat().st_size > 10_000
    if run:
        assert not (clone / "models/cross-encoder").exists(), "nothing ran, so no model is needed"


def test_the_workflow_of_a_fork_without_the_cache_runs_everything_and_gives_the_same_bytes(
    project: Path, remote: Path, tmp_path: Path
) -> None:
    command(project, "git checkout --quiet -b words main && echo More. >> README.md")
    commit(project, "Say more")
    clone = merged(project, "words", tmp_path / "clone")
    command(clone, "dvc remote remove storage")
    before = outputs(clone)
    code, printed = run_job("report", clone, runner(clone, tmp_path / "summary"), EXPRESSIONS)
    ran = {stage for stage in STAGES if f"Running stage '{stage}'" in printed}
    # A parquet file of pairs is its own conversion, which the cache has as soon as it is pulled; Git has the pictures.
    assert ran == set(STAGES) - {"convert", "plot"} and "::notice::The DVC remote is out of reach" in printed, printed
    command(clone, "dvc repro --force --single-item plot")
    assert outputs(clone) == before
    assert command(clone, "git diff --name-only") == ".dvc/config\n", "Git's own outputs are the same, too"
    assert code == 0 and "**The fusion is the same**" in (tmp_path / "summary").read_text(), printed


def test_a_merge_conflict_is_settled_in_params_alone(project: Path) -> None:
    for lr in ("2e-5", "4e-5"):
        command(project, f"git checkout --quiet -b mine-{lr} main")
        set_params(project, lr=float(lr))
        command(project, "dvc repro")
        commit(project, lr)
    conflict = command(project, "git merge --no-edit mine-2e-5", fails=True)
    assert all(f"Merge conflict in {name}" in conflict for name in ("params.yaml", "dvc.lock"))
    command(project, "git checkout --theirs params.yaml")
    command(project, "git checkout --ours dvc.lock metrics plots")
    printed = command(project, "dvc repro")
    assert "Running stage" not in printed and "Stage 'train' is cached - skipping run" in printed
    command(project, "git add --all && git commit --quiet --no-edit")
    assert "<<<<<<<" not in command(
        project, "git grep --cached --heading . -- dvc.lock params.yaml metrics plots/*.csv"
    )
    assert command(project, "git diff --stat mine-2e-5") == "" and "up to date" in command(project, "dvc status")
    command(project, "git checkout --quiet main && dvc checkout --quiet")


def test_a_release_is_found_by_its_name_version_and_stage(project: Path, remote: Path, tmp_path: Path) -> None:
    command(project, "gto register ranker --version v1.0.0 && gto assign ranker --version v1.0.0 --stage production")
    shown = command(project, "gto show ranker")
    assert "v1.0.0" in shown and "production" in shown
    wanted = {"deployed": "ranker --stage production", "old": "ranker --rev v1.0.0", "newest": "ranker"}
    for out, words in wanted.items():
        command(tmp_path, f"dvc artifacts get {project} {words} --out {out}")
        made = project / "models" / words.split()[0]
        files = {path.relative_to(made) for path in made.rglob("*") if path.is_file()}
        assert files and all((tmp_path / out / file).read_bytes() == (made / file).read_bytes() for file in files)
    reader = "--user 'Favorite books: Number 1 by Nobody' data/demo/candidates.txt"
    ranked = command(project, f"PYTHONPATH=src python -m rerank --model {tmp_path / 'deployed'} {reader}")
    assert len(ranked.splitlines()) > 3


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
    go_back(project)
    assert "Traceback" not in printed, printed
    assert [line for line in printed.splitlines() if words in line and "error" in line.lower()], printed
    assert left == []


def test_after_the_mistakes_nothing_is_to_do(project: Path) -> None:
    assert "up to date" in command(project, "dvc status")
