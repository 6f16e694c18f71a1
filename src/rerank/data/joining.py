"""Give the judgments of a search set the texts of their documents: candidate lists that can be ranked.

A judgment is a row: a query, a document's id and a grade. Contradictory judgments go, those whose document has no text,
repeated ones, and then queries that are left without a relevant or without an irrelevant document, because nothing can
be ranked there. The counts say what goes and how much of it was relevant: what is lost makes a set easier.
"""

from typing import Any

import duckdb

from rerank.data.pairs import COLUMNS
from rerank.data.sql import one_row
from rerank.errors import UserError

# A judgment goes for the first reason that applies; a repeated one is one more row of a judgment that stays.
REASONS = ("contradictory", "without_text", "repeated", "queries_without_relevant", "queries_without_irrelevant")


def _join_texts(connection: duckdb.DuckDBPyConnection) -> None:
    """Make the table ``joined``: a row for each query and judged document, with its text, and why it goes, if it does.

    From the views ``judgments`` (user_id, book_id, user_ctx, label) and ``documents`` (book_id, book_text).
    """
    connection.execute("""
        CREATE TEMP TABLE joined AS
        WITH keys AS (
            SELECT user_id, book_id, min(user_ctx) AS user_ctx, min(label) AS label, max(label) AS highest,
                count(*) AS row_count, count(*) FILTER (label > 0) AS relevant_rows
            FROM judgments GROUP BY user_id, book_id),
        texts AS (
            SELECT book_id, min(book_text) AS book_text FROM documents SEMI JOIN keys USING (book_id) GROUP BY book_id)
        SELECT keys.*, book_text,
            CASE WHEN label < highest THEN 'contradictory' WHEN book_text IS NULL THEN 'without_text' END AS reason
        FROM keys LEFT JOIN texts USING (book_id)""")


def _choose_queries(connection: duckdb.DuckDBPyConnection) -> None:
    """Make the table ``queries``, with why one goes, and the tables ``reasons`` and ``judged`` from ``joined``."""
    connection.execute("""
        CREATE TEMP TABLE queries AS
        SELECT user_id,
            CASE WHEN count(*) FILTER (reason IS NULL AND label > 0) = 0 THEN 'queries_without_relevant'
                 WHEN count(*) FILTER (reason IS NULL AND label = 0) = 0 THEN 'queries_without_irrelevant' END AS reason
        FROM joined GROUP BY user_id""")
    connection.execute("""
        CREATE TEMP TABLE reasons AS
        SELECT joined.* REPLACE (coalesce(joined.reason, queries.reason) AS reason)
        FROM joined JOIN queries USING (user_id)""")
    connection.execute(f"CREATE TEMP TABLE judged AS SELECT {', '.join(COLUMNS)} FROM reasons WHERE reason IS NULL")


def _count(connection: duckdb.DuckDBPyConnection) -> dict[str, Any]:
    """Return all that is counted."""
    judgments = one_row(
        connection,
        "SELECT count(*) AS rows, count(DISTINCT user_id) AS queries, count(DISTINCT book_id) AS documents, "
        "count(*) FILTER (label > 0) AS relevant FROM judgments",
    )
    documents = one_row(
        connection, "SELECT count(*) AS rows, count(*) - count(DISTINCT book_id) AS repeated FROM documents"
    )
    judged = one_row(
        connection,
        "SELECT count(*) AS rows, count(DISTINCT user_id) AS queries, count(DISTINCT book_id) AS documents, "
        "count(*) FILTER (label > 0) AS relevant FROM judged",
    )
    gone = connection.execute(
        "SELECT reason, sum(row_count)::BIGINT, sum(relevant_rows)::BIGINT FROM reasons WHERE reason IS NOT NULL "
        "GROUP BY reason UNION ALL "
        "SELECT 'repeated', sum(row_count - 1)::BIGINT, sum(greatest(relevant_rows - 1, 0))::BIGINT FROM reasons "
        "WHERE reason IS NULL"
    ).fetchall()
    rows, relevant = ({row[0]: row[column] or 0 for row in gone} for column in (1, 2))
    dropped, dropped_relevant = ({reason: lost.get(reason, 0) for reason in REASONS} for lost in (rows, relevant))
    for column, lost in (("rows", dropped), ("relevant", dropped_relevant)):
        assert judgments[column] == judged[column] + sum(lost.values()), f"judgments are lost: {judgments}, {lost}"
    queries = dict(connection.execute("SELECT reason, count(*) FROM queries GROUP BY reason").fetchall())
    return {
        "judgments": judgments,
        "documents": documents,
        "dropped": dropped,
        "dropped_relevant": dropped_relevant,
        "dropped_queries": {reason.removeprefix("queries_"): queries.get(reason, 0) for reason in REASONS[-2:]},
        "judged": judged,
    }


def join(connection: duckdb.DuckDBPyConnection) -> dict[str, Any]:
    """Make the temporary table ``judged`` with `rerank.data.pairs.COLUMNS`, unsorted, and return the counts.

    The reasons in ``dropped`` are tried in the order of `REASONS`, and every row counts once: contradictory (all rows
    of a query and document with different grades), without_text (all rows of a document without one), repeated (further
    rows of a judgment that stays), and the rows of queries that are left without a relevant or an irrelevant document.
    ``dropped_relevant`` counts those of them with a grade above 0. Of a document or query with several texts the lowest
    counts.

    Args:
        connection: with the views ``judgments`` and ``documents`` of `rerank.data.judgments`.

    Raises:
        UserError: when no query is left.
    """
    _join_texts(connection)
    _choose_queries(connection)
    counts = _count(connection)
    if counts["judged"]["queries"] == 0:
        why = ", ".join(f"{count:,} {reason}" for reason, count in counts["dropped"].items() if count)
        raise UserError(
            f"join: no query is left with a relevant and an irrelevant document: {why} of "
            f"{counts['judgments']['rows']:,} judgments: set document_id_column in params.yaml, or correct the tables"
        )
    return counts
