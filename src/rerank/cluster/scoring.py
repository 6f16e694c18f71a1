"""Score the parts of a job on Ray Data: a worker for each GPU or, where there are none, for each CPU.

A worker loads the model once, from a copy that Ray carries to it, and reads and writes its parts itself: folders must
be shared by all machines, buckets need their endpoint and keys in every worker's environment.
"""

import logging
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import rerank
from rerank.errors import UserError
from rerank.model.folder import model_files
from rerank.serve.parts import Part, Recipe
from rerank.serve.scoring import Workers, precision_here, ranker_of, score_part


def _ray() -> Any:
    """Return Ray, connected to the cluster that RAY_ADDRESS names, or to a new one of this machine alone."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    try:
        import ray
        import ray.data
    except ImportError:
        raise UserError("--ray: Ray is not installed: pip install -r requirements-extras.txt") from None
    if not ray.is_initialized():
        code = {"py_modules": [str(Path(rerank.__file__).parent)]}
        ray.init(runtime_env=code, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    ray.data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    return ray


def _workers(ray: Any) -> tuple[int, dict[str, int]]:
    """Return how many workers the cluster has room for, and the CPUs and GPUs of each."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    with_gpu = [node for node in nodes if node.get("GPU", 0) >= 1]
    if with_gpu:
        share = min(int(node.get("CPU", 0) // node["GPU"]) for node in with_gpu)
        return sum(int(node["GPU"]) for node in with_gpu), {"num_gpus": 1, "num_cpus": share}
    return sum(int(node.get("CPU", 0)) for node in nodes), {"num_gpus": 0, "num_cpus": 1}


class _Worker:
    """Scores one part a call; a mistake of the user comes back as text, without the traceback of another machine."""

    def __init__(self, name: str, files: dict[str, bytes], recipe: Recipe, threads: int) -> None:
        import torch

        torch.set_num_threads(max(threads, 1))
        self.recipe = recipe
        self.mistake = ""
        with tempfile.TemporaryDirectory() as folder:
            for file, content in files.items():
                path = Path(folder, file)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            try:
                self.score = ranker_of(Path(folder), recipe).score
            except UserError as error:
                self.mistake = str(error).replace(folder, name)  # the user knows no copy of the model

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        if self.mistake:
            return {"rows": 0, "mistake": self.mistake}
        try:
            return {"rows": sum(score_part(Part(**row), self.recipe, self.score)), "mistake": ""}
        except UserError as error:
            return {"rows": 0, "mistake": str(error)}


def precision_there(engine: str, precision: str) -> str:
    """Return what ``precision`` is for a worker with an engine: all workers take the same.

    Raises:
        UserError: when Ray is not installed.
    """
    ray = _ray()
    _, share = _workers(ray)
    return ray.get(ray.remote(**share)(precision_here).remote(engine, precision))


def score_there(parts: Sequence[Part], recipe: Recipe, folder: Path) -> Iterator[int]:
    """Score the parts on the cluster's workers with the model in ``folder``; yield each part's rows when it is done.

    Raises:
        UserError: when Ray is not installed, or a part has a text that is null.
    """
    ray = _ray()
    count, share = _workers(ray)
    largest_first = sorted(parts, key=lambda part: -part.rows)
    done = ray.data.from_items([vars(part) for part in largest_first], override_num_blocks=len(parts)).map(
        _Worker,
        fn_constructor_args=(
            str(folder),
            {file: (folder / file).read_bytes() for file in model_files(folder)},
            recipe,
            share["num_cpus"],
        ),
        compute=ray.data.ActorPoolStrategy(size=min(count, len(parts)), max_tasks_in_flight_per_actor=1),
        **share,
    )
    for row in done.iter_rows():
        if row["mistake"]:
            raise UserError(row["mistake"])
        yield row["rows"]


ON_RAY = Workers(precision_there, score_there)
