"""Pairs of interactions: who read or rated which book, and texts of the books, in one table or in two."""

import duckdb

from rerank.data import negatives
from rerank.data.hashing import pair_order
from rerank.data.leaks import named_title
from rerank.data.source_tables import Shaping, Table, relation
from rerank.data.sql import is_filled, literal, number, one_row, quote
from rerank.errors import UserError

HEADING = "Favorite books: "
# What separates the favourites of a context, in a title.
SEPARATORS = r"[\s|;；•]+"


def make(connection: duckdb.DuckDBPyConnection, tables: list[Table], how: Shaping) -> list[str]:
    """Make ``shaped`` of tables with a row for each interaction, and of tables with a row for each book.

    What has the user_column is of the first kind, and any other of the second. Without tables of the second kind the
    interactions have the texts. A label below ``positive_from`` is a negative. Where the interactions have no
    context_column, the context of a user names some of its positives, chosen by hash, at most half of them; these are
    no pairs then.

    Raises:
        UserError: for a missing column, a label that is no number, or no title to name a favourite by.
    """
    columns = how.columns
    user, book, text = columns.user_column, columns.book_column, columns.text_column
    if user is None or book is None or text is None:
        raise UserError(
            "params.yaml: user_column or book_column is null: interactions have ids of both: name the columns"
        )
    rows = [table for table in tables if user in table.columns]
    books = [table for table in tables if table not in rows]
    if not rows:
        tables[0].check({"user_column": user})
    told = all(columns.context_column in table.columns for table in rows)
    for table in rows:
        table.check({"user_column": user, "book_column": book} | ({} if books else {"text_column": text}))
        if how.positive_from is not None:
            table.check({"label_column": columns.label_column})
        elif columns.label_column in table.columns:
            raise UserError(
                f"{table.name}: column '{columns.label_column}' says how much each was liked: set positive_from in "
                "params.yaml, or label_column to a name that no column has"
            )
    for table in books:
        table.check({"book_column": book, "text_column": text})
    _read(connection, rows, books or rows, how, told=told)
    notes = negatives.sample(connection, "rows", per_user=how.sampled_negatives, seed=how.seed)
    if not told:
        notes = _tell(connection, how) + notes
    connection.execute("""
        CREATE VIEW shaped AS
        SELECT user_id, book_id, user_ctx, book_text, label FROM rows LEFT JOIN books USING (book_id)
        UNION ALL
        SELECT user_id, book_id, user_ctx, book_text, '0' FROM unread
        JOIN (SELECT user_id, min(user_ctx) AS user_ctx FROM rows GROUP BY user_id) USING (user_id)
        JOIN books USING (book_id)""")
    return notes


def _read(
    connection: duckdb.DuckDBPyConnection, rows: list[Table], books: list[Table], how: Shaping, *, told: bool
) -> None:
    """Make the tables ``rows`` (user_id, book_id, label, user_ctx), ``books`` (book_id, book_text), ``catalogue``."""
    columns = how.columns
    names = (columns.user_column, columns.book_column, columns.text_column)
    user, book, text = (quote(name) for name in names if name is not None)
    for table in rows:
        for name, column in zip(names, (user, book), strict=False):
            empty = f"count(*) FILTER (NOT coalesce({is_filled(column)}, false))"
            found = one_row(connection, f"SELECT count(*) AS rows, {empty} AS empty FROM {relation([table])}")
            if found["empty"]:
                where = f"{found['empty']:,} of {found['rows']:,} rows"
                raise UserError(f"{table.name}: column '{name}' is null or blank in {where}: fill or drop them")
    label = "'1'"
    if how.positive_from is not None:
        given = quote(columns.label_column)
        value = number(given)
        positive = f"CASE WHEN {value} >= {how.positive_from} THEN '1' ELSE '0' END"
        label = f"CASE WHEN isfinite({value}) THEN {positive} ELSE CAST({given} AS VARCHAR) END"
    context = f"CAST({quote(columns.context_column)} AS VARCHAR)" if told else "NULL::VARCHAR"
    connection.execute(
        f"CREATE TEMP TABLE rows AS SELECT CAST({user} AS VARCHAR) AS user_id, CAST({book} AS VARCHAR) AS book_id, "
        f"{label} AS label, {context} AS user_ctx FROM {relation(rows)}"
    )
    connection.execute(f"""
        CREATE TEMP TABLE books AS
        SELECT CAST({book} AS VARCHAR) AS book_id, min(CAST({text} AS VARCHAR)) AS book_text
        FROM {relation(books)} WHERE {is_filled(text)} GROUP BY ALL""")
    connection.execute("CREATE VIEW catalogue AS SELECT book_id FROM books")


def _tell(connection: duckdb.DuckDBPyConnection, how: Shaping) -> list[str]:
    """Give each user of ``rows`` a context of favourites, and take these, and users without any, out of it."""
    if how.title_pattern is None:
        raise UserError(
            "params.yaml: title_pattern is null: it finds the titles by which contexts name favourites: set it, or "
            "name the context_column"
        )
    titles = f"trim(regexp_replace({named_title('book_text', how.title_pattern)}, {literal(SEPARATORS)}, ' ', 'g'))"
    try:
        connection.execute(f"""
            CREATE TEMP TABLE favourites AS
            WITH titled AS (SELECT book_id, {titles} AS title FROM books),
            liked AS (SELECT user_id, book_id FROM rows GROUP BY ALL HAVING min(label) = '1'),
            placed AS (
                SELECT user_id, book_id, title, count(*) OVER (PARTITION BY user_id) AS positives,
                    row_number() OVER (PARTITION BY user_id ORDER BY {pair_order(how.seed)}, book_id) AS place
                FROM liked JOIN titled USING (book_id) WHERE title <> '')
            SELECT user_id, book_id, title, place FROM placed
            WHERE place <= least({how.context_favourites}, positives // 2)""")
    except duckdb.InvalidInputException as error:
        raise UserError(f"params.yaml: title_pattern is {how.title_pattern!r}: {error}: write it as RE2 does") from None
    if not connection.execute("FROM favourites LIMIT 1").fetchall():
        raise UserError(
            "params.yaml: shape: no user has two titled positives: look at title_pattern, positive_from, the books"
        )
    users = one_row(connection, "SELECT count(DISTINCT user_id) AS users FROM rows")["users"]
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE rows AS
        SELECT user_id, book_id, label, '{HEADING}' || told AS user_ctx
        FROM rows ANTI JOIN favourites USING (user_id, book_id)
        JOIN (SELECT user_id, string_agg(title, '; ' ORDER BY place) AS told FROM favourites GROUP BY user_id)
            USING (user_id)""")
    found = one_row(connection, "SELECT count(*) AS favourites, count(DISTINCT user_id) AS users FROM favourites")
    without = users - found["users"]
    left = f"; left out {without:,} users with fewer than two positives" if without else ""
    return [f"{found['users']:,} contexts name {found['favourites']:,} favourites, which are no pairs then{left}"]
