"""The SQL of the sample, in pieces: a whole table takes them one after the other, a cluster on blocks of it, merged.

A key is one (user, book). Everything about it that decides whether it stays merges exactly: its lowest and highest
label, its number of rows, and whether any of them leaks or has both texts. Texts are not part of a key: they are read
at the end, for the pairs that stay. The functions make and read temporary tables of one DuckDB connection:

    pairs                                   `COLUMNS`, the input; the ids may be whole numbers
    users, books                            an id and its number, which stands for it in large tables
    merged, keys                            one row a key; ``keys`` says why it goes (``reason``), or null
    user_counts                             one row a user: clean positives and negatives
    readers                                 the same, and why the user goes, or null
    chosen                                  the keys that stay: user_id, book_id, label
    sampled                                 `COLUMNS`, the output
    key_counts, without_title               numbers to be added up: rows and keys of each reason; rows without a title
"""

from pathlib import Path
from typing import Any

import duckdb

from rerank.data import hashing, leaks
from rerank.data.pairs import COLUMNS, SourceColumns, is_filled
from rerank.errors import UserError

# A pair's rows go for the first reason that applies; a duplicate is one more row of a pair that stays.
ROW_REASONS = ("contradictions", "leaked", "empty_texts", "duplicates")
USER_REASONS = ("users_below_min_positives", "users_without_negatives", "users_beyond_max_users")
# The bits of a key's flags.
LEAKED, FILLED = 1, 2
# Of ``keys``, the clean pairs of a user.
CLEAN_PAIRS = (
    "count(*) FILTER (reason IS NULL AND label > 0) AS positives, "
    "count(*) FILTER (reason IS NULL AND label = 0) AS negatives"
)
# The keys of one block with their ids.
KEY_PARTS = (
    "SELECT user_id::VARCHAR AS user_id, book_id::VARCHAR AS book_id, lowest, highest, row_count, flags "
    "FROM merged JOIN users USING (user_number) JOIN books USING (book_number)"
)
# Of ``keys``, what is counted in the end.
KEY_COUNTS = "SELECT reason, count(*) AS pairs, sum(row_count)::BIGINT AS row_count FROM keys GROUP BY reason"
# All clean positives of the users that stay.
POSITIVES = (
    "SELECT user_id::VARCHAR AS user_id, book_id::VARCHAR AS book_id "
    "FROM keys JOIN readers USING (user_number) JOIN books USING (book_number) "
    "WHERE keys.reason IS NULL AND readers.reason IS NULL AND label > 0"
)


def _one_row(connection: duckdb.DuckDBPyConnection, query: str) -> dict[str, Any]:
    cursor = connection.execute(query)
    assert cursor.description is not None, "a SELECT has columns"
    (row,) = cursor.fetchall()
    return dict(zip((column[0] for column in cursor.description), row, strict=True))


def from_params(params: dict[str, Any]) -> tuple[SourceColumns, dict[str, Any]]:
    """Return the source's columns and the arguments of the sample, from the params of the stage.

    Raises:
        UserError: when labels are not whole.
    """
    if not params["whole_labels"]:
        raise UserError("params.yaml: whole_labels is false: a ranking's gains are whole grades, so set it to true")
    columns = SourceColumns.from_params(params)
    others = {*columns.by_key(), "max_length", "whole_labels"}
    return columns, {key: value for key, value in params.items() if key not in others}


def check_title_pattern(title_pattern: str) -> None:
    """Check that DuckDB can search with the pattern.

    Raises:
        UserError: when ``title_pattern`` is not an RE2 regular expression.
    """
    try:
        duckdb.connect().execute(f"SELECT {leaks.title_parts(leaks.literal(''), title_pattern)}")
    except duckdb.Error as error:
        raise UserError(
            f"params.yaml: title_pattern is {title_pattern!r}: give an RE2 regular expression with one group "
            f"({str(error).splitlines()[0]})"
        ) from None


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


