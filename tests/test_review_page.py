"""The page of a review as a browser shows it: what it draws, finds, says and never does."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from xml.etree import ElementTree

import pandas as pd
import pytest
from browser import Tab, needs_chromium, tab
from checkout import ROOT, command
from review_project import RUN, make_project

from rerank.review.content import Page, Section, Table
from rerank.review.html import html
from rerank.review.markdown import markdown
from rerank.review.overlays import DRAW, for_the_dark, svg
from rerank.review.plots import TEMPLATES, Plot, overlaid, series

TEXTS = "<script>x()</script>", '"><img src=x onerror=x()>', "\x1b[31mred", "\u202etxt", "{{ 7 * 7 }}", "&lt;b&gt;"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give index.html of the small project's second commit against its first."""
    project = make_project(tmp_path_factory.mktemp("project"))
    command(project, f"{RUN} --base HEAD~1 --counts counts.json --seeds seeds.json")
    return project / "report/index.html"


def driven(page: Path, profile: Path, drive: Callable[[Tab], Awaitable[None]]) -> Tab:
    """Open the page in a browser, and drive it."""

    async def run() -> Tab:
        async with tab(profile) as opened:
            await opened.open(page)
            await drive(opened)
            return opened

    return asyncio.run(run())


@needs_chromium
def test_the_page_is_drawn_needs_nothing_and_says_nothing_in_the_console(page: Path, tmp_path: Path) -> None:
    async def drive(opened: Tab) -> None:
        assert str(await opened.value("document.querySelector('h1').textContent")).startswith("The fusion is worse")
        pictures = "[...document.images].filter((image) => image.naturalWidth > 100).map((image) => image.alt)"
        found = await opened.value(pictures)
        assert [words.split(":")[0] for words in found] == ["Validation", "Quality", "ROC", "Scores"]
        assert "fusion 0.750 before, 0.350 now" in found[1]
        for scheme in ("light", "dark"):
            await opened.look(width=1200, scheme=scheme)
            paper = await opened.value("getComputedStyle(document.body).backgroundColor")
            assert (paper == "rgb(255, 255, 255)") == (scheme == "light"), paper
        await opened.look(width=390, scheme="light")
        assert await opened.value("document.documentElement.scrollWidth <= innerWidth"), "wider than a phone"

    opened = driven(page, tmp_path / "profile", drive)
    assert opened.said == [] and opened.fetched == [page.as_uri()]


@needs_chromium
def test_a_search_shows_the_readers_with_all_its_words_and_says_how_many(page: Path, tmp_path: Path) -> None:
    shown = "[...document.querySelectorAll('details.reader')].filter((one) => one.checkVisibility())"

    async def drive(opened: Tab) -> None:
        everyone = await opened.value(f"{shown}.length")
        assert everyone > 10
        assert await opened.value("document.getElementById('found').textContent") == f"{everyone} of {everyone} readers"
        await opened.value("document.getElementById('wanted').focus()")
        user = await opened.value(f"{shown}[7].querySelector('.who').textContent.split(' ')[1]")
        await opened.type(f"LIKES-{user} dune")
        assert await opened.value(f"{shown}.map((one) => [one.open, one.textContent.includes('likes-{user}')])") == [
            [True, True]
        ]
        assert await opened.value("document.getElementById('found').textContent") == f"1 of {everyone} readers"
        await opened.type(" <b>nobody")
        assert await opened.value(f"{shown}.length") == 0

    assert driven(page, tmp_path / "profile", drive).said == []


@needs_chromium
def test_the_keyboard_reaches_everything_and_a_screen_reader_hears_its_name(page: Path, tmp_path: Path) -> None:
    async def drive(opened: Tab) -> None:
        await opened.press("Tab")
        assert await opened.value("document.activeElement.textContent") == "Skip to the findings"
        await opened.press("Enter")
        assert await opened.value("document.activeElement.id") == "findings"
        await opened.press("Tab")
        assert await opened.value("document.activeElement.id") == "wanted"
        await opened.value("document.querySelector('details.reader summary').focus()")
        await opened.press("Enter")
        assert await opened.value("document.querySelector('details.reader').open")
        await opened.call("Accessibility.enable")
        tree = (await opened.call("Accessibility.getFullAXTree"))["nodes"]
        spoken = {
            (node["role"]["value"], node.get("name", {}).get("value", "")) for node in tree if not node.get("ignored")
        }
        roles = {role for role, _ in spoken}
        assert {"main", "navigation", "search", "heading", "table", "image", "status"} <= roles
        named = {"image", "searchbox", "region", "link", "navigation", "heading", "columnheader"}
        assert not [role for role, name in spoken if role in named and not name.strip()]

    driven(page, tmp_path / "profile", drive)


