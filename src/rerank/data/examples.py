"""Some of the pairs that were dropped because they leak, to look at: whether the rule finds what it should.

The lowest hashes decide which, so that the same table in other blocks shows the same.
"""

import csv
from pathlib import Path

import duckdb

from rerank.data import hashing, leaks

COLUMNS = ("user_id", "book_id", "title", "context")
SHOWN, CONTEXT_LENGTH = 20, 200
# Of ``keys`` on one machine.
KEYS_WITH_IDS = "keys JOIN users USING (user_number) JOIN books USING (book_number)"


def first_leaked(keys: str, *, seed: int) -> str:
    """Return the query for the keys (``user_id``, ``book_id``) that are shown.

    Args:
        keys: an SQL table expression with the two ids and ``reason``.
    """
    order = f"{hashing.pair_order(seed)}, user_id::VARCHAR, book_id::VARCHAR"
    return f"SELECT user_id, book_id, reason FROM {keys} WHERE reason = 'leaked' ORDER BY {order} LIMIT {SHOWN}"


def read(connection: duckdb.DuckDBPyConnection, rows: str, *, title_pattern: str | None) -> None:
    """Make the temporary table ``leaked`` with `COLUMNS`: of a key with several texts that leak the lowest.

    Args:
        rows: an SQL table expression with the rows of the keys that are shown: both ids and both texts.
        title_pattern: see `leaks.named_title`; None: there are none.
    """
    if title_pattern is None:
        empty = ", ".join(f"'' AS {column}" for column in COLUMNS)
        connection.execute(f"CREATE TEMP TABLE leaked AS SELECT {empty} WHERE false")
        return
    connection.execute(f"""
        CREATE TEMP TABLE leaked_rows AS
        SELECT row_number() OVER () AS number, user_id::VARCHAR AS user_id, book_id::VARCHAR AS book_id, user_ctx,
            {leaks.named_title("book_text", title_pattern)} AS named, {leaks.title("book_text", title_pattern)} AS title
        FROM {rows}""")
    favourites = leaks.favourites("SELECT number, user_ctx AS context FROM leaked_rows")
    connection.execute(f"""
        CREATE TEMP TABLE leaked AS
        SELECT user_id, book_id, lowest.named AS title, left(lowest.user_ctx, {CONTEXT_LENGTH}) AS context
        FROM (SELECT user_id, book_id, min({{'named': named, 'user_ctx': user_ctx}}) AS lowest
              FROM leaked_rows JOIN ({favourites}) USING (number) WHERE favourite = title GROUP BY user_id, book_id)""")


def write(connection: duckdb.DuckDBPyConnection, file: Path, *, seed: int) -> None:
    """Write ``leaked`` by hash order, every text in quotation marks; the header alone when there is none."""
    order = f"{hashing.pair_order(seed)}, user_id, book_id"
    rows = connection.execute(f"SELECT {', '.join(COLUMNS)} FROM leaked ORDER BY {order}").fetchall()
    with file.open("w", encoding="utf-8", newline="") as target:
        writer = csv.writer(target, quoting=csv.QUOTE_ALL, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(rows)
