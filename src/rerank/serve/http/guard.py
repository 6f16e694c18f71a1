"""What stands before every route: the token, the size of the body, what is counted, and errors in one form."""

import hmac
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from starlette.responses import JSONResponse

from rerank.serve.http.service import Service

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

# Whoever watches the server needs no token, and learns no text.
OPEN = ("/health", "/ready", "/metrics", "/", "/page.css", "/page.js")
# The words of TEI for a status.
TYPES = {401: "Unauthorized", 404: "NotFound", 413: "Validation", 429: "Overloaded", 500: "Backend", 503: "Unhealthy"}
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class RefusedError(Exception):
    """A request that gets no answer but a status and a line."""

    def __init__(self, status: int, words: str, *, headers: dict[str, str] | None = None) -> None:
        super().__init__(words)
        self.status, self.words, self.headers = status, words, headers or {}


def refusal(error: RefusedError) -> JSONResponse:
    """Return an error as the clients of TEI, Cohere, Jina and vLLM look for it; it never holds a text of theirs."""
    content = dict.fromkeys(("detail", "message", "error"), error.words)
    content["error_type"] = TYPES.get(error.status, "Validation")
    return JSONResponse(content, error.status, headers=error.headers)


class Counts:
    """What /metrics shows, in the form of Prometheus."""

    def __init__(self, service: Service) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter("rerank_requests", "Requests answered", ["path", "status"], registry=self.registry)
        self.seconds = Histogram(
            "rerank_request_seconds", "From a request to its answer", ["path"], buckets=SECONDS, registry=self.registry
        )
        self.texts = Counter("rerank_texts", "Candidates judged", registry=self.registry)
        self.running = Gauge("rerank_requests_running", "Requests without an answer yet", registry=self.registry)
        self.registry.register(_OfService(service))  # type: ignore[arg-type]


class _OfService:
    """What the service counts itself."""

    def __init__(self, service: Service) -> None:
        self.service = service

    def collect(self) -> Any:
        """Yield the families."""
        waiting = GaugeMetricFamily("rerank_pairs_waiting", "Pairs that are in no batch yet", labels=["system"])
        batches = GaugeMetricFamily("rerank_batch_pairs", "Pairs of the last 1,000 batches, mean", labels=["system"])
        hits = CounterMetricFamily("rerank_memory_hits", "Answers that were there", labels=["memory"])
        misses = CounterMetricFamily("rerank_memory_misses", "Answers that were computed", labels=["memory"])
        size = GaugeMetricFamily("rerank_memory_bytes", "What the memory takes", labels=["memory"])
        for name, one in self.service.batches.items():
            waiting.add_metric([name], one.waiting)
            batches.add_metric([name], sum(one.sizes) / max(1, len(one.sizes)))
        memories = {name: one.memory for name, one in self.service.batches.items()}
        for name, memory in {**memories, "lookups": self.service.lookups}.items():
            hits.add_metric([name], memory.hits)
            misses.add_metric([name], memory.misses)
            size.add_metric([name], memory.bytes)
        yield from (waiting, batches, hits, misses, size)


class Guard:
    """Refuses what has no token or too large a body, before it is read; counts all that is answered."""

    def __init__(self, app: App, *, counts: Counts, token: str | None, max_body: int, paths: frozenset[str]) -> None:
        """Stand before ``app``.

        Args:
            token: that requests bring as ``Authorization: Bearer``; None: nobody has to.
            max_body: bytes.
            paths: that are counted by name; all others together.
        """
        self.app, self.counts, self.token, self.max_body, self.paths = app, counts, token, max_body, paths

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        path = scope["path"] if scope["path"] in self.paths else "other"
        started, status = time.perf_counter(), 499  # the client left before there was an answer

        async def counted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        self.counts.running.inc()
        try:
            self._check(scope)
            await self.app(scope, await self._read(receive), counted)
        except RefusedError as error:
            await refusal(error)(scope, receive, counted)
        finally:
            self.counts.running.dec()
            self.counts.requests.labels(path, status).inc()
            self.counts.seconds.labels(path).observe(time.perf_counter() - started)

    async def _read(self, receive: Receive) -> Receive:
        """Read the whole body, up to its limit, and return what gives it again."""
        body, more = bytearray(), True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                break
            body += message.get("body", b"")
            if len(body) > self.max_body:
                raise self._too_large()
            more = message.get("more_body", False)
        left = [{"type": "http.request", "body": bytes(body), "more_body": False}]

        async def again() -> Message:
            return left.pop() if left else await receive()

        return again

    def _too_large(self) -> RefusedError:
        return RefusedError(413, f"the body is larger than {self.max_body:,} bytes: send fewer texts")

    def _check(self, scope: Message) -> None:
        headers = dict(scope["headers"])
        if self.token is not None and scope["path"] not in OPEN:
            given = headers.get(b"authorization", b"")
            if not hmac.compare_digest(given, b"Bearer " + self.token.encode()):
                raise RefusedError(401, "the token is missing or wrong: send Authorization: Bearer TOKEN")
        length = headers.get(b"content-length", b"0")
        if length.isdigit() and int(length) > self.max_body:
            raise self._too_large()


def first_words(errors: list[Any]) -> tuple[int, str]:
    """Return status and words for a body that does not fit its form; the values in it stay out of them."""
    first = errors[0]
    if first["type"] == "json_invalid":
        return 400, "the body is not valid JSON"
    where = ".".join(str(part) for part in first["loc"] if part != "body") or "the body"
    return 422, f"{where}: {first['msg']}"
