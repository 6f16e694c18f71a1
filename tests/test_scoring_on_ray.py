"""`python -m rerank --pairs --ray` on a real Ray of two workers; skipped where Ray, an extra, is not installed."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from model_folders import scoring_as

from rerank.cluster import scoring as scoring_on_ray
from rerank.errors import UserError
from rerank.serve import scoring

SOURCE = Path(__file__).parents[1] / "src"
COLUMNS = {"context_column": "user_ctx", "text_column": "book_text", "engine": "torch"}


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder with five parts in pairs/."""
    monkeypatch.chdir(tmp_path)
    for number in range(5):
        path = tmp_path / "pairs" / f"shelf={number % 2}" / f"{number}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        words = np.random.default_rng(number).choice(["dune", "emma", "it", "ulysses"], (30 + number, 4))
        pairs = pd.DataFrame({"user_ctx": [" ".join(row) for row in words], "book_text": words[:, 0]})
        pairs.to_parquet(path)
    return tmp_path


def score_there(cross_encoder: Path, output: str) -> subprocess.CompletedProcess[str]:
    """Run the command with a Ray of its own."""
    arguments = ["--model", cross_encoder, "--pairs", "pairs", "--output", output, "--ray"]
    return subprocess.run(
        [sys.executable, "-m", "rerank", *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        capture_output=True,
        encoding="utf-8",
    )


def test_ray_gives_the_parts_and_scores_of_one_process_and_takes_up_its_job(job: Path, cross_encoder: Path) -> None:
    """As the folder says, here in both orders; and says no more than without Ray."""
    pytest.importorskip("ray")
    model = scoring_as(cross_encoder, job / "model", symmetric=True, task="duplicates")
    scoring.score_pairs("pairs", "here", model_folder=model, **COLUMNS)
    (job / "there/shelf=0").mkdir(parents=True)
    names = [path.relative_to("here") for path in sorted(Path("here").rglob("*.parquet"))]
    assert len(names) == 5
    (job / "there" / names[0]).write_bytes((job / "here" / names[0]).read_bytes())
    time = (job / "there" / names[0]).stat().st_mtime_ns
    result = score_there(model, "there")
    assert result.returncode == 0 and result.stdout == "", result.stderr
    lines = [line for line in result.stderr.replace("\r", "\n").splitlines() if line.strip()]
    told = [line for line in lines if "%|" not in line and "Set ray log level" not in line]
    assert told == ["there: parts finished already: 1 of 5"], result.stderr
    assert (job / "there" / names[0]).stat().st_mtime_ns == time
    for name in names:
        pd.testing.assert_frame_equal(pd.read_parquet("there" / name), pd.read_parquet("here" / name))
    assert not list(Path("there").rglob("*.partial"))


def test_a_mistake_that_a_worker_finds_is_one_line(
    job: Path, cross_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ray = pytest.importorskip("ray")
    monkeypatch.setenv("PYTHONPATH", str(SOURCE))
    # Its workers import torch: the other test has two of them.
    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    pd.DataFrame({"user_ctx": ["a", "c"], "book_text": "b"}).to_parquet("pairs/shelf=0/2.parquet")
    part = Path("pairs/shelf=0/2.parquet")
    content = part.read_bytes()
    start = pq.read_metadata(part).row_group(0).column(0).dictionary_page_offset
    damaged = content[:start] + b"\xff" * 20 + content[start + 20 :]
    monkeypatch.setattr(scoring, "check_parts", lambda *_, **__: part.write_bytes(damaged))
    try:
        with pytest.raises(UserError, match=r"^pairs/shelf=0/2\.parquet: can't be read"):
            scoring.score_pairs("pairs", "there", model_folder=cross_encoder, workers=scoring_on_ray.ON_RAY, **COLUMNS)
    finally:
        ray.shutdown()


def test_without_ray_one_line_says_how_to_get_it(
    job: Path, cross_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"^--ray: Ray is not installed: pip install -r requirements-extras\.txt$"):
        scoring.score_pairs("pairs", "scored", model_folder=cross_encoder, workers=scoring_on_ray.ON_RAY, **COLUMNS)


@pytest.mark.parametrize(
    ("nodes", "workers"),
    [
        ([{"CPU": 16.0}, {"CPU": 4.0}], (20, {"num_gpus": 0, "num_cpus": 1})),
        ([{"CPU": 16.0}, {"CPU": 16.0, "GPU": 2.0}, {"CPU": 12.0, "GPU": 1.0}], (3, {"num_gpus": 1, "num_cpus": 8})),
        ([{"GPU": 4.0}], (4, {"num_gpus": 1, "num_cpus": 0})),
    ],
)
def test_each_gpu_gets_a_worker_and_where_there_is_none_each_cpu(
    nodes: list[dict[str, float]], workers: tuple[int, dict[str, int]]
) -> None:
    class Cluster:
        @staticmethod
        def nodes() -> list[dict[str, object]]:
            return [{"Alive": True, "Resources": node} for node in nodes] + [{"Alive": False, "Resources": {}}]

    assert scoring_on_ray._workers(Cluster) == workers
