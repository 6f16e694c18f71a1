"""The server in a thread of its own, on a free port, and a client that speaks plain HTTP."""

import http.client
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn

from rerank.serve.http.app import Limits, app
from rerank.serve.http.service import Service

LIMITS = {"documents": 5_000, "characters": 2_000, "body": 1_000_000, "seconds": 30.0}


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Client:
    port: int
    service: Service

    def ask(self, path: str, content: Any = None, **headers: str) -> Answer:
        """Post content, bytes as they are, or get where there is none."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        body = content if content is None or isinstance(content, bytes) else json.dumps(content).encode()
        named = {"Content-Type": "application/json", **{name.replace("_", "-"): text for name, text in headers.items()}}
        connection.request("GET" if body is None else "POST", path, body, named)
        found = connection.getresponse()
        answer = Answer(found.status, {key.lower(): value for key, value in found.getheaders()}, found.read())
        connection.close()
        return answer

    def metric(self, line: str) -> float:
        """Return the value of one line of /metrics."""
        for text in self.ask("/metrics").body.decode().splitlines():
            if text.startswith(f"{line} "):
                return float(text.rpartition(" ")[2])
        raise KeyError(line)


@contextmanager
def serving(
    folder: Path,
    *,
    token: str | None = None,
    memory_bytes: int = 10_000_000,
    most_waiting: int = 10_000,
    longest_wait: float = 0.0,
    **limits: float,
) -> Iterator[Client]:
    """Serve a model folder while the block runs."""
    service = Service(
        folder, engine="torch", memory_bytes=memory_bytes, longest_wait=longest_wait, most_waiting=most_waiting
    )
    guard = app(service, limits=Limits(**{**LIMITS, **limits}), token=token)  # type: ignore[arg-type]
    server = uvicorn.Server(uvicorn.Config(guard, port=0, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive(), "the server did not start"
            time.sleep(0.01)
        yield Client(server.servers[0].sockets[0].getsockname()[1], service)
    finally:
        server.should_exit = True
        thread.join()
