"""Measure the stage sample against the loop that it replaces, against reading the pairs once, and against its own size.

    python benchmarks/sample.py                                          # small sizes, a minute or two
    python benchmarks/sample.py --rows 2862473 --sizes 300000 3000000 30000000    # as in benchmarks/README.md

The loop is that of a published notebook: a filter of the whole pandas frame for each reader and for each positive. It
is timed on a slice of the readers and extrapolated; reading the files into pandas is not counted. It neither cleans
nor looks for leaks nor counts. "core" is everything from the parquet files to the sampled pairs and the counts, "whole
stage" the process as `dvc repro` starts it, which also checks the tables and writes the files.

Fails when the sample of the smallest table differs from that of plain pandas.
"""

import argparse
import hashlib
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
from make_pairs import ROWS, make_pairs

from rerank.data.pairs import COLUMNS, SourceColumns, read
from rerank.data.sampling import sample
from stages.sample import MEMORY_LIMIT

ROOT = Path(__file__).parents[1]
REPEATS = 3
PARAMS: dict[str, Any] = {
    "seed": 42,
    "max_users": None,
    "min_positives": 3,
    "positives_per_user": 3,
    "negatives_per_positive": 3,
    "eval_positives": 10,
    "eval_negatives": 90,
    "validation_share": 0.1,
    "test_share": 0.1,
    "cold_books_share": 0.0,  # as in the notebook
    "title_pattern": "^Title: ([^|]+)",
}


