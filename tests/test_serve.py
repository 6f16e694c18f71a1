"""The server: the scores of `python -m rerank`, the forms of four servers, and what clients may not do to it."""

import asyncio
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import browser
import cohere
import numpy as np
import pytest
from server import LIMITS, Client, serving
from test_fused_ranker import write_ranker

from rerank.command import run
from rerank.model.ranker import load
from rerank.serve.fused import FusedRanker
from rerank.serve.http import command
from rerank.systems.registry import FINE_TUNED

USER = "Favorite books: Book 4; Book 7"
TEXTS = [f"Title: Book {number} | about the sea" for number in range(6)]
SOURCE = Path(__file__).parents[1] / "src"


@pytest.fixture(scope="module")
def ranker(tmp_path_factory: pytest.TempPathFactory, cross_encoder: Path, tiny_bert: Callable[..., Path]) -> Path:
    """The folder of a fusion, as the stages make it."""
    return write_ranker(tmp_path_factory.mktemp("served"), cross_encoder, tiny_bert) / "ranker"


@pytest.fixture(scope="module")
def plain(cross_encoder: Path) -> Iterator[Client]:
    with serving(cross_encoder) as client:
        yield client


@pytest.fixture(scope="module")
def fused(ranker: Path) -> Iterator[Client]:
    with serving(ranker) as client:
        yield client


def by_number(answer: list[dict[str, Any]], key: str = "score") -> list[float]:
    """Return the scores in the order of the texts."""
    return [row[key] for row in sorted(answer, key=lambda row: row["index"])]


def test_the_scores_of_a_cross_encoder_are_those_of_the_command(plain, cross_encoder):
    model = load(cross_encoder, progress=False)
    raw = model.score([USER] * len(TEXTS), TEXTS)
    for _ in range(2):  # computed, and remembered
        shown = plain.ask("/rerank", {"query": USER, "texts": TEXTS}).json
        assert by_number(shown) == pytest.approx(model.shown(raw).tolist(), abs=1e-5)
        found = plain.ask("/rerank", {"query": USER, "texts": TEXTS, "raw_scores": True}).json
        assert by_number(found) == pytest.approx(raw.tolist(), abs=1e-5)
    assert [row["score"] for row in shown] == sorted((row["score"] for row in shown), reverse=True)


@pytest.mark.parametrize("user", [USER, "likes cooking", "Favorite books: Book 1"])
def test_the_scores_of_a_fusion_are_those_of_the_command(fused, ranker, user):
    texts = [*TEXTS, "Title: Never heard of"]
    expected = FusedRanker(ranker, progress=False).rank(user, texts)
    for _ in range(2):
        found = fused.ask("/rerank", {"query": user, "texts": texts, "raw_scores": True}).json
        assert by_number(found) == pytest.approx(expected.scores.tolist(), abs=1e-3)
        content = fused.ask("/v2/rerank", {"query": user, "documents": texts}).json
        assert content["meta"]["warnings"] == expected.words[1:] and content["meta"]["warnings"]
        assert all(0 < row["relevance_score"] < 1 for row in content["results"])


def test_a_fusion_is_told_of_favourites_what_it_was_trained_to_read(ranker):
    expected = FusedRanker(ranker, progress=False)
    plain = expected.rank(USER, TEXTS).scores
    with serving(ranker) as client:
        for one in (expected, client.service.fused):
            one.catalogue["part"] = "sea"
        found = client.ask("/rerank", {"query": USER, "texts": TEXTS, "raw_scores": True}).json
    told = expected.rank(USER, TEXTS).scores
    assert by_number(found) == pytest.approx(told.tolist(), abs=1e-3)
    assert np.abs(told - plain).max() > 0.01


