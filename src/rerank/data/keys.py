"""The SQL from rows to keys: what decides whether a (user, book) stays, without its texts.

A key is one (user, book). Everything about it that decides whether it stays merges exactly: its lowest and highest
label, its number of rows, and whether any of them leaks or has both texts. The functions make temporary tables of one
DuckDB connection from ``pairs`` (`COLUMNS`; the ids may be whole numbers) or from parts of keys:

    users, books                            an id and its number, which stands for it in large tables
    merged, keys                            one row a key; ``keys`` says why it goes (``reason``), or null
    without_title                           the number of rows without a title
"""

import duckdb

from rerank.data import leaks
from rerank.data.sql import is_filled, literal
from rerank.errors import UserError

# The bits of a key's flags.
LEAKED, FILLED = 1, 2
# The keys of one block with their ids.
KEY_PARTS = (
    "SELECT user_id::VARCHAR AS user_id, book_id::VARCHAR AS book_id, lowest, highest, row_count, flags "
    "FROM merged JOIN users USING (user_number) JOIN books USING (book_number)"
)
# Of ``keys``, what is counted in the end.
KEY_COUNTS = "SELECT reason, count(*) AS pairs, sum(row_count)::BIGINT AS row_count FROM keys GROUP BY reason"


def number_ids(connection: duckdb.DuckDBPyConnection, noun: str, ids: str) -> None:
    """Make the table ``{noun}s`` with ``{noun}_number`` from a query that gives each ``{noun}_id`` once."""
    connection.execute(
        f"CREATE TEMP TABLE {noun}s AS SELECT row_number() OVER ()::INTEGER AS {noun}_number, * FROM ({ids})"
    )


def _number_texts(connection: duckdb.DuckDBPyConnection, noun: str, text: str) -> str:
    """Make ``{noun}s``, and the table ``{text}s`` of the distinct texts; return the column that leads from a row there.

    Mostly an id has one text: then the id's number leads to it, and the texts of all rows need not be read again.
    """
    connection.execute(
        f"CREATE TEMP TABLE found AS SELECT {noun}_id, {text}, count(*) AS row_count FROM pairs GROUP BY ALL"
    )
    if connection.execute(f"SELECT count(*) = count(DISTINCT {noun}_id) FROM found").fetchall() == [(True,)]:
        key, ids, texts = (
            f"{noun}_number",
            f"SELECT {noun}_id, {text} FROM found",
            f"found JOIN {noun}s USING ({noun}_id)",
        )
        texts = f"SELECT {noun}_number, found.{text}, row_count FROM {texts}"
    else:
        key, ids = text, f"SELECT DISTINCT {noun}_id FROM found"
        texts = f"SELECT {text}, sum(row_count) AS row_count FROM found GROUP BY {text}"
    number_ids(connection, noun, ids)
    connection.execute(f"CREATE TEMP TABLE {text}s AS SELECT row_number() OVER ()::INTEGER AS number, * FROM ({texts})")
    connection.execute("DROP TABLE found")
    return key


def _merge(connection: duckdb.DuckDBPyConnection, rows: str) -> None:
    """Make ``merged`` and ``keys`` from a query that gives keys, or parts of them, by number."""
    connection.execute(f"""
        CREATE TEMP TABLE merged AS
        SELECT user_number, book_number, min(lowest) AS lowest, max(highest) AS highest,
            sum(row_count)::INTEGER AS row_count, bit_or(flags) AS flags
        FROM ({rows}) GROUP BY user_number, book_number""")
    connection.execute(f"""
        CREATE TEMP VIEW keys AS
        SELECT user_number, book_number, lowest AS label, row_count,
            CASE WHEN lowest < highest THEN 'contradictions'
                 WHEN flags & {LEAKED} > 0 THEN 'leaked'
                 WHEN flags & {FILLED} = 0 THEN 'empty_texts' END AS reason
        FROM merged""")


