"""Make the cleaned, reproducible sample that everything after it uses, from the raw pairs.

Contradictory, leaked, empty and duplicate pairs go first, then users with too few positives; of the users that
stay, the pairs with the lowest hashes are kept: a few positives and distinct negatives for training users, a longer
candidate list for validation and test users. Which pairs stay depends on the seed, the ids and the user's own rows
alone, so the same table in another order, in other files, or with more users gives the same pairs. The first pass
reads keys and flags, the second reads texts only for the pairs that stay; metrics/data.json counts what goes, and why.
"""

import sys
import tempfile
from pathlib import Path
from typing import Any

import duckdb

from rerank import hashing, leaks
from rerank.errors import UserError, run
from rerank.files import replacing, write_json
from rerank.lengths import load_tokenizer, share_longer
from rerank.pairs import COLUMNS, SourceColumns, is_filled, read
from rerank.params import declared

MEMORY_LIMIT = "4GB"
# A pair's rows go for the first reason that applies; a duplicate is one more row of a pair that stays.
ROW_REASONS = ("contradictions", "leaked", "empty_texts", "duplicates")
USER_REASONS = ("users_below_min_positives", "users_without_negatives", "users_beyond_max_users")


def _one_row(connection: duckdb.DuckDBPyConnection, query: str) -> dict[str, Any]:
    cursor = connection.execute(query)
    assert cursor.description is not None, "a SELECT has columns"
    (row,) = cursor.fetchall()
    return dict(zip((column[0] for column in cursor.description), row, strict=True))


def _collect_keys(connection: duckdb.DuckDBPyConnection, *, title_pattern: str) -> None:
    """Make the table ``keys`` from ``pairs``: one row for each (user, book), with the reason why it goes, if any.

    Titles and contexts are taken apart once for each distinct text, not once for each row.
    """
    try:
        connection.execute(f"SELECT {leaks.title_parts(leaks.literal(''), title_pattern)}")
    except duckdb.Error as error:
        raise UserError(
            f"params.yaml: title_pattern is {title_pattern!r}: give an RE2 regular expression with one group "
            f"({str(error).splitlines()[0]})"
        ) from None
    connection.execute(f"""
        CREATE TEMP TABLE contexts AS
        SELECT user_ctx, {is_filled("user_ctx")} AS has_context, {leaks.parts("user_ctx")} AS context
        FROM (SELECT DISTINCT user_ctx FROM pairs)""")
    connection.execute(f"""
        CREATE TEMP TABLE texts AS
        SELECT book_text, {is_filled("book_text")} AS has_text, title, {leaks.main_title("title")} AS main
        FROM (SELECT book_text, {leaks.title_parts("book_text", title_pattern)} AS title
              FROM (SELECT DISTINCT book_text FROM pairs))""")
    connection.execute(f"""
        CREATE TEMP TABLE keys AS
        SELECT user_id, book_id, min(label) AS label, count(*) AS row_count,
            count(*) FILTER (has_text AND title IS NULL) AS rows_without_title,
            CASE WHEN min(label) < max(label) THEN 'contradictions'
                 WHEN bool_or({leaks.leaked("context", "title", "main")}) THEN 'leaked'
                 WHEN bool_or(has_context AND has_text) THEN NULL
                 ELSE 'empty_texts' END AS reason
        FROM pairs LEFT JOIN contexts USING (user_ctx) LEFT JOIN texts USING (book_text)
        GROUP BY user_id, book_id""")


def _choose_users(
    connection: duckdb.DuckDBPyConnection, *, seed: int, max_users: int | None, min_positives: int
) -> None:
    """Make the table ``users`` from ``keys``: clean positives and negatives, and the reason why a user goes, if any."""
    limit = "" if max_users is None else f"LIMIT {max_users}"
    connection.execute(f"""
        CREATE TEMP TABLE users AS
        WITH counts AS (
            SELECT user_id, count(*) FILTER (reason IS NULL AND label > 0) AS positives,
                count(*) FILTER (reason IS NULL AND label = 0) AS negatives
            FROM keys GROUP BY user_id),
        kept AS (
            SELECT user_id, true AS kept FROM counts WHERE positives >= {min_positives} AND negatives > 0
            ORDER BY {hashing.user_order(seed)} {limit})
        SELECT user_id, positives, negatives,
            CASE WHEN positives < {min_positives} THEN 'users_below_min_positives'
                 WHEN negatives = 0 THEN 'users_without_negatives'
                 WHEN kept IS NULL THEN 'users_beyond_max_users' END AS reason
        FROM counts LEFT JOIN kept USING (user_id)""")