def test_many_clients_at_once_each_get_the_scores_of_their_own_texts(plain, cross_encoder):
    model = load(cross_encoder, progress=False)
    asked = [
        (f"likes {number % 7}", [f"book {place * number % 40}" for place in range(1 + number)]) for number in range(40)
    ]
    with ThreadPoolExecutor(16) as threads:
        answers = list(
            threads.map(
                lambda one: plain.ask("/rerank", {"query": one[0], "texts": one[1], "raw_scores": True}).json, asked
            )
        )
    for (user, texts), answer in zip(asked, answers, strict=True):
        assert by_number(answer) == pytest.approx(model.score([user] * len(texts), texts).tolist(), abs=1e-5)


def test_the_clients_of_cohere_read_the_answer(plain):
    expected = by_number(plain.ask("/rerank", {"query": USER, "texts": TEXTS}).json)
    for kind in (cohere.Client, cohere.ClientV2):
        client = kind(api_key="none", base_url=f"http://127.0.0.1:{plain.port}")
        found = client.rerank(model="rerank-v3.5", query=USER, documents=TEXTS, top_n=3)
        assert [row.index for row in found.results] == np.argsort(-np.array(expected), kind="stable")[:3].tolist()
        assert [row.relevance_score for row in found.results] == [expected[row.index] for row in found.results]


def test_documents_may_be_objects_and_come_back_when_asked_for(plain):
    documents = [TEXTS[0], {"text": TEXTS[1], "id": 7}]
    content = {"query": USER, "documents": documents, "return_documents": True, "nobody_knows": 1}
    for path in ("/rerank", "/v1/rerank", "/v2/rerank"):
        answer = plain.ask(path, content).json
        assert {row["index"]: row["document"]["text"] for row in answer["results"]} == {0: TEXTS[0], 1: TEXTS[1]}
        assert answer["id"] and answer["model"] and answer["usage"]["total_tokens"] > 0
    tei = plain.ask("/rerank", {"query": USER, "texts": TEXTS, "return_text": True, "truncate": True}).json
    assert {row["index"]: row["text"] for row in tei} == dict(enumerate(TEXTS))


@pytest.mark.parametrize(("top", "expected"), [(0, 6), (None, 6), (99, 6), (2, 2)])
def test_top_n_of_none_or_beyond_the_list_is_all(plain, top, expected):
    answer = plain.ask("/v1/rerank", {"query": USER, "documents": TEXTS, "top_n": top})
    assert len(answer.json["results"]) == expected


def test_score_judges_pairs_by_the_cross_encoder_alone(plain, fused, cross_encoder):
    model = load(cross_encoder, progress=False)
    for client in (plain, fused):
        for content in ({"text_1": USER, "text_2": TEXTS}, {"queries": [USER] * len(TEXTS), "documents": TEXTS}):
            for path in ("/score", "/v1/score"):
                data = client.ask(path, content).json["data"]
                expected = model.shown(model.score([USER] * len(TEXTS), TEXTS))
                assert by_number(data) == pytest.approx(expected.tolist(), abs=1e-5)


def test_a_request_of_thousands_is_split_inside(plain):
    texts = [f"book {number % 300}" for number in range(3_000)]
    scores = by_number(plain.ask("/rerank", {"query": USER, "texts": texts}).json)
    assert len(scores) == 3_000 and scores[:300] == scores[300:600]
    assert max(plain.service.batches[FINE_TUNED].sizes) < 300


