"""The schema of a search set's two tables, judgments and documents, and the error for each way of breaking it.

A judgment is one row: a query's id, the query, a document's id and a grade. A document is one row: an id and columns of
text. Whatever they are called, everything after this sees the names of `rerank.data.pairs`: the query takes the place
of the user, the document that of the book.
"""

from pathlib import Path

import duckdb

from rerank.data.pairs import SourceColumns, open_files, parquet_files
from rerank.data.schema import check, check_files
from rerank.data.sql import is_filled, number, quote
from rerank.errors import UserError


def _named(key: str, column: str | None) -> str:
    if column is None:
        raise UserError(f"params.yaml: {key} is null: name the column, because a judgment has no text to stand for it")
    return column


def _open(connection: duckdb.DuckDBPyConnection, folder: Path, *, view: str) -> duckdb.DuckDBPyRelation:
    open_files(connection, parquet_files(folder), view=view)
    return connection.view(view)


def read_judgments(
    connection: duckdb.DuckDBPyConnection,
    folder: Path,
    *,
    user_column: str | None,
    context_column: str,
    book_column: str | None,
    label_column: str,
    max_grade: int,
) -> None:
    """Create the view ``judgments`` (user_id, book_id, user_ctx, label) over a folder of parquet files.

    Args:
        user_column, context_column, book_column, label_column: the names of the query's id, the query, the document's
            id and the grade, a whole number from 0 to ``max_grade``; above 0 is relevant.

    Raises:
        UserError: for a missing or null column, one of a wrong type, no rows, blank ids or queries, a wrong grade.
    """
    names = _named("user_column", user_column), _named("book_column", book_column)
    columns = SourceColumns(*names, context_column, None, label_column)
    check(folder, source=str(folder), columns=columns, max_grade=max_grade, max_empty_share=None)
    table = _open(connection, folder, view="judgment_files")
    user, book, context, label = (quote(name) for name in (*names, context_column, label_column))
    ids_as_text = f"{user}::VARCHAR AS user_id, {book}::VARCHAR AS book_id"
    table.project(f"{ids_as_text}, {context}::VARCHAR AS user_ctx, {number(label)}::INTEGER AS label").create_view(
        "judgments"
    )


def read_documents(
    connection: duckdb.DuckDBPyConnection, folder: Path, *, document_id_column: str, text_columns: list[str]
) -> None:
    """Create the view ``documents`` (book_id, book_text) over a folder of parquet files.

    ``book_text`` is what the ``text_columns`` hold, those that are not blank, with a blank line between; null when all
    are.

    Raises:
        UserError: for a missing column, one of a wrong type, no rows, or blank ids.
    """
    check_files(folder, {"document_id_column": document_id_column}, source=str(folder))
    for column in text_columns:
        check_files(folder, {"text_columns": column}, source=str(folder))
    table = _open(connection, folder, view="document_files")
    rows, filled = table.aggregate(f"count(*), count(*) FILTER ({is_filled(quote(document_id_column))})").fetchall()[0]
    if rows == 0:
        raise UserError(f"{folder}: has no rows: its source in params.yaml must lead to some")
    if filled < rows:
        empty = f"{rows - filled:,} of {rows:,}"
        raise UserError(f"{folder}: column '{document_id_column}' is null or blank in {empty} rows: fill or drop them")
    parts = (f"CASE WHEN {is_filled(quote(name))} THEN {quote(name)}::VARCHAR END" for name in text_columns)
    text = f"nullif(concat_ws(E'\\n\\n', {', '.join(parts)}), '')"
    table.project(f"{quote(document_id_column)}::VARCHAR AS book_id, {text} AS book_text").create_view("documents")