def hostile() -> Page:
    """Return a page whose every text is somebody's attack."""
    (first, *_), words = TEXTS, " ".join(TEXTS)
    points = pd.DataFrame({"step": [0, 1], "value": [0.1, 0.2]})
    plot = Plot(words, "simple", "step", "value", words, words, {words: points, "now": points + 1})
    return Page(
        words,
        words,
        words,
        [Section(words, [first], TEXTS, Table(TEXTS, [TEXTS]), {words: Table(TEXTS, [TEXTS])}, [plot])],
    )


def test_no_text_is_markup_or_changes_the_order_of_what_is_read() -> None:
    text = html(hostile())
    seen = re.sub(r"<style>.*?</style>|<script>.*?</script>", "", text, count=2, flags=re.DOTALL)
    assert "<script" not in seen and "<img src=x" not in seen and "{{ 7 * 7 }}" in seen
    assert not {"\x1b", "\u202e"} & set(text) and r"\u202etxt" in text and r"\x1b[31m" in text
    assert "&amp;lt;b&amp;gt;" in text
    assert not {"\x1b", "\u202e"} & set(markdown(hostile()))


@needs_chromium
def test_a_hostile_page_runs_nothing_and_the_policy_refuses_what_is_put_into_it(tmp_path: Path) -> None:
    async def drive(opened: Tab) -> None:
        assert await opened.value("document.scripts.length + document.querySelectorAll('img[src=x]').length") == 1
        await opened.value(
            "document.body.append(Object.assign(document.createElement('script'), {text: 'window.x = 1'}))"
        )
        await opened.value("document.body.append(Object.assign(new Image(), {src: 'http://127.0.0.1:9/x.png'}))")
        assert await opened.value("window.x === undefined")

    (tmp_path / "index.html").write_text(html(hostile()), encoding="utf-8")
    opened = driven(tmp_path / "index.html", tmp_path / "profile", drive)
    assert len([line for line in opened.said if "Content Security Policy" in line]) == 2


def _plot(template: str) -> Plot:
    table = pd.DataFrame(
        {
            "system": ["item_knn", "fused"] * 2,
            "label": ["positive", "negative"] * 2,
            "colour": ["#661100", "#111111"] * 2,
        }
        | {"x": [0.0, 0.1, 0.6, 0.7], "y": [0.3, 0.4, 0.5, 0.6], "low": [0.2] * 4, "high": [0.9] * 4}
    )
    x, y = ("x", "system") if template == "intervals" else ("x", "y")
    table = table.drop_duplicates("system") if template == "intervals" else table
    return Plot("Title", template, x, y, "x of $a$", "y", {"before": table, "now": table.assign(x=table["x"] + 0.1)})


@pytest.mark.parametrize("template", DRAW)
def test_a_picture_shows_both_has_words_and_the_same_bytes_and_is_light_in_the_dark(template: str) -> None:
    picture = svg(_plot(template))
    words = "".join(ElementTree.fromstring(picture).itertext())
    assert "before" in words and "now" in words and "x of $a$" in words
    assert picture == svg(_plot(template))
    for colour in re.findall(r"#[0-9a-f]{6}\b", for_the_dark(picture)):
        red, green, blue = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
        assert max(red, green, blue) + min(red, green, blue) >= 2 * 0.61 * 255


@pytest.mark.parametrize(
    ("change", "drawn"),
    [({}, True), ({"y": ["value", "other"]}, False), ({"template": "mine"}, False), ({"x": "name"}, False)],
)
def test_what_is_no_plot_of_ours_is_left_out_and_a_missing_column_is_named(change: dict, drawn: bool) -> None:
    table = pd.DataFrame({"step": [0, 1], "value": [0.1, None], "name": ["a", "b"]})
    properties = {"template": "simple", "x": "step", "y": "value", **change}
    plot = overlaid(properties, {"before": table, "now": table.assign(value=0.2)})
    assert (plot is not None) == drawn
    assert overlaid(properties, {"before": None, "now": table}) is None
    if plot:
        assert series(plot, most=9) is None and "now" in svg(plot)
        with pytest.raises(ValueError, match="no column 'system'"):
            overlaid({**properties, "template": "curves"}, {"before": table, "now": table.assign(value=0.2)})


def test_every_template_that_the_pipeline_declares_can_be_drawn() -> None:
    text = (ROOT / "dvc.yaml").read_text(encoding="utf-8")
    found = set(re.findall(r"^ +template: (\w+)$", text, flags=re.MULTILINE))
    assert len(found) > 3 and found <= set(DRAW) == set(TEMPLATES)
