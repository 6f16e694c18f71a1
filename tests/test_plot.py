"""The plot stage: the same pictures and points each time, for each task, and one line for what is missing."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from score_tables import TRAINED, UNTRAINED, pairs_of, score_table, write_params, write_scores, write_split

from rerank.errors import UserError
from rerank.json_file import write_json
from rerank.measure.by_task import MEASURING
from rerank.measure.pictures import by_task
from rerank.systems.registry import SYSTEMS
from rerank.tasks import TASKS
from stages import plot

ROOT = Path(__file__).parents[1]
COLUMNS = {
    "ranking": {
        "ndcg": ["system", "colour", "ndcg@10", "low", "high"],
        "roc": ["system", "colour", "false_positive_rate", "true_positive_rate"],
        "precision_recall": ["system", "colour", "recall", "precision"],
        "score_distribution": ["label", "score", "share", "colour"],
        "gain": ["users_percent", "gain"],
        "cold": ["system", "colour", "ndcg@10", "low", "high"],
        "fusion": ["system", "colour", "weight", "lost"],
        "favourites": ["system", "colour", "favourites", "bin", "users", "ndcg@10", "low", "high"],
    },
    "similarity": {"spearman": ["system", "colour", "spearman", "low", "high"], "predicted": ["label", "predicted"]},
    "duplicates": {
        "f1": ["system", "colour", "f1", "low", "high"],
        "calibration": ["system", "colour", "predicted", "observed", "pairs"],
    },
}


@pytest.fixture(scope="module")
def scores() -> pd.DataFrame:
    """Four systems on 40 warm lists of 50 and 40 cold ones of 9; popularity counts."""
    warm = score_table(users=40, candidates=50, positives=5).assign(cold=False)
    cold = score_table(users=40, candidates=9, positives=2, seed=1).assign(cold=True)
    table = pd.concat([warm, cold.assign(book_id="cold" + cold["book_id"])], ignore_index=True)
    rng = np.random.default_rng(0)
    table["score/popularity"] = rng.poisson(3 + 2 * table["label"]).astype(float)
    return table


FUSION = {
    "weights": {"popularity": 0.2, "cross_encoder": 1.1},
    "ndcg": {
        "fused": 0.6,
        "single": {"cross_encoder": 0.55},
        "without": {"popularity": 0.56, "cross_encoder": 0.2},
    },
    "penalty": 0.1,
}


def write_inputs(scores: pd.DataFrame, *, task: str = "ranking") -> None:
    """Write what the earlier stages leave, below the current folder."""
    write_params(task=task, favourite_pattern=" by ")
    write_scores(scores, scores)
    write_json(Path("evaluation.json"), MEASURING[task].evaluate(scores, scores, max_grade=1, seed=1, samples=50))
    write_json(Path("fusion.json"), FUSION)
    Path("curves").mkdir()
    Path("curves/loss.csv").write_text("step,loss\n10,0.7\n20,0.5\n")
    Path("curves/validation.csv").write_text("step,value\n0,0.2\n10,0.4\n20,0.3\n")


@pytest.fixture
def drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scores: pd.DataFrame) -> None:
    """A folder with everything that the stage reads for a ranking."""
    monkeypatch.chdir(tmp_path)
    write_inputs(scores)


def draw(plots: str = "plots", *, curves: str | None = "curves", weights: str | None = None) -> dict[str, list[str]]:
    """Run the stage; return each CSV file's columns by its name."""
    plot.main(
        split=Path("data/split"),
        scores=[UNTRAINED, TRAINED],
        evaluation=Path("evaluation.json"),
        plots=Path(plots),
        curves=Path(curves) if curves else None,
        weights=Path(weights) if weights else None,
    )
    return {path.stem: pd.read_csv(path).columns.tolist() for path in Path(plots).glob("*.csv")}


def test_plotting_needs_no_torch() -> None:
    code = "import sys, stages.plot; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(ROOT / "src")}, check=True)


def test_every_task_is_drawn() -> None:
    assert by_task.DRAW.keys() == TASKS.keys()


@pytest.mark.parametrize("task", list(COLUMNS))
def test_every_picture_but_the_training_has_its_points_beside_it_with_the_systems_colours(
    task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scores: pd.DataFrame
) -> None:
    monkeypatch.chdir(tmp_path)
    write_inputs(scores if task == "ranking" else scores.drop(columns="cold"), task=task)
    assert draw(weights="fusion.json" if task == "ranking" else None) == COLUMNS[task]
    assert {path.stem for path in Path("plots").glob("*.png")} == COLUMNS[task].keys() | {"training"}
    for path in Path("plots").glob("*.csv"):
        points = pd.read_csv(path)
        if "system" in points:
            assert dict(zip(points["system"], points["colour"], strict=True)) == {
                system: SYSTEMS[system].colour for system in points["system"]
            }


def test_the_same_input_gives_the_same_bytes(drawn: None) -> None:
    written = []
    for name in ("first", "second"):
        draw(name)
        written.append({path.name: path.read_bytes() for path in Path(name).iterdir()})
    assert written[0] == written[1]
    assert not any(b"Matplotlib" in content for content in written[0].values())


def test_without_training_and_favourites_their_pictures_are_missing_and_nothing_else_is(drawn: None) -> None:
    draw("all")
    write_params(task="ranking")
    draw("few", curves=None)
    every, few = ({path.name for path in Path(name).iterdir()} for name in ("all", "few"))
    assert every - few == {"training.png", "favourites.png", "favourites.csv"}


def test_where_no_cold_list_can_be_measured_the_picture_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scores: pd.DataFrame
) -> None:
    monkeypatch.chdir(tmp_path)
    write_inputs(scores[~scores["cold"]])
    assert draw()["cold"] == COLUMNS["ranking"]["cold"] and pd.read_csv("plots/cold.csv").empty
    assert Path("plots/cold.png").stat().st_size > 1000


def test_a_search_set_without_validation_is_drawn(drawn: None) -> None:
    for folder in (UNTRAINED, TRAINED):
        (folder / "validation.parquet").unlink()
    assert draw(curves=None).keys() == COLUMNS["ranking"].keys() - {"fusion"}


@pytest.mark.parametrize("file", ["evaluation.json", "curves/loss.csv", "data/split/test.parquet"])
def test_a_missing_file_is_one_line(drawn: None, file: str) -> None:
    Path(file).unlink()
    with pytest.raises(UserError, match=rf"{file}: no such file: run `dvc repro`"):
        draw()
    assert not Path("plots").exists()


def test_scores_of_another_split_are_refused(drawn: None, scores: pd.DataFrame) -> None:
    write_split(Path("data/split"), test=pairs_of(scores)[::-1])
    with pytest.raises(UserError, match=r"untrained/test\.parquet: row 1 has user_id .* data/split/test\.parquet"):
        draw()


def test_a_curve_without_its_column_is_one_line(drawn: None) -> None:
    Path("curves/validation.csv").write_text("step,ndcg\n0,0.2\n")
    with pytest.raises(UserError, match=r"curves/validation\.csv: has no column 'value'"):
        draw()
