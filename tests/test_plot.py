"""The plot stage: the points are right, thin and the same each time, and the pictures say what the metrics say."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import auc, average_precision_score, roc_auc_score

from rerank.errors import UserError
from rerank.measure import figures
from rerank.measure.metrics import METRICS, per_user
from stages import plot

ROOT = Path(__file__).parents[1]
USERS, CANDIDATES = 40, 50


@pytest.fixture(scope="module")
def scores() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    label = np.tile((np.arange(CANDIDATES) < 5).astype("int32"), USERS)
    table = pd.DataFrame({"user_id": np.repeat([f"u{user}" for user in range(USERS)], CANDIDATES), "label": label})
    table.insert(1, "book_id", [f"b{pair}" for pair in range(len(table))])
    table["favourites"] = np.repeat(rng.integers(1, 12, USERS), CANDIDATES).astype("int32")
    table["chance"] = rng.random(len(table))
    table["popularity"] = rng.poisson(3 + 2 * label).astype(float)
    table["cross_encoder"] = rng.normal(2.0 * label)
    return table


@pytest.fixture(scope="module")
def metrics(scores: pd.DataFrame) -> dict:
    def measure(system: str) -> dict:
        values = per_user(scores["user_id"], scores["book_id"], scores["label"], scores[system])
        means = {name: {"mean": m, "low": m - 0.02, "high": m + 0.02} for name, m in values.mean().items()}
        return {name: means[name] for name in METRICS} | {
            "pooled_roc_auc": roc_auc_score(scores["label"], scores[system]),
            "pooled_average_precision": average_precision_score(scores["label"], scores[system]),
        }

    comparison = {
        "baseline": "popularity",
        "ndcg@10_difference": {"mean": 0.3, "low": 0.2, "high": 0.4},
        "p_value": 0.01,
    }
    systems = {system: measure(system) for system in ("chance", "popularity", "cross_encoder")}
    return {"systems": systems, "cross_encoder_vs_best_baseline": comparison}


@pytest.fixture
def files(scores: pd.DataFrame, metrics: dict, tmp_path: Path) -> tuple[Path, Path, Path]:
    """Write what the earlier stages write; return the scores, the metrics and the folder of curves."""
    scores.to_parquet(tmp_path / "test.parquet", index=False)
    (tmp_path / "test.json").write_text(json.dumps(metrics))
    folder = tmp_path / "training/plots/metrics"
    (folder / "train").mkdir(parents=True)
    (folder / "validation").mkdir()
    (folder / "train/loss.tsv").write_text("step\tloss\n10\t0.7\n20\t0.5\n")
    (folder / "validation/ndcg@10.tsv").write_text("step\tndcg@10\n0\t0.2\n10\t0.4\n20\t0.3\n")
    return tmp_path / "test.parquet", tmp_path / "test.json", tmp_path / "training"


def draw(files: tuple[Path, Path, Path], plots: Path) -> None:
    """Run the stage as the root pipeline does."""
    scores, metrics, training = files
    plot.main(scores, metrics, plots, training)


def titles(figure: figures.Figure) -> str:
    return " ".join([figure.get_suptitle(), *(axes.get_title(loc="left") for axes in figure.axes)])


def test_plotting_needs_no_torch() -> None:
    code = "import sys, stages.plot; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(ROOT / "src")}, check=True)


def test_the_same_input_gives_the_same_bytes(files: tuple[Path, Path, Path], tmp_path: Path) -> None:
    for name in ("first", "second"):
        draw(files, tmp_path / name)
    first = {path.name: path.read_bytes() for path in (tmp_path / "first").iterdir()}
    assert first == {path.name: path.read_bytes() for path in (tmp_path / "second").iterdir()}
    assert not any(b"Matplotlib" in content for content in first.values())


def test_every_picture_but_the_training_curves_has_its_points_beside_it(
    files: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    draw(files, tmp_path / "plots")
    names = {ending: {path.stem for path in (tmp_path / "plots").glob(f"*.{ending}")} for ending in ("png", "csv")}
    assert names["png"] == names["csv"] | {"training"}


def test_dvc_draws_only_files_and_columns_that_the_stage_writes(files: tuple[Path, Path, Path], tmp_path: Path) -> None:
    from dvc.utils.serialize import load_yaml

    draw(files, tmp_path / "plots")
    declared = {path: shown for entry in load_yaml(ROOT / "dvc.yaml")["plots"] for path, shown in entry.items()}
    written = {f"plots/{path.name}" for path in (tmp_path / "plots").glob("*.csv")}
    assert {path for path in declared if path.startswith("plots/")} == written
    for path, shown in declared.items():
        file = tmp_path / path.replace("metrics/training/plots", "training/plots")
        columns = set(pd.read_csv(file, sep="\t" if file.suffix == ".tsv" else ",").columns)
        assert {shown["x"], *([shown["y"]] if isinstance(shown["y"], str) else shown["y"])} <= columns
        template = shown.get("template", "linear")
        assert template in ("simple", "linear") or (ROOT / f".dvc/plots/{template}.json").is_file()


def test_dvc_and_the_pictures_give_a_system_the_same_colour() -> None:
    template = json.loads((ROOT / ".dvc/plots/curves.json").read_text())
    scale = template["encoding"]["color"]["scale"]
    assert dict(zip(scale["domain"], scale["range"], strict=True)) == figures.COLOURS


def test_curves_are_thin_and_keep_their_ends_and_their_area(scores: pd.DataFrame, metrics: dict) -> None:
    for system, curve in plot.roc_points(scores).groupby("system"):
        x, y = curve["false_positive_rate"], curve["true_positive_rate"]
        assert len(curve) <= plot.MAX_POINTS
        assert (x.iloc[0], y.iloc[0], x.iloc[-1], y.iloc[-1]) == (0, 0, 1, 1)
        assert auc(x, y) == pytest.approx(metrics["systems"][system]["pooled_roc_auc"], abs=0.005)
    for _, curve in plot.precision_recall_points(scores).groupby("system"):
        assert len(curve) <= plot.MAX_POINTS
        assert curve["recall"].is_monotonic_increasing
        assert curve["recall"].iloc[-1] == 1


def test_precision_and_recall_of_a_worked_example() -> None:
    pairs = pd.DataFrame({"user_id": "u", "book_id": list("abcd"), "label": [1, 0, 2, 0], "favourites": 1})
    points = plot.precision_recall_points(pairs.assign(bm25=[4.0, 3.0, 2.0, 1.0]))
    assert points[["recall", "precision"]].to_numpy().tolist() == [[0.5, 1.0], [0.5, 0.5], [1.0, 2 / 3], [1.0, 0.5]]


def test_the_bins_of_the_scores_hold_all_but_the_outermost_pairs(scores: pd.DataFrame) -> None:
    shares = plot.score_points(scores).groupby("system")[["positives", "negatives"]].sum()
    assert ((shares > 0.9) & (shares <= 1 + 1e-9)).all(axis=None)


def test_counts_get_bins_of_whole_numbers(scores: pd.DataFrame) -> None:
    points = plot.score_points(scores).set_index("system").loc["popularity", "score"]
    assert (points == points.round()).all() and (points.diff().dropna() == 1).all()


def test_scores_that_are_all_the_same_are_drawn_too(scores: pd.DataFrame) -> None:
    assert np.isfinite(plot.score_points(scores.assign(popularity=0.0, chance=0.5))["score"]).all()


def test_gains_are_sorted_and_cover_the_users() -> None:
    points = plot.gain_points(pd.Series([0.2, -0.1, 0.0, 0.5]))
    assert points["gain"].tolist() == [-0.1, 0.0, 0.2, 0.5]
    assert points["users_percent"].tolist() == [12.5, 37.5, 62.5, 87.5]
    assert len(plot.gain_points(pd.Series(np.linspace(-1, 1, 5000)))) <= plot.MAX_POINTS


def test_every_user_is_in_one_bin_of_favourites() -> None:
    ids = [f"u{user}" for user in range(20)]
    favourites = pd.Series([1] * 10 + list(range(2, 12)), index=ids)
    points = plot.favourite_points({"chance": pd.Series(0.5, index=ids)}, favourites)
    assert points["users"].sum() == 20
    assert points["bin"].tolist() == ["1 to 3", "4 to 7", "8 to 11"]
    assert points["favourites"].is_monotonic_increasing
    assert (points[["ndcg@10", "low", "high"]] == 0.5).all(axis=None)


def test_one_number_of_favourites_is_one_bin() -> None:
    ids = ["a", "b", "c"]
    points = plot.favourite_points({"chance": pd.Series([0.1, 0.2, 0.3], index=ids)}, pd.Series(3, index=ids))
    assert points[["bin", "users"]].to_numpy().tolist() == [["3", 3]]
    assert points["ndcg@10"].tolist() == pytest.approx([0.2])


@pytest.mark.parametrize(
    ("low", "high", "finding"), [(0.1, 0.3, "better than"), (-0.3, -0.1, "worse than"), (-0.1, 0.1, "told apart")]
)
def test_the_title_claims_only_what_the_interval_supports(low: float, high: float, finding: str) -> None:
    points = pd.DataFrame([("chance", 0.1, 0.0, 0.2)], columns=["system", "ndcg@10", "low", "high"])
    difference = {"mean": (low + high) / 2, "low": low, "high": high}
    drawn = figures.ndcg(points, comparison={"baseline": "bm25", "ndcg@10_difference": difference})
    assert finding in titles(drawn)


def test_pictures_are_drawn_where_chance_is_the_best_baseline_and_the_list_has_a_user_without_positives(
    scores: pd.DataFrame, metrics: dict
) -> None:
    lonely = scores[scores["user_id"] == "u0"].assign(user_id="lonely", label=0)
    comparison = metrics["cross_encoder_vs_best_baseline"] | {"baseline": "chance"}
    drawn, points = plot.plot(
        pd.concat([scores, lonely], ignore_index=True),
        metrics=metrics | {"cross_encoder_vs_best_baseline": comparison},
    )
    assert points["favourites"].groupby("system")["users"].sum().tolist() == [USERS, USERS]
    assert all(titles(figure) for figure in drawn.values())


def test_a_missing_file_is_one_line(files: tuple[Path, Path, Path], tmp_path: Path) -> None:
    files[1].unlink()
    with pytest.raises(UserError, match=r"test.json: no such file: run `dvc repro`"):
        draw(files, tmp_path / "plots")
    assert not (tmp_path / "plots").exists()


def test_without_training_and_favourites_their_pictures_are_missing_and_nothing_else_is(
    files: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    draw(files, tmp_path / "all")
    pd.read_parquet(files[0]).drop(columns="favourites").to_parquet(files[0], index=False)
    plot.main(*files[:2], tmp_path / "few")
    every, few = ({path.name for path in (tmp_path / name).iterdir()} for name in ("all", "few"))
    assert every - few == {"training.png", "favourites.png", "favourites.csv"}


def test_the_training_curves_are_of_the_metric_that_validation_measured(
    files: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    folder = files[2] / "plots/metrics/validation"
    (folder / "ndcg@10.tsv").unlink()
    (folder / "spearman.tsv").write_text("step\tspearman\n0\t0.2\n10\t0.4\n")
    drawn = plot.training_picture(files[2])
    assert "Validation Spearman correlation is best at step 10: 0.400, from 0.200 at step 0" in titles(drawn)


def test_curves_of_two_metrics_are_refused(files: tuple[Path, Path, Path], tmp_path: Path) -> None:
    (files[2] / "plots/metrics/validation/spearman.tsv").write_text("step\tspearman\n0\t0.2\n")
    with pytest.raises(UserError, match=r"training: needs .*loss\.tsv and one \.tsv file in .*validation: run"):
        draw(files, tmp_path / "plots")
    assert not (tmp_path / "plots").exists()


def test_a_system_that_the_pictures_do_not_know_is_drawn_under_its_own_name(
    scores: pd.DataFrame, metrics: dict
) -> None:
    table = scores.rename(columns={"popularity": "new_system"})
    systems = {name.replace("popularity", "new_system"): values for name, values in metrics["systems"].items()}
    comparison = metrics["cross_encoder_vs_best_baseline"] | {"baseline": "new_system"}
    drawn, _ = plot.plot(table, metrics={"systems": systems, "cross_encoder_vs_best_baseline": comparison})
    assert "the best baseline, new_system" in titles(drawn["ndcg"])
    assert {figures.colour("new_system")}.isdisjoint(figures.COLOURS.values())
