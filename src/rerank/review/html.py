"""The page as one HTML file that needs nothing else: no network, no script but its own, every text escaped."""

import base64
import hashlib
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup, escape

from rerank.measure.markdown import shown
from rerank.review.content import HEADING, Page
from rerank.review.examples import Example
from rerank.review.overlays import for_the_dark, svg
from rerank.review.plots import Plot

TEMPLATE, STYLE, SCRIPT = (Path(__file__).with_name(name) for name in ("page.html", "page.css", "page.js"))
# Letters of a text: a page has room, a browser has limits.
LETTERS = 2_000


def _text(value: Any) -> Any:
    """Return a text as HTML that shows what it is, also what does not print, such as ESC or a change of direction."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    return escape(shown(value[:LETTERS] + "…" * (len(value) > LETTERS)))


def _hashed(content: str) -> str:
    digest = hashlib.sha256(content.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def _address(picture: str) -> Markup:
    return Markup("data:image/svg+xml;base64," + base64.b64encode(picture.encode()).decode())


def _drawn(plot: Plot) -> dict[str, Any]:
    light = svg(plot)
    return {
        "title": plot.title,
        "words": plot.alternative(),
        "light": _address(light),
        "dark": _address(for_the_dark(light)),
    }


def _rows(reader: Example) -> list[dict[str, Any]]:
    """Return the reader's books: the top now, then what fell out of it."""

    def row(rank: float, before: float, label: float, text: str) -> dict[str, Any]:
        known = not pd.isna(before)
        moved = int(before - rank) if known else 0
        return {
            "rank": int(rank),
            "before": int(before) if known else "new",
            "moved": f"▲ {moved}" if moved > 0 else f"▼ {-moved}" if moved < 0 else "",
            "liked": "" if label == 0 else f"{label:g}",
            "text": text,
        }

    parts = (reader.top, reader.fallen)
    return [row(*values) for part in parts for values in part.itertuples(index=False, name=None)]


def html(page: Page) -> str:
    """Return the page.

    Its policy forbids the browser all but the style and the script in it, by their hashes, and the pictures in it.
    """
    environment = Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined, finalize=_text
    )
    style, script = (path.read_text(encoding="utf-8") for path in (STYLE, SCRIPT))
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    return template.render(
        page=page,
        style=Markup(style),
        script=Markup(script),
        policy=f"default-src 'none'; img-src data:; style-src {_hashed(style)}; script-src {_hashed(script)}; "
        "base-uri 'none'; form-action 'none'",
        heading=HEADING,
        rows=_rows,
        drawn=_drawn,
    )
