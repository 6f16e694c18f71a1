"""Pairs of interactions: who read or rated which book, and texts of the books, in one table or in two."""

import duckdb

from rerank.data import negatives
from rerank.data.hashing import pair_order
from rerank.data.leaks import named_title
from rerank.data.source_tables import Shaping, Table, collect_one_text, collect_texts, relation
from rerank.data.sql import is_filled, literal, number, one_row, quote
from rerank.errors import UserError

HEADING = "Favorite books: "
# What separates the favourites of a context, in a title.
SEPARATORS = r"[\s|;；•]+"
CHARACTERS = 40


def make(connection: duckdb.DuckDBPyConnection, tables: list[Table], how: Shaping) -> list[str]:
    """Make ``shaped`` of tables with a row for each interaction, and of tables with a row for each book.

    What has the user_column is of the first kind, and any other of the second. Without tables of the second kind the
    interactions have the texts. A label below ``positive_from`` is a negative. Where the interactions have no
    context_column, the context of a user names some of its positives, chosen by hash, at most half of them; these are
    no pairs then.

    Raises:
        UserError: for a missing column, a label that is no number, books without a text, or no title to name one by.
    """
    names = how.columns
    user, book, text = names.user_column, names.book_column, names.text_column
    if user is None or book is None or text is None:
        raise UserError("params.yaml: user_column or book_column is null: interactions have both ids: name the columns")
    rows = [table for table in tables if user in table.columns]
    books = [table for table in tables if table not in rows]
    if not rows:
        files = ", ".join(table.name for table in tables)
        raise UserError(
            f"params.yaml: user_column is '{user}', which no table has ({files}): name that of who read what"
        )
    _check_columns(rows, books, how)
    told = names.context_column in rows[0].columns
    notes = _read(connection, rows, books, columns=(user, book, text), how=how, told=told)
    if not told:
        notes += _tell(connection, how)
    had = "rows" if told else "had"
    notes += negatives.sample(connection, had, per_user=how.sampled_negatives, seed=how.seed)
    connection.execute("""
        CREATE VIEW shaped AS
        SELECT user_id, book_id, user_ctx, book_text, label FROM rows LEFT JOIN catalogue USING (book_id)
        UNION ALL
        SELECT user_id, book_id, user_ctx, book_text, '0' FROM unread
        JOIN (SELECT user_id, min(user_ctx) AS user_ctx FROM rows GROUP BY user_id) USING (user_id)
        JOIN catalogue USING (book_id)""")
    return notes


def _check_columns(rows: list[Table], books: list[Table], how: Shaping) -> None:
    names = how.columns.by_key()
    for table in rows:
        table.check({key: names[key] for key in ("user_column", "book_column", *([] if books else ["text_column"]))})
        if how.positive_from is not None:
            table.check({"label_column": names["label_column"]})
        elif names["label_column"] in table.columns:
            raise UserError(
                f"{table.name}: column '{names['label_column']}' says how much each was liked: set positive_from in "
                "params.yaml, or label_column to a name that no column has"
            )
    for table in books:
        table.check({key: names[key] for key in ("book_column", "text_column")})
    context = names["context_column"]
    told = [table for table in rows if context in table.columns]
    if told and len(told) < len(rows):
        without = next(table for table in rows if table not in told)
        raise UserError(
            f"{without.name}: column '{context}' is missing, which {told[0].name} has: add it, or drop both"
        )


def _read(
    connection: duckdb.DuckDBPyConnection,
    rows: list[Table],
    books: list[Table],
    *,
    columns: tuple[str, str, str],
    how: Shaping,
    told: bool,
) -> list[str]:
    """Make the tables ``rows`` (user_id, book_id, label, user_ctx) and ``catalogue`` (book_id, book_text)."""
    user, book, text = map(quote, columns)
    for table in rows:
        for name, column in zip(columns, (user, book), strict=False):
            empty = f"count(*) FILTER (NOT coalesce({is_filled(column)}, false))"
            found = one_row(connection, f"SELECT count(*) AS rows, {empty} AS empty FROM {relation([table])}")
            if found["empty"]:
                where = f"{found['empty']:,} of {found['rows']:,} rows"
                raise UserError(f"{table.name}: column '{name}' is null or blank in {where}: fill or drop them")
    label = _label(connection, rows, how)
    context = f"CAST({quote(how.columns.context_column)} AS VARCHAR)" if told else "NULL::VARCHAR"
    connection.execute(f"""
        CREATE TEMP TABLE rows AS
        SELECT CAST({user} AS VARCHAR) AS user_id, CAST({book} AS VARCHAR) AS book_id, {label} AS label,
            {context} AS user_ctx
        FROM {relation(rows)}""")
    texts = (
        f"SELECT CAST({book} AS VARCHAR) AS id, CAST({text} AS VARCHAR) AS text FROM {relation(books or rows)} "
        f"WHERE {is_filled(text)} AND {is_filled(book)}"
    )
    notes = []
    if books:
        collect_one_text(connection, "texts_of_books", texts, noun=f"{books[0].name}: book")
    elif several := collect_texts(connection, "texts_of_books", texts):
        notes.append(f"{several:,} books have several texts: of each the lowest is taken")
    connection.execute("CREATE VIEW catalogue AS SELECT id AS book_id, text AS book_text FROM texts_of_books")
    lacks = one_row(
        connection, "SELECT count(*) AS rows, min(book_id) AS first FROM rows ANTI JOIN catalogue USING (book_id)"
    )
    every = one_row(connection, "SELECT count(*) AS rows FROM rows")["rows"]
    if lacks["rows"] > how.max_empty_share * every:
        raise UserError(
            f"{rows[0].name}: {lacks['rows']:,} of {every:,} rows have a '{columns[1]}' without a text, such as "
            f"'{lacks['first'][:CHARACTERS]}': add the texts, or raise max_empty_share ({how.max_empty_share:g}) in "
            "params.yaml to have them dropped and counted"
        )
    return notes