def check_title_pattern(title_pattern: str | None) -> None:
    """Check that DuckDB can search with the pattern.

    Raises:
        UserError: when ``title_pattern`` is neither null nor an RE2 regular expression.
    """
    if title_pattern is None:
        return
    try:
        duckdb.connect().execute(f"SELECT {leaks.title(literal(''), title_pattern)}")
    except duckdb.Error as error:
        raise UserError(
            f"params.yaml: title_pattern is {title_pattern!r}: give an RE2 regular expression with one group, or null "
            f"({str(error).splitlines()[0]})"
        ) from None


def collect_keys(connection: duckdb.DuckDBPyConnection, *, title_pattern: str | None) -> bool:
    """Make ``users``, ``books``, ``merged``, ``keys`` and ``without_title`` from ``pairs``.

    Titles and contexts are taken apart once for each distinct text, and meet by equality.

    Args:
        title_pattern: see `leaks.named_title`; None: no leak is looked for, and no title is missed.

    Returns:
        Whether every user has one context and every book one text, which ``users`` and ``books`` then have.
    """
    user_key = _number_texts(connection, "user", "user_ctx")
    book_key = _number_texts(connection, "book", "book_text")
    title = "NULL::VARCHAR" if title_pattern is None else leaks.title("book_text", title_pattern)
    connection.execute(f"""
        CREATE TEMP TABLE titled AS
        SELECT {book_key}, row_count, {is_filled("book_text")} AS has_text, {title} AS title
        FROM book_texts""")
    number_ids(connection, "title", "SELECT DISTINCT title AS title_id FROM titled WHERE title IS NOT NULL")
    without = "0" if title_pattern is None else "coalesce(sum(row_count) FILTER (has_text AND title IS NULL), 0)"
    connection.execute(f"CREATE TEMP TABLE without_title AS SELECT {without}::BIGINT AS row_count FROM titled")
    connection.execute(f"""
        CREATE TEMP TABLE contexts AS
        SELECT number AS context, {user_key}, {is_filled("user_ctx")} AS has_context FROM user_ctxs""")
    connection.execute(f"""
        CREATE TEMP TABLE texts AS
        SELECT {book_key}, has_text, title_number FROM titled LEFT JOIN titles ON title = title_id""")
    # A pair meets one (context, title) at most: contexts with equal favourites never meet all books of a title.
    contexts = "SELECT number, user_ctx AS context FROM user_ctxs"
    named = f"({leaks.favourites(contexts)}) JOIN titles ON favourite = title_id"
    connection.execute(
        "CREATE TEMP TABLE named AS SELECT number AS context, title_number, true AS leaked FROM "
        + (named if title_pattern is not None else "user_ctxs, titles WHERE false")
    )
    context_of_row = "users.user_number" if user_key == "user_number" else "pairs.user_ctx"
    text_of_row = "books.book_number" if book_key == "book_number" else "pairs.book_text"
    _merge(
        connection,
        f"""
        SELECT users.user_number, books.book_number, label AS lowest, label AS highest, 1 AS row_count,
            (CASE WHEN leaked THEN {LEAKED} ELSE 0 END
             + CASE WHEN has_context AND has_text THEN {FILLED} ELSE 0 END)::UTINYINT AS flags
        FROM pairs JOIN users USING (user_id) JOIN books USING (book_id)
        LEFT JOIN contexts ON contexts.{user_key} = {context_of_row}
        LEFT JOIN texts ON texts.{book_key} = {text_of_row}
        LEFT JOIN named USING (context, title_number)""",
    )
    for table in ("contexts", "texts", "titled", "titles", "named", "user_ctxs", "book_texts"):
        connection.execute(f"DROP TABLE {table}")
    return (user_key, book_key) == ("user_number", "book_number")


def merge_keys(connection: duckdb.DuckDBPyConnection) -> None:
    """Make ``users``, ``books``, ``merged`` and ``keys`` from ``parts``, the `KEY_PARTS` of several blocks."""
    number_ids(connection, "user", "SELECT DISTINCT user_id FROM parts")
    number_ids(connection, "book", "SELECT DISTINCT book_id FROM parts")
    _merge(connection, "SELECT * FROM parts JOIN users USING (user_id) JOIN books USING (book_id)")