def _choose_pairs(connection: duckdb.DuckDBPyConnection, *, seed: int, split_name: str, lists: dict[str, int]) -> None:
    """Make the table ``chosen`` (user_id, book_id): the top of each user's positives and of the negatives, by hash."""
    connection.execute(f"""
        CREATE TEMP TABLE chosen AS
        SELECT user_id, unnest(arg_min(book_id, {hashing.pair_order(seed)}, list_length)) AS book_id
        FROM (
            SELECT user_id, book_id, label > 0 AS positive,
                CASE WHEN {split_name} <> 'train' AND positive THEN {lists["eval_positives"]}
                     WHEN {split_name} <> 'train' THEN {lists["eval_negatives"]}
                     WHEN positive THEN {lists["positives_per_user"]}
                     ELSE least(positives, {lists["positives_per_user"]}) * {lists["negatives_per_positive"]}
                     END AS list_length
            FROM keys JOIN users USING (user_id) WHERE keys.reason IS NULL AND users.reason IS NULL)
        GROUP BY user_id, positive""")


def _read_texts(connection: duckdb.DuckDBPyConnection) -> None:
    """Make the table ``sampled`` from ``chosen``: of a pair with several texts the lowest that are both filled."""
    both = f"{is_filled('user_ctx')} AND {is_filled('book_text')}"
    connection.execute(f"""
        CREATE TEMP TABLE sampled AS
        SELECT user_id, book_id, text.user_ctx, text.book_text, label
        FROM (
            SELECT user_id, book_id, any_value(label) AS label,
                min({{'user_ctx': user_ctx, 'book_text': book_text}}) FILTER ({both}) AS text
            FROM pairs SEMI JOIN chosen USING (user_id, book_id) GROUP BY user_id, book_id)""")


def _count(connection: duckdb.DuckDBPyConnection) -> dict[str, Any]:
    """Return what metrics/data.json holds, apart from lengths; raw rows are sampled and dropped rows together."""
    raw = _one_row(
        connection,
        "SELECT coalesce(sum(row_count), 0)::BIGINT AS rows, count(DISTINCT user_id) AS users, "
        "count(DISTINCT book_id) AS books, coalesce(sum(rows_without_title), 0)::BIGINT AS without_title FROM keys",
    )
    rows_by_reason = dict(
        connection.execute(
            "SELECT reason, sum(row_count)::BIGINT FROM keys WHERE reason IS NOT NULL GROUP BY reason "
            "UNION ALL SELECT 'duplicates', sum(row_count - 1)::BIGINT FROM keys WHERE reason IS NULL "
            "UNION ALL SELECT coalesce(reason, 'beyond_the_lists'), sum(positives + negatives)::BIGINT FROM users "
            "GROUP BY reason"
        ).fetchall()
    )
    users_by_reason = dict(connection.execute("SELECT reason, count(*) FROM users GROUP BY reason").fetchall())
    sampled = _one_row(
        connection,
        "SELECT count(*) AS rows, count(DISTINCT user_id) AS users, count(DISTINCT book_id) AS books, "
        "count(*) FILTER (label > 0) AS positives, round(avg((label > 0)::INT), 6) AS positive_share FROM sampled",
    )
    dropped = {reason: rows_by_reason.get(reason) or 0 for reason in ROW_REASONS + USER_REASONS}
    dropped["beyond_the_lists"] = rows_by_reason.get("beyond_the_lists", 0) - sampled["rows"]
    assert raw["rows"] == sampled["rows"] + sum(dropped.values()), f"rows are lost: {raw}, {sampled}, {dropped}"
    return {
        "raw": {name: raw[name] for name in ("rows", "users", "books")},
        "dropped": dropped,
        "dropped_users": {reason.removeprefix("users_"): users_by_reason.get(reason, 0) for reason in USER_REASONS},
        "sampled": sampled,
        "positives_per_user": _one_row(
            connection,
            "SELECT round(avg(positives), 6) AS mean, median(positives) AS median, min(positives) AS min, "
            "max(positives) AS max FROM users WHERE reason IS NULL",
        ),
        "rows_without_title": raw["without_title"],
    }