def _label(connection: duckdb.DuckDBPyConnection, rows: list[Table], how: Shaping) -> str:
    """Return the SQL text of a row's label, 1 or 0; null where it is null."""
    if how.positive_from is None:
        return "'1'"
    column = quote(how.columns.label_column)
    value = number(column)
    wrong = f"{column} IS NOT NULL AND NOT coalesce(isfinite({value}), false)"
    for table in rows:
        first = f"min(CAST({column} AS VARCHAR)) FILTER ({wrong})"
        counts = f"count(*) AS rows, count(*) FILTER ({wrong}) AS wrong, {first} AS first"
        found = one_row(connection, f"SELECT {counts} FROM {relation([table])}")
        if found["wrong"]:
            raise UserError(
                f"{table.name}: column '{how.columns.label_column}' holds '{found['first'][:CHARACTERS]}' "
                f"({found['wrong']:,} of {found['rows']:,} rows are no numbers): correct them, or set label_column in "
                "params.yaml"
            )
    return f"CASE WHEN {value} >= {how.positive_from} THEN '1' WHEN {value} < {how.positive_from} THEN '0' END"


def _tell(connection: duckdb.DuckDBPyConnection, how: Shaping) -> list[str]:
    """Give each user of ``rows`` a context of favourites, and take these, and users without any, out of it.

    The table ``had`` (user_id, book_id, label) keeps all that the others have.
    """
    if how.title_pattern is None:
        raise UserError(
            "params.yaml: title_pattern is null: it finds the titles by which contexts name favourites: set it, or "
            "name the context_column"
        )
    titles = f"trim(regexp_replace({named_title('book_text', how.title_pattern)}, {literal(SEPARATORS)}, ' ', 'g'))"
    try:
        connection.execute(f"""
            CREATE TEMP TABLE favourites AS
            WITH titled AS (SELECT book_id, {titles} AS title FROM catalogue),
            liked AS (SELECT user_id, book_id FROM rows GROUP BY ALL HAVING min(label) = '1'),
            placed AS (
                SELECT user_id, book_id, title, count(*) OVER (PARTITION BY user_id) AS positives,
                    row_number() OVER (PARTITION BY user_id ORDER BY {pair_order(how.seed)}, book_id) AS place
                FROM liked JOIN titled USING (book_id) WHERE title <> '')
            SELECT user_id, book_id, title, place FROM placed
            WHERE place <= least({how.context_favourites}, positives // 2)""")
    except duckdb.InvalidInputException as error:
        raise UserError(f"params.yaml: title_pattern is {how.title_pattern!r}: {error}: write it as RE2 does") from None
    found = one_row(connection, "SELECT count(*) AS favourites, count(DISTINCT user_id) AS users FROM favourites")
    if not found["users"]:
        raise UserError(
            "params.yaml: shape: no user has two titled positives: look at title_pattern, positive_from, the books"
        )
    gone = one_row(
        connection,
        "SELECT count(*) AS rows, count(DISTINCT user_id) AS users FROM rows ANTI JOIN favourites USING (user_id)",
    )
    connection.execute(
        "CREATE TEMP TABLE had AS SELECT user_id, book_id, label FROM rows SEMI JOIN favourites USING (user_id)"
    )
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE rows AS
        SELECT user_id, book_id, label, '{HEADING}' || told AS user_ctx
        FROM rows ANTI JOIN favourites USING (user_id, book_id)
        JOIN (SELECT user_id, string_agg(title, '; ' ORDER BY place) AS told FROM favourites GROUP BY user_id)
            USING (user_id)""")
    left = f"; left out {gone['users']:,} users ({gone['rows']:,} rows) without two positives that have a titled text"
    words = f"{found['users']:,} contexts name {found['favourites']:,} favourites, which are no pairs then"
    return [words + (left if gone["users"] else "")]
