"""What is counted of a sample: the rows that came, those that stay, and why each of the others went."""

from typing import Any

import duckdb

from rerank.data.sql import one_row
from rerank.errors import UserError

# A pair's rows go for the first reason that applies; a duplicate is one more row of a pair that stays.
ROW_REASONS = ("contradictions", "leaked", "empty_texts", "duplicates")
USER_REASONS = ("users_below_min_positives", "users_without_negatives", "users_beyond_max_users")
# Users outside training whose context, blanks and capitals aside, is a training user's too.
TAUGHT_CONTEXTS = """
    WITH contexts AS (
        SELECT DISTINCT user_id, {split} = 'train' AS training, lower(trim(user_ctx, E' \\t\\r\\n')) AS said
        FROM sampled)
    SELECT count(*) AS users_with_a_taught_context FROM contexts SEMI JOIN (FROM contexts WHERE training) USING (said)
    WHERE NOT training"""


def count(connection: duckdb.DuckDBPyConnection, *, split_name: str) -> dict[str, Any]:
    """Return the counts that are written; raw rows are sampled and dropped rows together.

    ``split_name`` is `rerank.data.hashing.split_name`. Reads ``key_counts``, ``without_title``, ``readers``, ``books``
    and ``sampled``.
    """
    raw = one_row(
        connection,
        "SELECT coalesce(sum(row_count), 0)::BIGINT AS rows, (SELECT count(*) FROM readers) AS users, "
        "(SELECT count(*) FROM books) AS books, (SELECT sum(row_count)::BIGINT FROM without_title) AS without_title "
        "FROM key_counts",
    )
    rows_by_reason = dict(
        connection.execute(
            "SELECT reason, sum(row_count)::BIGINT FROM key_counts WHERE reason IS NOT NULL GROUP BY reason "
            "UNION ALL SELECT 'duplicates', sum(row_count - pairs)::BIGINT FROM key_counts WHERE reason IS NULL "
            "UNION ALL SELECT coalesce(reason, 'beyond_the_lists'), sum(pairs)::BIGINT FROM readers "
            "GROUP BY reason"
        ).fetchall()
    )
    users_by_reason = dict(connection.execute("SELECT reason, count(*) FROM readers GROUP BY reason").fetchall())
    sampled = one_row(
        connection,
        "SELECT count(*) AS rows, count(DISTINCT user_id) AS users, count(DISTINCT book_id) AS books, "
        "count(*) FILTER (label > 0) AS positives, round(avg((label > 0)::INT), 6) AS positive_share, "
        "count(*) FILTER (cold) AS cold_rows FROM sampled JOIN (SELECT book_id, cold FROM catalogue) USING (book_id)",
    )
    dropped = {reason: rows_by_reason.get(reason) or 0 for reason in ROW_REASONS + USER_REASONS}
    dropped["beyond_the_lists"] = rows_by_reason.get("beyond_the_lists", 0) - sampled["rows"]
    assert raw["rows"] == sampled["rows"] + sum(dropped.values()), f"rows are lost: {raw}, {sampled}, {dropped}"
    return {
        "raw": {name: raw[name] for name in ("rows", "users", "books")},
        "dropped": dropped,
        "dropped_users": {reason.removeprefix("users_"): users_by_reason.get(reason, 0) for reason in USER_REASONS},
        "sampled": sampled,
        "positives_per_user": one_row(
            connection,
            "SELECT round(avg(positives), 6) AS mean, median(positives) AS median, min(positives) AS min, "
            "max(positives) AS max FROM readers WHERE reason IS NULL",
        ),
        "rows_without_title": raw["without_title"],
        **one_row(connection, TAUGHT_CONTEXTS.format(split=split_name)),
    }


def check_users(counts: dict[str, Any], *, min_positives: int) -> None:
    """Check that somebody is left.

    Raises:
        UserError: when no user is.
    """
    if counts["sampled"]["users"] == 0:
        few, lacking = (counts["dropped_users"][reason] for reason in ("below_min_positives", "without_negatives"))
        rows = ", ".join(f"{counts['dropped'][reason]:,} {reason}" for reason in ROW_REASONS)
        raise UserError(
            f"sample: none of {counts['raw']['users']:,} users is left: {few:,} have fewer positives than "
            f"min_positives ({min_positives}), {lacking:,} have no negative; of "
            f"{counts['raw']['rows']:,} rows the cleaning dropped {rows}: "
            "lower min_positives in params.yaml, or correct the pairs"
        )


def warning(counts: dict[str, Any]) -> str | None:
    """Return what a person should know before believing what is measured, in one line."""
    if not (taught := counts["users_with_a_taught_context"]):
        return None
    return (
        f"{taught:,} users of validation and test have the context of a training user: what is measured of them is "
        "partly learnt by heart; where the context is a query, set user_column to null, so that one query is one user"
    )


def summary(counts: dict[str, Any], *, left_out: int) -> dict[str, int]:
    """Return the few counts that are compared between runs; of what should be none only where there is any."""
    taught = counts["users_with_a_taught_context"]
    return {
        "rows": counts["sampled"]["rows"],
        "users": counts["sampled"]["users"],
        **{name: number for name, number in (("taught_contexts", taught), ("left_out", left_out)) if number},
    }