def sample(
    connection: duckdb.DuckDBPyConnection,
    *,
    seed: int,
    max_users: int | None,
    min_positives: int,
    positives_per_user: int,
    negatives_per_positive: int,
    eval_positives: int,
    eval_negatives: int,
    validation_share: float,
    test_share: float,
    title_pattern: str,
) -> dict[str, Any]:
    """Make the temporary table ``sampled`` with `COLUMNS`, unsorted, from the view ``pairs``, and return the counts.

    The reasons in ``dropped`` are tried in this order, and every row counts once: contradictions (all rows of a pair
    with different labels), leaked (all rows of a pair, when one names the book in the context), empty_texts (all rows
    of a pair without one row that has both texts), duplicates (further rows of a pair that stays), then the rows of
    users with fewer than ``min_positives`` clean positives, of users without a negative, of users beyond
    ``max_users``, and beyond_the_lists (what stays was longer than the lists). ``positives_per_user`` counts the clean
    positives of the users that stay, before the lists cut them.

    Raises:
        UserError: when no user is left, or ``title_pattern`` is not an RE2 regular expression.
    """
    _collect_keys(connection, title_pattern=title_pattern)
    _choose_users(connection, seed=seed, max_users=max_users, min_positives=min_positives)
    lists = {
        "positives_per_user": positives_per_user,
        "negatives_per_positive": negatives_per_positive,
        "eval_positives": eval_positives,
        "eval_negatives": eval_negatives,
    }
    split_name = hashing.split_name(seed, validation_share=validation_share, test_share=test_share)
    _choose_pairs(connection, seed=seed, split_name=split_name, lists=lists)
    _read_texts(connection)
    counts = _count(connection)
    if counts["sampled"]["users"] == 0:
        few, lacking = (counts["dropped_users"][reason] for reason in ("below_min_positives", "without_negatives"))
        rows = ", ".join(f"{counts['dropped'][reason]:,} {reason}" for reason in ROW_REASONS)
        raise UserError(
            f"sample: none of {counts['raw']['users']:,} users is left: {few:,} have fewer positives than "
            f"min_positives ({min_positives}), {lacking:,} have no negative; of "
            f"{counts['raw']['rows']:,} rows the cleaning dropped {rows}: "
            "lower min_positives in params.yaml, or correct the pairs"
        )
    return counts


def main(raw: Path, base: Path, sampled: Path, metrics: Path) -> None:
    """Write the counts, pairs.parquet, and positives.parquet: all clean positives of the users that stay."""
    params = declared("sample")
    if not params["whole_labels"]:
        raise UserError("params.yaml: whole_labels is false: a ranking's gains are whole grades, so set it to true")
    columns = SourceColumns.from_params(params)
    core = {key: value for key, value in params.items() if key not in {*columns.by_key(), "max_length", "whole_labels"}}
    tokenizer = load_tokenizer(base)
    with replacing(sampled) as partial, tempfile.TemporaryDirectory(prefix=".spill-", dir=partial.parent) as spill:
        connection = duckdb.connect(config={"memory_limit": MEMORY_LIMIT, "temp_directory": spill})
        connection.execute("SET preserve_insertion_order = false")
        read(connection, raw, columns)
        counts = sample(connection, **core)
        counts["longer_than_max_length"] = share_longer(
            connection, "sampled", tokenizer, max_length=params["max_length"]
        )
        partial.mkdir()
        order = f"user_id, {hashing.pair_order(params['seed'])}"
        connection.sql(f"SELECT {', '.join(COLUMNS)} FROM sampled ORDER BY {order}").write_parquet(
            str(partial / "pairs.parquet"), compression="zstd"
        )
        connection.sql(
            "SELECT user_id, book_id FROM keys JOIN users USING (user_id) "
            "WHERE keys.reason IS NULL AND users.reason IS NULL AND label > 0 ORDER BY ALL"
        ).write_parquet(str(partial / "positives.parquet"), compression="zstd")
    write_json(metrics, counts)


if __name__ == "__main__":
    run(main, *map(Path, sys.argv[1:]))
