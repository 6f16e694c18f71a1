"""The catalogue by its titles: which books a context names as favourites, and which book a text is."""

from collections.abc import Sequence

import duckdb
import numpy as np
import numpy.typing as npt
import pandas as pd

from rerank.data import leaks
from rerank.data.sql import literal
from rerank.errors import UserError

COLUMNS = ("book_id", "title", "text", "part", "cold")
UNKNOWN = ""


def _titled(column: str, title_pattern: str | None) -> str:
    """Return the SQL expressions for the title's words, see `leaks`, and the MD5 of a column of texts."""
    title = "NULL::VARCHAR" if title_pattern is None else leaks.title(column, title_pattern)
    return f"{title} AS title, md5(trim({column}, E' \\t\\r\\n')) AS text"


def catalogue(books: pd.DataFrame, *, title_pattern: str | None, favourite_parts: str | None = None) -> pd.DataFrame:
    """Return `COLUMNS` of each book, sorted by book_id: the title's words, or null, the MD5 of the text, and the part.

    Args:
        books: frame with book_id, book_text and cold, one row a book.
        title_pattern: see `leaks.named_title`; None: no title is known.
        favourite_parts: an RE2 regular expression whose first group is what `rerank.data.contexts` tells of a book that
            is a favourite; None: nothing.
    """
    connection = duckdb.connect()
    connection.register("books", books)
    part = "NULL::VARCHAR"
    if favourite_parts is not None:
        words = f"regexp_extract(book_text, {literal(favourite_parts)}, 1)"
        part = f"nullif(trim(regexp_replace({words}, '[()\\s]+', ' ', 'g')), '')"
    rows = f"SELECT book_id, {_titled('book_text', title_pattern)}, {part} AS part, cold FROM books ORDER BY book_id"
    try:
        return connection.sql(rows).df()
    except duckdb.InvalidInputException as error:
        raise UserError(f"params.yaml: favourite_parts is {favourite_parts!r}: {error}: write it as RE2 does") from None


def found(contexts: Sequence[str], catalogue: pd.DataFrame) -> pd.DataFrame:
    """Return the books that each context names, sorted.

    Args:
        contexts: texts.
        catalogue: see `catalogue`. A book is named by its whole title, see `leaks`; of the same title all are found.

    Returns:
        Frame with ``context``, its place in ``contexts``, ``book_id``, and ``share``: 1, or of several books with one
        title 1 / their number.
    """
    connection = duckdb.connect()
    connection.register("contexts", pd.DataFrame({"number": range(len(contexts)), "context": list(contexts)}))
    connection.register("catalogue", catalogue)
    named = leaks.favourites("SELECT number, context FROM contexts")
    return connection.sql(
        f"SELECT DISTINCT number AS context, book_id, 1.0::FLOAT / count(*) OVER (PARTITION BY number, title) AS share "
        f"FROM ({named}) JOIN catalogue ON favourite = title ORDER BY ALL"
    ).df()


def books_of(texts: Sequence[str], catalogue: pd.DataFrame, *, title_pattern: str | None) -> npt.NDArray[np.object_]:
    """Return the id of the book that each text is, `UNKNOWN` for one that is not in the catalogue, shape (texts,).

    The same text decides, blanks around it aside, or else the same title; of several books with it a warm one, and of
    these the first by id.
    """
    connection = duckdb.connect()
    connection.register("texts", pd.DataFrame({"number": range(len(texts)), "candidate": list(texts)}))
    connection.register("catalogue", catalogue)
    first = "min({'cold': cold, 'book_id': book_id}).book_id"
    rows = connection.sql(f"""
        WITH candidates AS (SELECT number, {_titled("candidate", title_pattern)} FROM texts)
        SELECT coalesce(
            (SELECT {first} FROM catalogue WHERE catalogue.text = candidates.text),
            (SELECT {first} FROM catalogue WHERE catalogue.title = candidates.title), '{UNKNOWN}')
        FROM candidates ORDER BY number""").fetchall()
    return np.array([book for (book,) in rows], dtype=object)