def seconds(action: Callable[[], object]) -> float:
    """Return the wall time of a call."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def medians(*actions: Callable[[], object]) -> list[float]:
    """Return the median wall time of `REPEATS` calls of each action, which take turns: a busy moment meets them all."""
    rounds = [[seconds(action) for action in actions] for _ in range(REPEATS)]
    return [statistics.median(times) for times in zip(*rounds, strict=True)]


def connect(spill: Path) -> duckdb.DuckDBPyConnection:
    """Open DuckDB as the stage does."""
    connection = duckdb.connect(config={"memory_limit": MEMORY_LIMIT, "temp_directory": str(spill)})
    connection.execute("SET preserve_insertion_order = false")
    return connection


def run_core(pairs: Path, spill: Path) -> duckdb.DuckDBPyConnection:
    """Run the core on a folder of pairs and return the connection that has the sampled rows."""
    connection = connect(spill)
    read(connection, pairs, SourceColumns(*COLUMNS), text_ids=False)
    sample(connection, **PARAMS)
    return connection


def read_once(pairs: Path, spill: Path) -> None:
    """Read every column of every row."""
    connect(spill).execute(
        "SELECT sum(length(user_id)), sum(book_id), sum(length(user_ctx)), sum(length(book_text)), sum(label) "
        f"FROM read_parquet('{pairs}/*.parquet')"
    ).fetchall()


def loop(frame: pd.DataFrame, users: list[str]) -> list[pd.DataFrame]:
    """Sample as the notebook does, for some of the users."""
    taken = []
    for user in users:
        positives = frame[(frame["user_id"] == user) & (frame["label"] == 1)].sample(3, random_state=42)
        taken.append(positives)
        for _ in range(len(positives)):
            negatives = frame[(frame["user_id"] == user) & (frame["label"] == 0)]
            taken.append(negatives.sample(3, random_state=42))
    return taken


def loop_seconds(pairs: Path, *, slice_of: int) -> float:
    """Return the loop's time for all users with 3 positives, from ``slice_of`` of them."""
    frame = pd.read_parquet(pairs)
    positives = frame.groupby("user_id")["label"].sum()
    users = positives[positives >= 3].index
    some = list(users[:: len(users) // slice_of][:slice_of])
    return medians(lambda: loop(frame, some))[0] / slice_of * len(users)


def _half(texts: pd.Series) -> np.ndarray:
    """Return of each text the first 8 bytes of its MD5, little-endian."""
    distinct = {text: hashlib.md5(text.encode()).digest()[:8] for text in texts.unique()}
    return texts.map({text: int.from_bytes(half, "little") for text, half in distinct.items()}).to_numpy(np.uint64)


def _place(frame: pd.DataFrame, seed: int) -> np.ndarray:
    """Return what `rerank.data.hashing.pair_order` says, by numpy."""
    user, place = (_half(f"{noun} of pair|{seed}|" + frame[f"{noun}_id"]) for noun in ("user", "book"))
    for _ in range(4):
        place = place ^ user
        place = (place & np.uint64(2**32 - 1)) * np.uint64(4_294_883_355) + (place >> np.uint64(32))
    return place


def reference(pairs: Path) -> pd.DataFrame:
    """Take the same sample with plain pandas; the titles of these texts need no more than lower case."""
    frame = pd.read_parquet(pairs).astype({"book_id": "str", "label": "int32"})
    key = frame.groupby(["user_id", "book_id"])["label"]
    frame = frame[key.transform("min") == key.transform("max")]
    titles = frame["book_text"].str.extract(PARAMS["title_pattern"])[0].str.strip().str.lower()
    names = {
        context: set(context.removeprefix("Favorite books: ").lower().replace(" by ", "; ").split("; "))
        for context in frame["user_ctx"].unique()
    }
    leaked = [title in names[context] for title, context in zip(titles, frame["user_ctx"], strict=True)]
    filled = (frame["user_ctx"].str.strip() != "") & (frame["book_text"].str.strip() != "")
    frame = frame[~np.array(leaked) & filled].drop_duplicates(["user_id", "book_id"])
    positives = frame.groupby("user_id")["label"].transform("sum")
    negatives = frame.groupby("user_id")["label"].transform("size") - positives
    frame = frame[(positives >= PARAMS["min_positives"]) & (negatives > 0)]
    share = {
        user: int(hashlib.md5(f"split|{PARAMS['seed']}|{user}".encode()).hexdigest()[:8], 16) / 16**8
        for user in frame["user_id"].unique()
    }
    training = frame["user_id"].map(share) >= PARAMS["validation_share"] + PARAMS["test_share"]
    most = PARAMS["positives_per_user"]
    length = np.where(
        frame["label"] == 1,
        np.where(training, most, PARAMS["eval_positives"]),
        np.where(
            training,
            positives[frame.index].clip(upper=most) * PARAMS["negatives_per_positive"],
            PARAMS["eval_negatives"],
        ),
    )
    place = pd.Series(_place(frame, PARAMS["seed"]), index=frame.index)
    rank = place.groupby([frame["user_id"], frame["label"]]).rank(method="first")
    return frame[rank <= length]


def check(pairs: Path, spill: Path) -> int:
    """Compare the sample with the one of plain pandas and return its rows.

    Raises:
        SystemExit: when they differ.
    """
    keys = ["user_id", "book_id"]
    tables = (run_core(pairs, spill).table("sampled").df(), reference(pairs))
    ours, theirs = (table[list(COLUMNS)].sort_values(keys).reset_index(drop=True) for table in tables)
    if not ours.equals(theirs.astype(ours.dtypes)):
        sys.exit(f"{pairs}: the sample ({len(ours):,} rows) differs from that of plain pandas ({len(theirs):,} rows)")
    return len(ours)


# A small process of its own starts the stage: a child's peak counts what its parent had when it was started.
LAUNCHER = """
import resource, subprocess, sys, time
start = time.perf_counter()
subprocess.run([sys.executable, *sys.argv[1:]], check=True)
print(time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def run_stage(pairs: Path, target: Path) -> tuple[float, float]:
    """Run the whole stage and return its seconds and its peak memory in GB.

    Raises:
        SystemExit: when it fails.
    """
    paths = {"tables": pairs, "sampled": target / "sampled", "metrics": target / "data.json"}
    stage = ["-m", "stages.sample", *(word for name, path in paths.items() for word in (f"--{name}", str(path)))]
    result = subprocess.run([sys.executable, "-c", LAUNCHER, *stage], cwd=ROOT, capture_output=True, text=True)
    if result.returncode:
        sys.exit(f"python {' '.join(stage)} failed:\n{result.stderr}")
    took, peak = map(float, result.stdout.split())
    return took, peak / (1e9 if sys.platform == "darwin" else 1e6)


def main() -> None:
    """Make the tables of pairs that are missing, measure, and print a table in Markdown."""
    parser = argparse.ArgumentParser(description="Measure the stage sample.")
    parser.add_argument("--rows", type=int, default=300_000, help=f"pairs for the comparisons; the real table: {ROWS}")
    parser.add_argument("--sizes", type=int, nargs="+", default=[100_000, 300_000, 1_000_000])
    parser.add_argument("--slice", type=int, default=20, help="readers that the loop is timed on")
    parser.add_argument("--data", type=Path, default=ROOT / "benchmarks/data", help="folder for pairs, outside Git")
    arguments = parser.parse_args()
    folders = {rows: arguments.data.absolute() / f"pairs-{rows}" for rows in sorted({arguments.rows, *arguments.sizes})}
    for rows, folder in folders.items():
        make_pairs(folder, rows=rows)
    lines = []
    with tempfile.TemporaryDirectory(dir=arguments.data) as folder:
        work = Path(folder).absolute()
        pairs = folders[arguments.rows]
        smallest = min(folders)
        print(f"same {check(folders[smallest], work):,} rows as plain pandas, of {smallest:,} pairs", flush=True)
        core, once = medians(lambda: run_core(pairs, work), lambda: read_once(pairs, work))
        whole = statistics.median(run_stage(pairs, work)[0] for _ in range(REPEATS))
        by_loop = loop_seconds(pairs, slice_of=arguments.slice)
        lines += [
            f"| {arguments.rows:,} pairs | seconds | core is |",
            "|---|---|---|",
            f"| the loop, from {arguments.slice} readers | {by_loop:,.0f} | {by_loop / core:,.0f} × faster |",
            f"| reading every column once | {once:.2f} | {core / once:.1f} × slower |",
            f"| core of sample | {core:.2f} | |",
            f"| whole stage | {whole:.2f} | the loop takes {by_loop / whole:,.0f} × as long |",
            "",
            "| pairs | whole stage, seconds | seconds a million | peak memory |",
            "|---|---|---|---|",
        ]
        for rows in arguments.sizes:
            runs = [run_stage(folders[rows], work) for _ in range(REPEATS)]
            took, memory = statistics.median(run[0] for run in runs), max(run[1] for run in runs)
            lines.append(f"| {rows:,} | {took:.1f} | {took / rows * 1e6:.2f} | {memory:.2f} GB |")
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, DuckDB {duckdb.__version__}\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