REFUSED: list[tuple[str, Any, int, str]] = [
    ("/rerank", b"{", 400, "not valid JSON"),
    ("/rerank", b"\xff", 400, "JSON|body"),
    ("/rerank", {"texts": TEXTS}, 422, "query: Field required"),
    ("/rerank", {"query": 3, "texts": TEXTS}, 422, "query: Input should be a valid string"),
    ("/rerank", {"query": USER}, 422, "documents: give the candidates"),
    ("/rerank", {"query": USER, "texts": TEXTS, "documents": TEXTS}, 422, "documents: give the candidates"),
    ("/v1/rerank", {"query": USER, "texts": TEXTS}, 422, "documents: give the candidates"),
    ("/v1/rerank", {"query": USER, "documents": [1]}, 422, "documents"),
    ("/v1/rerank", {"query": USER, "documents": TEXTS, "top_n": -1}, 422, "top_n"),
    ("/v1/rerank", {"query": " \n", "documents": TEXTS}, 400, "query is blank"),
    ("/rerank", {"query": USER, "texts": []}, 400, "no texts"),
    ("/rerank", {"query": USER, "texts": ["a"] * 5_001}, 413, "5,001 texts are more than 5,000"),
    ("/rerank", {"query": USER, "texts": ["a", "b" * 2_001]}, 413, "text 1 has more than 2,000 characters"),
    ("/rerank", {"query": USER, "texts": ["secret " * 150_000]}, 413, "larger than 1,000,000 bytes"),
    ("/rerank", b'{"query": "\\ud800", "texts": ["a"]}', 422, "surrogate"),
    ("/score", {"text_1": ["a", "b"], "text_2": ["c"]}, 422, "text_1 has 2 texts, text_2 1"),
    ("/score", {"text_1": "a", "text_2": []}, 4, "texts"),
    ("/nowhere", {}, 404, "Not Found"),
    ("/v1/models", {}, 405, "Method Not Allowed"),
]


@pytest.mark.parametrize(("path", "content", "status", "words"), REFUSED)
def test_a_wrong_request_is_refused_in_one_line_that_repeats_no_text(plain, path, content, status, words):
    answer = plain.ask(path, content)
    assert answer.status == status or (status == 4 and 400 <= answer.status < 500)
    assert re.search(words, answer.json["detail"]) and "\n" not in answer.json["detail"]
    assert answer.json["detail"] == answer.json["message"] == answer.json["error"] and answer.json["error_type"]
    assert b"secret" not in answer.body and USER.encode() not in answer.body
    assert plain.ask("/rerank", {"query": USER, "texts": TEXTS}).status == 200


def test_a_body_without_a_length_is_measured_as_it_comes(plain):
    connection = http.client.HTTPConnection("127.0.0.1", plain.port, timeout=30)
    connection.request(
        "POST", "/rerank", iter([b"a" * 300_000] * 9), encode_chunked=True, headers={"Transfer-Encoding": "chunked"}
    )
    assert connection.getresponse().status == 413


def test_a_token_is_asked_for_everywhere_but_where_it_is_watched(cross_encoder):
    with serving(cross_encoder, token="open sesame") as client:
        content = {"query": USER, "texts": TEXTS}
        for path, sent in (("/rerank", content), ("/score", {}), ("/docs", None), ("/info", None)):
            for header in ({}, {"Authorization": "Bearer open"}, {"Authorization": "open sesame"}):
                assert client.ask(path, sent, **header).status == 401
        assert client.ask("/rerank", content, Authorization="Bearer open sesame").status == 200
        assert all(
            client.ask(path).status == 200 for path in ("/health", "/ready", "/metrics", "/", "/page.js", "/page.css")
        )


def slowed(client: Client, seconds: float) -> threading.Event:
    """Make every batch of the cross-encoder wait, and say when the first one runs."""
    batches, running = client.service.batches[FINE_TUNED], threading.Event()
    score = batches.score

    def slow(contexts: list[str], texts: list[str]) -> Any:
        running.set()
        time.sleep(seconds)
        return score(contexts, texts)

    batches.score = slow
    return running


def test_a_full_queue_sends_away_at_once_and_keeps_what_it_took(cross_encoder):
    with serving(cross_encoder, most_waiting=10) as client, ThreadPoolExecutor(9) as threads:
        running = slowed(client, 1.5)
        first = threads.submit(client.ask, "/rerank", {"query": USER, "texts": TEXTS})
        assert running.wait(10)
        second = threads.submit(client.ask, "/rerank", {"query": "another", "texts": TEXTS})
        while client.service.waiting < len(TEXTS):
            time.sleep(0.01)
        start = time.perf_counter()
        refused = client.ask("/rerank", {"query": "a third", "texts": TEXTS})
        assert refused.status == 429 and time.perf_counter() - start < 1
        assert refused.headers["retry-after"] == "1" and refused.json["error_type"] == "Overloaded"
        assert first.result().status == second.result().status == 200
        assert client.ask("/rerank", {"query": "a third", "texts": TEXTS}).status == 200


