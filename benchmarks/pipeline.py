"""Measure the demo pipeline from an empty cache, and `dvc repro` with nothing to do against `dvc --version`.

The same `dvc repro` in a project of one stage says how much of it is DVC's own start.

    python benchmarks/pipeline.py              # one whole run, three of the short commands
    python benchmarks/pipeline.py --repeats 3  # three whole runs

Runs in a clone of the last commit in a temporary folder. Fails when the pipeline changes the committed metrics by more
than rounding does, or when a second `dvc repro` runs a stage.
"""

import argparse
import json
import math
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
# Other processors and numbers of threads round differently, and training amplifies it.
TOLERANCE = 0.05


def run(folder: Path, line: str) -> tuple[float, str]:
    """Return the seconds of a command and what it prints; exits when it fails."""
    start = time.perf_counter()
    done = subprocess.run(line, shell=True, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"error: {line}: exit code {done.returncode}\n{(done.stdout + done.stderr)[-3000:]}")
    return time.perf_counter() - start, done.stdout + done.stderr


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=1, help="whole runs; the median is reported")
    given = parser.parse_args()
    whole: list[float] = []
    print(f"{platform.processor() or platform.machine()}, {platform.system()}")
    for _ in range(given.repeats):
        with tempfile.TemporaryDirectory() as folder:
            clone = Path(folder, "clone")
            run(ROOT, f"git clone --quiet . {clone}")
            expected = json.loads((clone / "metrics/test.json").read_text())
            whole.append(run(clone, "dvc repro --force")[0])
            found = json.loads((clone / "metrics/test.json").read_text())
            for system, mean in expected["ndcg@10"].items():
                if not math.isclose(found["ndcg@10"][system], mean, abs_tol=TOLERANCE):
                    sys.exit(f"error: nDCG@10 of {system} is {found['ndcg@10'][system]}, and {mean} in the commit")
            least = Path(folder, "least")
            least.mkdir()
            run(least, "git init --quiet && dvc init --quiet")
            (least / ".dvc/config").write_text((ROOT / ".dvc/config").read_text())
            (least / "dvc.yaml").write_text("stages: {one: {cmd: echo 1 > out, outs: [out]}}")
            run(least, "dvc repro")
            repro, version, small = [], [], []
            for _ in range(3):
                seconds, printed = run(clone, "dvc repro")
                if "Running stage" in printed:
                    sys.exit(f"error: a second dvc repro ran a stage:\n{printed}")
                repro.append(seconds)
                version.append(run(clone, "dvc --version")[0])
                small.append(run(least, "dvc repro")[0])
    print(f"| the demo pipeline from an empty cache | | {statistics.median(whole):.0f} s | |")
    nothing = statistics.median(repro)
    for other, times in (("`dvc --version`", version), ("the same in a project of one stage", small)):
        other_seconds = statistics.median(times)
        ratio = f"{other_seconds:.2f} s → {nothing:.2f} s | {nothing / other_seconds:.1f} ×"
        print(f"| `dvc repro` with nothing to do | {other} | {ratio} |")


if __name__ == "__main__":
    main()
