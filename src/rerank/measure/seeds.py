"""How far the seed of training alone moves the result: the noise of training, beside that of the readers.

``python -m rerank.measure.seeds --seeds 1 2 --output data/seeds.json`` runs the pipeline once more a seed as a DVC
experiment in a folder of its own, and writes each system's mean nDCG@10 by seed, the present result's among them.
"""

import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rerank.command import run
from rerank.errors import UserError
from rerank.json_file import read_json, write_json
from rerank.params_file import FILE, read
from rerank.systems.registry import FINE_TUNED, FUSED, SYSTEMS

METRICS = Path("metrics/test.json")
PARAM = "training_seed"
# Values that differ by less are the same: metrics are written with six digits.
ROUNDED = 1e-6
# What `dvc status` says of a file that is not here, and may be in a remote.
MISSING = ("deleted", "not in cache")


def spread(values: Sequence[float]) -> tuple[float, float]:
    """Return the mean and the standard deviation (of a sample) of two values or more."""
    return float(np.mean(values)), float(np.std(values, ddof=1))


def is_of_this_run(values: Sequence[float], now: float) -> bool:
    """Whether the present value is among those of all seeds, which are rounded: else they are of another run."""
    return any(abs(value - now) < ROUNDED for value in values)


def results_are_stale() -> bool:
    """Whether the working tree's results are not what its params, code and data give; what is missing is no change."""
    done = subprocess.run(["dvc", "status", "--json"], check=False, capture_output=True, text=True)
    if done.returncode:
        return True
    states: list[object] = [json.loads(done.stdout or "{}")]
    # Such as {"score": [{"changed deps": {"data/split": "deleted"}}, "changed command"]}.
    while nested := [state for state in states if isinstance(state, dict | list)]:
        inner = [part for state in nested for part in (state.values() if isinstance(state, dict) else state)]
        states = [state for state in states if isinstance(state, str)] + inner
    return any(state not in MISSING for state in states)


def summary(seeds: Mapping[str, Any], now: float) -> list[str]:
    """Return the lines that the report adds: the spread over training seeds.

    Args:
        seeds: what `main` writes.
        now: the fine-tuned model's present nDCG@10: seeds of another run say nothing about this one.
    """
    values = seeds["ndcg@10"]
    if not is_of_this_run(values[FINE_TUNED], now):
        return ["data/seeds.json is of another run: `make seeds` measures the noise of training again"]
    trained = [system for system in ("bi_encoder_tuned", FINE_TUNED, FUSED) if system in values]
    found = {SYSTEMS[system].label: spread(values[system]) for system in trained}
    said = ", ".join(f"{label} {mean:.3f} ({deviation:.3f})" for label, (mean, deviation) in found.items())
    return [f"over {len(values[FINE_TUNED])} seeds of training, mean (deviation): {said}"]


def _experiment(seed: str) -> dict[str, Any]:
    """Run the pipeline with another seed of training, away from the workspace, and return what it measured."""
    name = f"seed-{seed}"
    subprocess.run(["dvc", "exp", "remove", name], check=False, capture_output=True)  # of an earlier time
    if subprocess.run(["dvc", "exp", "run", "--temp", "--name", name, "-S", f"{PARAM}={seed}"], check=False).returncode:
        raise UserError(f"dvc exp run -S {PARAM}={seed} failed, see above: correct it, then repeat")
    shown = subprocess.run(["dvc", "exp", "show", "--json"], check=True, capture_output=True, text=True).stdout
    for entry in json.loads(shown.splitlines()[0]):
        for experiment in entry.get("experiments") or []:
            if experiment["name"] == name:
                return experiment["revs"][0]["data"]["metrics"][str(METRICS)]["data"]
    raise AssertionError(f"experiment {name} ran and is not shown")


def main(*, seeds: list[str], output: Path) -> None:
    """Run an experiment a seed; write OUTPUT."""
    present = str(read(Path(FILE)).get(PARAM))
    for place, seed in enumerate(seeds):
        if not seed.isdecimal():
            raise UserError(f"--seeds {seed}: is no whole number: give some, such as 1 2")
        if seed == present or seed in seeds[:place]:
            raise UserError(f"--seeds {seed}: is trained with already: give another")
    if results_are_stale():
        raise UserError("dvc status: the present result is not of the present params and code: run `dvc repro` first")
    measured = [read_json(METRICS), *(_experiment(seed) for seed in seeds)]
    systems = measured[0]["ndcg@10"]
    write_json(output, {"ndcg@10": {system: [one["ndcg@10"][system] for one in measured] for system in systems}})
    print(*summary(read_json(output), systems[FINE_TUNED]), sep="\n")


if __name__ == "__main__":
    run(main)