def test_where_one_system_has_no_room_the_others_do_not_work(ranker):
    with serving(ranker, most_waiting=10) as client, ThreadPoolExecutor(9) as threads:
        client.service.batches["bi_encoder"].most_waiting = 1_000
        running = slowed(client, 1.0)
        taken = [threads.submit(client.ask, "/rerank", {"query": "first", "texts": TEXTS})]
        assert running.wait(10)
        taken.append(threads.submit(client.ask, "/rerank", {"query": "second", "texts": TEXTS}))
        while client.service.batches[FINE_TUNED].waiting < len(TEXTS):
            time.sleep(0.01)
        assert client.ask("/rerank", {"query": "third", "texts": TEXTS}).status == 429
        assert client.service.batches["bi_encoder"].waiting <= len(TEXTS)
        assert [answer.result().status for answer in taken] == [200, 200]


def test_a_request_that_takes_too_long_is_given_up(cross_encoder):
    with serving(cross_encoder, seconds=0.3) as client:
        slowed(client, 1.0)
        answer = client.ask("/rerank", {"query": USER, "texts": TEXTS})
        assert answer.status == 503 and "no answer within 0.3 seconds" in answer.json["message"]


def test_a_client_that_leaves_costs_nothing_more(cross_encoder):
    with serving(cross_encoder) as client:
        running = slowed(client, 0.5)
        texts = [f"{number} " * 30 for number in range(2_000)]
        connection = http.client.HTTPConnection("127.0.0.1", client.port)
        connection.request(
            "POST", "/rerank", json.dumps({"query": USER, "texts": texts}), {"Content-Type": "application/json"}
        )
        assert running.wait(20) and client.service.waiting > 0
        connection.close()
        for _ in range(100):
            if client.service.waiting == 0:
                break
            time.sleep(0.1)
        batches = len(client.service.batches[FINE_TUNED].sizes)
        assert client.service.waiting == 0 and batches < 10
        assert client.metric('rerank_requests_total{path="/rerank",status="499"}') == 1


def test_an_error_of_ours_is_a_500_that_repeats_no_text(cross_encoder, capfd):
    with serving(cross_encoder) as client:
        client.service.batches[FINE_TUNED].score = lambda contexts, texts: 1 / 0
        answer = client.ask("/rerank", {"query": "secret", "texts": TEXTS})
        assert answer.status == 500 and "ZeroDivisionError" in answer.json["message"]
    printed = capfd.readouterr()
    assert "ZeroDivisionError" in printed.err and "secret" not in printed.err + printed.out


def test_operators_see_what_is_asked_and_remembered(cross_encoder):
    with serving(cross_encoder) as client:
        for _ in range(3):
            client.ask("/rerank", {"query": USER, "texts": TEXTS})
        client.ask("/nowhere")
        assert client.metric('rerank_requests_total{path="/rerank",status="200"}') == 3
        assert client.metric('rerank_requests_total{path="other",status="404"}') == 1
        assert client.metric("rerank_texts_total") == 18
        assert client.metric('rerank_memory_hits_total{memory="cross_encoder"}') == 12
        assert client.ask("/v1/models").json["data"][0]["id"] == cross_encoder.name
        info = client.ask("/info").json
        assert info["systems"] == [FINE_TUNED] and info["max_client_batch_size"] == LIMITS["documents"]
        assert set(client.ask("/openapi.json").json["paths"]) >= {"/rerank", "/v1/rerank", "/v2/rerank", "/score"}


def test_without_memory_every_request_is_computed(cross_encoder):
    with serving(cross_encoder, memory_bytes=0) as client:
        answers = [client.ask("/rerank", {"query": USER, "texts": TEXTS}).json for _ in range(2)]
        assert answers[0] == answers[1] and len(client.service.batches[FINE_TUNED].sizes) == 3


