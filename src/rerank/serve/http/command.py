"""Serve a trained model over HTTP: ``python -m rerank serve --model models/ranker``."""

import argparse
import os
import sys
from pathlib import Path

from rerank.command import count
from rerank.errors import UserError
from rerank.model.engines import ENGINES, engine_named
from rerank.model.folder import model_files
from rerank.serve.fused import is_fused

TOKEN = "RERANK_TOKEN"
LOOPBACK = ("127.0.0.1", "::1", "localhost")


def _positive(text: str) -> float:
    number = float(text)
    if not number > 0:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return number


def _not_negative(text: str) -> float:
    number = float(text)
    if not number >= 0:
        raise argparse.ArgumentTypeError(f"{text} is below 0")
    return number


def _port(text: str) -> int:
    number = int(text)
    if not 0 <= number <= 65_535:
        raise argparse.ArgumentTypeError(f"{text} is no port: give one from 1 to 65535, or 0")
    return number


def arguments() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m rerank serve",
        description="Rank over HTTP, in the forms of TEI (/rerank), Cohere (/v1/rerank, /v2/rerank), Jina and vLLM "
        f"(/score); /docs says more. Where {TOKEN} is set in the environment, requests have to bring it.",
    )
    parser.add_argument("--model", type=Path, required=True, metavar="FOLDER", help="models/ranker, or a cross-encoder")
    parser.add_argument("--host", default="127.0.0.1", help="0.0.0.0 for all networks (default: this machine alone)")
    parser.add_argument("--port", type=_port, default=8080, help="0: a free one, which is printed (default: 8080)")
    parser.add_argument(
        "--engine", default="torch", metavar=f"{{{','.join(ENGINES)}}}", help="of the cross-encoder (default: torch)"
    )
    for name, kind, default, words in (
        ("--timeout", _positive, 30, "seconds until a request is given up"),
        ("--longest-wait", _not_negative, 2, "milliseconds that a request waits for others to share its batch"),
        ("--most-waiting", count, 20_000, "pairs that may wait; more are sent away with 429"),
        ("--memory-mb", _not_negative, 256, "megabytes for answers that are asked for again; 0: none"),
        ("--max-documents", count, 10_000, "texts of one request"),
        ("--max-characters", count, 100_000, "characters of one text"),
        ("--max-body-mb", _positive, 20, "megabytes of one request"),
    ):
        parser.add_argument(name, type=kind, default=default, metavar="N", help=f"{words} (default: {default:,})")
    return parser


def main(given: argparse.Namespace) -> None:
    """Serve until a signal ends it; what runs then is finished first."""
    engine_named(given.engine)
    if not is_fused(given.model):
        model_files(given.model)
    token = os.environ.get(TOKEN)
    if token is not None and (not token.isascii() or token != token.strip() or not token):
        raise UserError(f"{TOKEN}: is empty or has blanks or letters that a header can't hold: set another")
    if token is None and given.host not in LOOPBACK:
        print(f"warning: anyone who reaches {given.host} may ask: set {TOKEN} to demand a token", file=sys.stderr)
    try:
        import uvicorn

        from rerank.serve.http.app import Limits, app
    except ModuleNotFoundError as error:
        if error.name not in ("fastapi", "uvicorn", "prometheus_client"):
            raise
        raise UserError(f"serve: {error.name} is not installed: make extras, or pip install '.[serve]'") from None
    from rerank.serve.http.service import Service

    service = Service(
        given.model,
        engine=given.engine,
        memory_bytes=int(given.memory_mb * 1e6),
        longest_wait=given.longest_wait / 1000,
        most_waiting=given.most_waiting,
    )
    limits = Limits(given.max_documents, given.max_characters, int(given.max_body_mb * 1e6), given.timeout)
    uvicorn.run(
        app(service, limits=limits, token=token),
        host=given.host,
        port=given.port,
        log_level="info",
        access_log=False,
        timeout_graceful_shutdown=int(given.timeout) + 1,
    )
