"""How many requests a second `python -m rerank serve` answers, against a plain handler around ``CrossEncoder.predict``.

Each client asks for 100 books, waits for the answer and asks again. New readers have a context that nobody had before;
known ones ask again. Both servers answer the same requests with the same model, one after the other; their scores are
compared. ``--overload N`` sends N requests from 32 clients where four may wait, and ``--requests N`` counts errors and
memory over N requests of known readers.
"""

import argparse
import asyncio
import itertools
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pandas as pd
from tabulate import tabulate

CANDIDATES = 100
PLAIN = """
import sys, uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from sentence_transformers import CrossEncoder
model, app = CrossEncoder(sys.argv[1]), FastAPI()
class Form(BaseModel):
    query: str
    texts: list[str]
@app.post("/rerank")
def rerank(form: Form):
    scores = model.predict([(form.query, text) for text in form.texts])
    order = (-scores).argsort()
    return [{"index": int(number), "score": float(scores[number])} for number in order]
uvicorn.run(app, port=0, access_log=False)
"""


@dataclass
class Load:
    """What the clients saw.

    Attributes:
        seconds: of the whole run.
        answered, refused: seconds of each request that got its ranking, and of each that got 429.
        errors: other statuses, and connections that broke.
    """

    seconds: float = 0.0
    answered: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def at(self, share: float) -> float:
        """Return the quantile of the seconds of answered requests."""
        return float(np.quantile(self.answered, share)) if self.answered else float("nan")

    @property
    def rate(self) -> float:
        """Answered requests a second."""
        return len(self.answered) / self.seconds


@contextmanager
def served(command: list[str]) -> Iterator[tuple[str, int]]:
    """Start a server; yield the address of its ranking, and its process id."""
    process = subprocess.Popen(
        command, env={**os.environ, "PYTHONPATH": "src"}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout is not None, "it is a pipe"
    try:
        for line in process.stdout:
            if found := re.search(r"running on (http://[\d.:]+)", line):
                yield f"{found[1]}/rerank", process.pid
                return
        sys.exit(f"error: {' '.join(command[:4])} did not start")
    finally:
        process.terminate()
        process.wait()


async def offered(address: str, requests: Iterator[dict[str, Any]], *, clients: int) -> Load:
    """Send the requests from so many clients, each one at a time."""
    load = Load()

    async def client(session: aiohttp.ClientSession) -> None:
        for content in requests:
            started = time.perf_counter()
            try:
                async with session.post(address, json=content) as answer:
                    await answer.read()
                    took = time.perf_counter() - started
                    if answer.status == 200:
                        load.answered.append(took)
                    elif answer.status == 429:
                        load.refused.append(took)
                        await asyncio.sleep(0.1)
                    else:
                        load.errors.append(str(answer.status))
            except aiohttp.ClientError as error:
                load.errors.append(type(error).__name__)

    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(600)) as session:
        started = time.perf_counter()
        await asyncio.gather(*(client(session) for _ in range(clients)))
        load.seconds = time.perf_counter() - started
    return load


class Requests:
    """Readers of the demo with 100 books each."""

    def __init__(self, split: Path) -> None:
        pairs = pd.read_parquet(split / "test.parquet")
        self.contexts = pairs["user_ctx"].drop_duplicates().tolist()
        self.texts = pairs["book_text"].drop_duplicates().tolist()
        self.number = itertools.count()

    def one(self, reader: int, context: str) -> dict[str, Any]:
        """Return one reader's request."""
        some = np.random.default_rng(reader).choice(len(self.texts), CANDIDATES, replace=False)
        return {"query": context, "texts": [self.texts[place] for place in some]}

    def new(self, count: int) -> Iterator[dict[str, Any]]:
        """Yield requests of readers that nobody has seen."""
        for _ in range(count):
            number = next(self.number)
            yield self.one(number, f"{self.contexts[number % len(self.contexts)]}; Book {number}")

    def known(self, count: int) -> Iterator[dict[str, Any]]:
        """Yield requests of the same few readers again and again."""
        for number in range(count):
            yield self.one(number % 10, self.contexts[number % 10])


def megabytes(process: int) -> float:
    """Return the memory of a process."""
    words = Path(f"/proc/{process}/status").read_text()
    return int(re.findall(r"VmRSS:\s+(\d+)", words)[0]) / 1024


async def same(one: str, other: str, requests: Requests) -> float:
    """Return the largest difference between the scores of two servers."""
    async with aiohttp.ClientSession() as session:
        differences = []
        for content in requests.new(3):
            scores = []
            for address in (one, other):
                async with session.post(address, json=content) as answer:
                    rows = sorted(await answer.json(), key=lambda row: row["index"])
                scores.append(np.array([row["score"] for row in rows]))
            differences.append(np.abs(scores[0] - scores[1]).max())
    return float(max(differences))


def main(given: argparse.Namespace) -> None:
    """Print a table, and what the options ask for."""
    requests = Requests(given.split)
    ours = [
        sys.executable,
        "-m",
        "rerank",
        "serve",
        "--model",
        str(given.model),
        "--port",
        "0",
        "--engine",
        given.engine,
    ]
    plain = [sys.executable, "-c", PLAIN, str(given.model)]
    rows = []
    with served(plain) as (address, _), served([*ours, "--timeout", "600"]) as (our_address, process):
        difference = asyncio.run(same(address, our_address, requests))
        if difference > 0.03:  # bf16, where a score lies in 0 to 1
            sys.exit(f"error: the scores differ by {difference:.3f}")
        print(f"the scores differ by {difference:.2g} at most")
        for clients in given.clients:
            count = max(given.each, 2 * clients)
            loads = {
                "plain": asyncio.run(offered(address, requests.new(count), clients=clients)),
                "new readers": asyncio.run(offered(our_address, requests.new(count), clients=clients)),
                "known readers": asyncio.run(offered(our_address, requests.known(20 * count), clients=clients)),
            }
            for name, load in loads.items():
                rows.append(
                    [clients, name, f"{load.rate:.2f}", f"{load.rate / loads['plain'].rate:.2f}"]
                    + [f"{1000 * load.at(share):,.0f}" for share in (0.5, 0.99)]
                    + [len(load.errors)]
                )
                print(rows[-1], flush=True)
        if given.requests:
            before = megabytes(process)
            load = asyncio.run(offered(our_address, requests.known(given.requests), clients=8))
            print(
                f"{given.requests:,} requests of known readers: {len(load.errors)} errors, {load.rate:.0f} a second, "
                f"memory {before:.0f} to {megabytes(process):.0f} MB"
            )
    print(tabulate(rows, ["clients", "", "requests/s", "ratio", "p50 ms", "p99 ms", "errors"]))
    if given.overload:
        with served([*ours, "--most-waiting", str(4 * CANDIDATES)]) as (address, _):
            load = asyncio.run(offered(address, requests.new(given.overload), clients=32))
        print(
            f"32 clients where 4 may wait: {len(load.answered)} answered, p99 {1000 * load.at(0.99):,.0f} ms; "
            f"{len(load.refused)} sent away with 429, 99 % within {1000 * np.quantile(load.refused, 0.99):.0f} ms; "
            f"{len(load.errors)} errors"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=Path("models/cross-encoder"))
    parser.add_argument("--split", type=Path, default=Path("data/split"))
    parser.add_argument("--engine", default="torch", help="of the server")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--each", type=int, default=8, help="requests of each kind, at least")
    parser.add_argument("--requests", type=int, default=0, help="of known readers, to see errors and memory")
    parser.add_argument("--overload", type=int, default=0, help="requests of clients that are too many")
    main(parser.parse_args())