@browser.needs_chromium
def test_the_page_ranks_by_keyboard_and_fetches_from_nobody_else(fused, tmp_path):
    async def visit() -> tuple[list[str], list[str], list[str], str]:
        async with browser.tab(tmp_path) as tab:
            for domain in ("Page", "Runtime", "Log", "Network"):
                await tab.call(f"{domain}.enable")
            await tab.call("Page.navigate", url=f"http://127.0.0.1:{fused.port}/")
            while await tab.value("document.readyState") != "complete":
                await asyncio.sleep(0.05)
            await tab.value("field('texts').value = '<b>one</b>\\n\\nTitle: Book 1'")
            await tab.value("document.querySelector('button').focus()")
            await tab.press("Enter")
            while await tab.value("document.querySelectorAll('li').length + field('problem').textContent.length") == 0:
                await asyncio.sleep(0.05)
            shown = await tab.value("[...document.querySelectorAll('li')].map(item => item.textContent)")
            return shown, tab.said, tab.fetched, await tab.value("field('words').textContent")

    shown, said, fetched, words = asyncio.run(visit())
    assert len(shown) == 2 and any("<b>one</b>" in text for text in shown)
    assert "2 books in" in words and "no known readers" in words
    assert {address.split("/")[2] for address in fetched} == {f"127.0.0.1:{fused.port}"}
    assert [line for line in said if "favicon" not in line and "404" not in line] == []


def test_the_command_serves_finishes_what_runs_when_it_is_ended_and_logs_no_text(cross_encoder):
    process = subprocess.Popen(
        [sys.executable, "-m", "rerank", "serve", "--model", str(cross_encoder), "--port", "0"],
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if found := re.search(r"running on http://127\.0\.0\.1:(\d+)", line):
            break
    else:
        raise AssertionError("".join(lines))
    client = Client(int(found[1]), None)  # type: ignore[arg-type]
    texts = [f"secret {number} " * 20 for number in range(1_500)]
    with ThreadPoolExecutor(1) as threads:
        answer = threads.submit(client.ask, "/rerank", {"query": "secret", "texts": texts})
        while client.ask("/metrics").body.decode().find("rerank_requests_running 2.0") < 0:
            assert not answer.done()
        process.send_signal(signal.SIGTERM)
        assert answer.result().status == 200 and len(answer.result().json) == len(texts)
    rest = process.stdout.read()
    assert process.wait(30) in (0, -signal.SIGTERM)
    assert "secret" not in "".join(lines) + rest and "Traceback" not in rest


@pytest.mark.parametrize(
    ("words", "environment", "expected"),
    [
        (["--model", "gone"], {}, "error: gone: holds no model"),
        (["--model", "gone", "--engine", "steam"], {}, "error: --engine: no engine is called 'steam'"),
        (["--model", "{model}"], {"RERANK_TOKEN": ""}, "error: RERANK_TOKEN: is empty"),
        (["--model", "{model}"], {"RERANK_TOKEN": "a\n"}, "error: RERANK_TOKEN: is empty or has blanks"),
        (["--model", "{model}", "--timeout", "0"], {}, "argument --timeout: 0 is not above 0"),
        (["--model", "{model}", "--most-waiting", "0"], {}, "argument --most-waiting: 0 is below 1"),
        (["--model", "{model}", "--memory-mb", "-1"], {}, "argument --memory-mb: -1 is below 0"),
        (["--model", "{model}", "--port", "99999"], {}, "argument --port: 99999 is no port"),
    ],
)
def test_a_wrong_option_is_one_line(words, environment, expected, cross_encoder, monkeypatch, capsys):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as ended:
        run(command.main, command.arguments().parse_args([word.format(model=cross_encoder) for word in words]))
    assert expected in f"{ended.value.code}\n{capsys.readouterr().err}"
