"""Negatives for users who have none, or too few: books that they have no row for, drawn by hash.

Such a book is unknown to the user, not disliked. All books are drawn alike, so where a few books have most readers,
popularity alone tells these negatives from positives better than it tells what is liked from what is not.
"""

import math

import duckdb

from rerank.data.sql import is_filled, number, one_row
from rerank.errors import UserError


def _prime(least: int) -> int:
    """Return the lowest prime that is at least ``least``."""
    number = max(2, least)
    while any(number % divisor == 0 for divisor in range(2, math.isqrt(number) + 1)):
        number += 1
    return number


def sample(
    connection: duckdb.DuckDBPyConnection, pairs: str, *, per_user: int, seed: int, alike: str | None = None
) -> list[str]:
    """Make the temporary table ``unread``: ``per_user`` books of each user, or all there are; return notes on it.

    All books stand in a ring whose length is a prime, the lowest that has a place for each. From a place of its own a
    user takes steps of a length of its own, so that no place comes twice, and takes the first books that it has not.
    So what a user gets follows from its id, its own books, the texts of all books and the seed alone, and no user
    is ever compared with all books. Books of one text are one book, and one without a text is none.

    Args:
        connection: with the table ``catalogue`` (book_id: each once, book_text).
        pairs: the name of a table with the columns user_id, book_id and label, a text.
        per_user: 0 makes an empty table.
        seed: of the hashes.
        alike: a query for user_id and ``said``; users who say the same have each other's books.

    Raises:
        UserError: for 0, where no pair is a negative.
    """
    if not per_user:
        if not connection.execute(f"SELECT 1 AS found FROM {pairs} WHERE {number('label')} <= 0 LIMIT 1").fetchall():
            raise UserError(
                "params.yaml: sampled_negatives is 0, and no pair of the source is a negative: set it, such as to 100"
            )
        connection.execute(f"CREATE TEMP TABLE unread AS SELECT user_id, book_id FROM {pairs} LIMIT 0")
        return []
    connection.execute(f"""
        CREATE TEMP TABLE texts AS
        SELECT book_id, min(book_id) OVER (PARTITION BY md5(trim(book_text, E' \\t\\r\\n'))) AS first
        FROM catalogue WHERE {is_filled("book_text")}""")
    books = int(one_row(connection, "SELECT count(DISTINCT first) AS books FROM texts")["books"])
    ring = _prime(books)
    seen = f"SELECT user_id, book_id FROM {pairs}"
    if alike:
        seen = (
            f"WITH said AS ({alike}) SELECT theirs.user_id, book_id FROM {pairs} JOIN said AS mine USING (user_id) "
            "JOIN said AS theirs ON mine.said = theirs.said"
        )
    connection.execute(f"""
        CREATE TEMP TABLE unread AS
        WITH seen AS (
            SELECT DISTINCT user_id, coalesce(first, book_id) AS book_id FROM ({seen}) LEFT JOIN texts USING (book_id)),
        places AS (
            SELECT first AS book_id, row_number() OVER (ORDER BY md5('negative|{seed}|' || first), first) - 1 AS place
            FROM (SELECT DISTINCT first FROM texts)),
        walkers AS (
            SELECT user_id,
                CAST(md5_number_upper('start|{seed}|' || user_id) % {ring} AS BIGINT) AS start,
                1 + CAST(md5_number_upper('step|{seed}|' || user_id) % {ring - 1} AS BIGINT) AS length,
                unnest(range(least({ring}, count(*) + {per_user + ring - books}))) AS step
            FROM seen GROUP BY user_id),
        found AS (
            SELECT user_id, book_id, step
            FROM walkers JOIN places ON place = (start + step * length) % {ring}
            ANTI JOIN seen USING (user_id, book_id))
        SELECT user_id, book_id FROM found
        QUALIFY row_number() OVER (PARTITION BY user_id ORDER BY step) <= {per_user}""")
    found = one_row(connection, "SELECT count(*) AS pairs, count(DISTINCT user_id) AS users FROM unread")
    return [
        f"{found['pairs']:,} negatives sampled, up to {per_user:,} for each of {found['users']:,} users, of {books:,} "
        "texts that it has no row for: unknown, not disliked, and often rare: beat popularity first"
    ]
