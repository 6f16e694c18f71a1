"""The routes: rankings in the forms of TEI, Cohere, Jina and vLLM, and what operators ask."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from prometheus_client import generate_latest
from starlette.exceptions import HTTPException

from rerank.errors import UserError
from rerank.serve.http.batches import BusyError
from rerank.serve.http.forms import Rerank, Score, bare, results, scored
from rerank.serve.http.guard import Counts, Guard, RefusedError, first_words, refusal
from rerank.serve.http.service import Service

PAGE = {
    "/": ("page.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
}
# The page runs its own script, asks this server, and nothing else.
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
}
RETRY_AFTER = "1"  # second
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Limits:
    """What one request may ask for.

    Attributes:
        documents: texts of a request.
        characters: of one text.
        body: bytes.
        seconds: from the request to its answer.
    """

    documents: int
    characters: int
    body: int
    seconds: float


def app(service: Service, *, limits: Limits, token: str | None) -> Guard:
    """Return the ASGI application around a service."""
    counts = Counts(service)
    ready = asyncio.Event()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await service.start()
        ready.set()
        yield
        ready.clear()
        await service.stop()

    routes = FastAPI(
        title="rerank", summary="Ranks books for a reader, by a cross-encoder or a fusion", lifespan=lifespan
    )

    def checked(*texts: list[str]) -> None:
        for some in texts:
            if not some:
                raise RefusedError(400, "there are no texts to rank: give at least one")
            if len(some) > limits.documents:
                raise RefusedError(413, f"{len(some):,} texts are more than {limits.documents:,}: send fewer")
            for number, text in enumerate(some):
                if len(text) > limits.characters:
                    raise RefusedError(413, f"text {number} has more than {limits.characters:,} characters: cut it")
                if any("\ud800" <= letter <= "\udfff" for letter in text):
                    raise RefusedError(422, f"text {number} is no Unicode text: it has half of a surrogate pair")

    async def answered(request: Request, work: Awaitable[Answer]) -> Answer:
        """Wait for an answer, unless it takes too long, or the client leaves."""
        task = asyncio.ensure_future(work)
        gone = asyncio.ensure_future(request.receive())
        try:
            await asyncio.wait({task, gone}, timeout=limits.seconds, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
        except BusyError:
            raise RefusedError(429, "too many pairs wait: come again", headers={"Retry-After": RETRY_AFTER}) from None
        except UserError as error:
            raise RefusedError(400, str(error)) from None
        finally:
            task.cancel()
            gone.cancel()
        if gone.done() and not gone.cancelled():
            raise RefusedError(499, "the client has left")
        raise RefusedError(503, f"no answer within {limits.seconds:g} seconds", headers={"Retry-After": RETRY_AFTER})

    async def ranked(request: Request, form: Rerank, *, tei: bool) -> Any:
        if form.texts is not None and form.documents is None and tei:
            texts, answer_bare = form.texts, True
        elif form.documents is not None and form.texts is None:
            texts = [document if isinstance(document, str) else document.text for document in form.documents]
            answer_bare = False
        else:
            raise RefusedError(422, "documents: give the candidates as documents, or /rerank alone as texts")
        if not form.query.strip():
            raise RefusedError(400, "query is blank: write what the reader likes")
        checked([form.query], texts)
        judged = await answered(request, service.judged(form.query, texts))
        counts.texts.inc(len(texts))
        if answer_bare:
            return JSONResponse(bare(form, texts, judged))
        return JSONResponse(results(form, texts, judged, model=service.name))

    @routes.post("/rerank", summary="TEI with texts, Jina and vLLM with documents")
    async def rerank(request: Request, form: Rerank) -> Any:
        return await ranked(request, form, tei=True)

    @routes.post("/v1/rerank", summary="Cohere, Jina, vLLM")
    @routes.post("/v2/rerank", summary="Cohere")
    async def rerank_documents(request: Request, form: Rerank) -> Any:
        return await ranked(request, form, tei=False)

    @routes.post("/score", summary="vLLM: pairs, by the cross-encoder alone")
    @routes.post("/v1/score", summary="vLLM: pairs, by the cross-encoder alone")
    async def score(request: Request, form: Score) -> Any:
        contexts, texts = form.sides()
        if len(contexts) != len(texts):
            raise RefusedError(422, f"text_1 has {len(contexts):,} texts, text_2 {len(texts):,}: give one, or as many")
        checked(contexts, texts)
        judged = await answered(request, service.paired(contexts, texts))
        counts.texts.inc(len(texts))
        return JSONResponse(scored(judged, model=service.name))

    @routes.get("/health", summary="Whether the process answers")
    async def health() -> Response:
        return Response()

    @routes.get("/ready", summary="Whether it ranks, and has room for more")
    async def is_ready() -> Response:
        if not ready.is_set() or service.waiting >= service.most_waiting:
            raise RefusedError(503, "not ready", headers={"Retry-After": RETRY_AFTER})
        return Response()

    @routes.get("/info", summary="TEI: what is served, and its limits")
    async def info() -> dict[str, Any]:
        return {
            "model_id": service.name,
            "model_type": {"reranker": {"id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}}},
            "max_input_length": service.max_length,
            "max_client_batch_size": limits.documents,
            "systems": service.systems,
            "version": version("sentence-transformers"),
        }

    @routes.get("/v1/models", summary="The model that is served")
    async def models() -> dict[str, Any]:
        return {"object": "list", "data": [{"id": service.name, "object": "model", "owned_by": "rerank"}]}

    @routes.get("/metrics", summary="Prometheus")
    async def metrics() -> Response:
        return PlainTextResponse(generate_latest(counts.registry))

    for path, (name, kind) in PAGE.items():
        routes.get(path, include_in_schema=False)(partial(_file, Path(__file__).with_name(name).read_bytes(), kind))

    @routes.exception_handler(RefusedError)
    async def refused(_: Request, error: RefusedError) -> Response:
        return refusal(error)

    @routes.exception_handler(RequestValidationError)
    async def misformed(_: Request, error: RequestValidationError) -> Response:
        status, words = first_words(list(error.errors()))
        return refusal(RefusedError(status, words))

    @routes.exception_handler(HTTPException)
    async def unknown(_: Request, error: HTTPException) -> Response:
        return refusal(RefusedError(error.status_code, str(error.detail)))

    @routes.exception_handler(Exception)
    async def failed(_: Request, error: Exception) -> Response:
        return refusal(RefusedError(500, f"an error of ours ({type(error).__name__}): the server's log has it"))

    paths = frozenset(known for route in routes.routes if (known := getattr(route, "path", None)))
    return Guard(routes, counts=counts, token=token, max_body=limits.body, paths=paths)  # type: ignore[arg-type]


async def _file(content: bytes, kind: str) -> Response:
    return Response(content, media_type=kind, headers=HEADERS)