def collect_keys(connection: duckdb.DuckDBPyConnection, *, title_pattern: str) -> bool:
    """Make ``users``, ``books``, ``merged``, ``keys`` and ``without_title`` from ``pairs``.

    Titles and contexts are taken apart once for each distinct text, and only texts that share a part with a context
    are compared with it.

    Returns:
        Whether every user has one context and every book one text, which ``users`` and ``books`` then have.
    """
    user_key = _number_texts(connection, "user", "user_ctx")
    book_key = _number_texts(connection, "book", "book_text")
    connection.execute(f"""
        CREATE TEMP TABLE contexts AS
        SELECT number AS context, {user_key}, {is_filled("user_ctx")} AS has_context,
            {leaks.parts("user_ctx")} AS named
        FROM user_ctxs""")
    connection.execute(f"""
        CREATE TEMP TABLE texts AS
        SELECT *, {leaks.main_title("title")} AS main
        FROM (SELECT number AS text, {book_key}, row_count, {is_filled("book_text")} AS has_text,
                  {leaks.title_parts("book_text", title_pattern)} AS title
              FROM book_texts)""")
    connection.execute("""
        CREATE TEMP TABLE without_title AS
        SELECT coalesce(sum(row_count), 0)::BIGINT AS row_count FROM texts WHERE has_text AND title IS NULL""")
    connection.execute(f"""
        CREATE TEMP TABLE leaking AS
        SELECT DISTINCT context, text, true AS leaked
        FROM (SELECT context, named, unnest({leaks.single_parts("named")}) AS part FROM contexts)
        JOIN texts ON part = {leaks.first_part("main")} WHERE {leaks.leaked("named", "title", "main")}""")
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
        LEFT JOIN leaking USING (context, text)""",
    )
    for table in ("contexts", "texts", "leaking", "user_ctxs", "book_texts"):
        connection.execute(f"DROP TABLE {table}")
    return (user_key, book_key) == ("user_number", "book_number")


def merge_keys(connection: duckdb.DuckDBPyConnection) -> None:
    """Make ``users``, ``books``, ``merged`` and ``keys`` from ``parts``, the `KEY_PARTS` of several blocks."""
    number_ids(connection, "user", "SELECT DISTINCT user_id FROM parts")
    number_ids(connection, "book", "SELECT DISTINCT book_id FROM parts")
    _merge(connection, "SELECT * FROM parts JOIN users USING (user_id) JOIN books USING (book_id)")


def count_users(connection: duckdb.DuckDBPyConnection) -> None:
    """Make ``user_counts`` from ``keys``."""
    connection.execute(
        f"CREATE TEMP TABLE user_counts AS SELECT user_number, {CLEAN_PAIRS} FROM keys GROUP BY user_number"
    )


def choose_users(
    connection: duckdb.DuckDBPyConnection, *, seed: int, max_users: int | None, min_positives: int
) -> None:
    """Make ``readers`` from ``user_counts`` and ``users``."""
    limit = "" if max_users is None else f"LIMIT {max_users}"
    connection.execute(f"""
        CREATE TEMP TABLE readers AS
        WITH kept AS (
            SELECT user_number, true AS kept FROM user_counts JOIN users USING (user_number)
            WHERE positives >= {min_positives} AND negatives > 0
            ORDER BY {hashing.user_order(seed)} {limit})
        SELECT user_number, user_id, positives, negatives,
            CASE WHEN positives < {min_positives} THEN 'users_below_min_positives'
                 WHEN negatives = 0 THEN 'users_without_negatives'
                 WHEN kept IS NULL THEN 'users_beyond_max_users' END AS reason
        FROM user_counts JOIN users USING (user_number) LEFT JOIN kept USING (user_number)""")


def choose_pairs(connection: duckdb.DuckDBPyConnection, *, seed: int, split_name: str, lists: dict[str, int]) -> None:
    """Make ``chosen`` from ``keys``, ``readers`` and ``books``: the top of each list by hash."""
    connection.execute(f"""
        CREATE TEMP TABLE chosen AS
        WITH reader_lists AS (
            SELECT user_number, {hashing.user_of_pair(seed)} AS user_hash, positives,
                {split_name} = 'train' AS training
            FROM readers WHERE reason IS NULL),
        candidates AS (
            SELECT user_number, book_number, label > 0 AS positive, {hashing.mix("user_hash", "book_hash")} AS place,
                CASE WHEN NOT training AND positive THEN {lists["eval_positives"]}
                     WHEN NOT training THEN {lists["eval_negatives"]}
                     WHEN positive THEN {lists["positives_per_user"]}
                     ELSE least(positives, {lists["positives_per_user"]}) * {lists["negatives_per_positive"]}
                     END AS list_length
            FROM keys JOIN reader_lists USING (user_number)
            JOIN (SELECT book_number, {hashing.book_of_pair(seed)} AS book_hash FROM books) USING (book_number)
            WHERE reason IS NULL),
        top AS (
            SELECT user_number, unnest(arg_min(book_number, place, list_length)) AS book_number
            FROM candidates GROUP BY user_number, positive)
        SELECT user_id, book_id, label
        FROM top JOIN keys USING (user_number, book_number)
        JOIN users USING (user_number) JOIN books USING (book_number)""")


def read_texts(connection: duckdb.DuckDBPyConnection) -> None:
    """Make ``sampled`` from ``chosen`` and ``pairs``: of a pair with several texts the lowest that are both filled."""
    both = f"{is_filled('user_ctx')} AND {is_filled('book_text')}"
    connection.execute(f"""
        CREATE TEMP TABLE sampled AS
        SELECT user_id::VARCHAR AS user_id, book_id::VARCHAR AS book_id, text.user_ctx, text.book_text, label
        FROM (
            SELECT user_id, book_id, any_value(label) AS label,
                min({{'user_ctx': user_ctx, 'book_text': book_text}}) FILTER ({both}) AS text
            FROM pairs SEMI JOIN chosen USING (user_id, book_id) GROUP BY user_id, book_id)""")


def look_texts_up(connection: duckdb.DuckDBPyConnection) -> None:
    """Make ``sampled`` from ``chosen``, ``users`` and ``books``, which have the one text of each id."""
    connection.execute("""
        CREATE TEMP TABLE sampled AS
        SELECT user_id::VARCHAR AS user_id, book_id::VARCHAR AS book_id, user_ctx, book_text, label
        FROM chosen JOIN users USING (user_id) JOIN books USING (book_id)""")


def count(connection: duckdb.DuckDBPyConnection) -> dict[str, Any]:
    """Return what metrics/data.json holds, apart from lengths; raw rows are sampled and dropped rows together.

    Reads ``key_counts``, ``without_title``, ``readers``, ``books`` and ``sampled``.
    """
    raw = _one_row(
        connection,
        "SELECT coalesce(sum(row_count), 0)::BIGINT AS rows, (SELECT count(*) FROM readers) AS users, "
        "(SELECT count(*) FROM books) AS books, (SELECT sum(row_count)::BIGINT FROM without_title) AS without_title "
        "FROM key_counts",
    )
    rows_by_reason = dict(
        connection.execute(
            "SELECT reason, sum(row_count)::BIGINT FROM key_counts WHERE reason IS NOT NULL GROUP BY reason "
            "UNION ALL SELECT 'duplicates', sum(row_count - pairs)::BIGINT FROM key_counts WHERE reason IS NULL "
            "UNION ALL SELECT coalesce(reason, 'beyond_the_lists'), sum(positives + negatives)::BIGINT FROM readers "
            "GROUP BY reason"
        ).fetchall()
    )
    users_by_reason = dict(connection.execute("SELECT reason, count(*) FROM readers GROUP BY reason").fetchall())
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
            "max(positives) AS max FROM readers WHERE reason IS NULL",
        ),
        "rows_without_title": raw["without_title"],
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


def write(connection: duckdb.DuckDBPyConnection, folder: Path, *, seed: int, positives: str) -> None:
    """Write pairs.parquet from ``sampled`` and positives.parquet from a query, both sorted."""
    folder.mkdir()
    order = f"user_id, {hashing.pair_order(seed)}"
    for name, query in (
        ("pairs", f"SELECT {', '.join(COLUMNS)} FROM sampled ORDER BY {order}"),
        ("positives", f"{positives} ORDER BY ALL"),
    ):
        connection.sql(query).write_parquet(str(folder / f"{name}.parquet"), compression="zstd")
