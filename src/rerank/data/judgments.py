"""The schema of a search set's two tables, judgments and documents, and the error for each way of breaking it.

A judgment is one row: a query's id, the query, a document's id and a grade. A document is one row: an id and columns of
text. Whatever they are called, everything after this sees the names of `rerank.data.pairs`: the query takes the place
of the user, the document that of the book.
"""

from pathlib import Path

import duckdb

from rerank.data.pairs import is_filled, parquet_files, quote
from rerank.errors import UserError

TEXT = ("VARCHAR", "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT")
NUMBER = ("BOOLEAN", "FLOAT", "DOUBLE", *TEXT[1:])


def _columns(table: duckdb.DuckDBPyRelation, folder: Path, wanted: list[tuple[str, str | None]]) -> None:
    """Check that a table has the wanted columns, (params.yaml key, name) each, of types that can be used."""
    kinds = {column: str(kind).removeprefix("U") for column, kind in zip(table.columns, table.types, strict=True)}
    found = ", ".join(kinds)
    for key, column in wanted:
        if column is None:
            raise UserError(f"params.yaml: {key} is null: set it to the column of {folder} for it ({found})")
        if column not in kinds:
            raise UserError(f"{folder}: column '{column}' is missing (it has {found}): set {key} in params.yaml")
        accepted, noun = (NUMBER, "numbers") if key == "label_column" else (TEXT, "text or whole numbers")
        if kinds[column] not in accepted:
            kind = kinds[column]
            raise UserError(
                f"{folder}: column '{column}' holds {kind}, not {noun}: convert it, or set {key} in params.yaml"
            )


def _filled(table: duckdb.DuckDBPyRelation, folder: Path, columns: list[str]) -> None:
    """Refuse a table without rows, or with a null or blank value in one of ``columns``."""
    counts = ", ".join(["count(*)", *(f"count(*) FILTER ({is_filled(quote(column))})" for column in columns)])
    rows, *found = table.aggregate(counts).fetchall()[0]
    if rows == 0:
        raise UserError(f"{folder}: has no rows: correct its source in params.yaml")
    for column, count in zip(columns, found, strict=True):
        if count < rows:
            empty = f"{rows - count:,} of {rows:,}"
            raise UserError(f"{folder}: column '{column}' is null or blank in {empty} rows: fill or drop them")


def _open(connection: duckdb.DuckDBPyConnection, folder: Path) -> duckdb.DuckDBPyRelation:
    try:
        return connection.read_parquet([str(path) for path in parquet_files(folder)], union_by_name=True)
    except (duckdb.IOException, duckdb.InvalidInputException) as error:
        raise UserError(f"{folder}: not readable parquet ({str(error).splitlines()[0]}): pull it again") from None


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
    table = _open(connection, folder)
    ids = [("user_column", user_column), ("context_column", context_column), ("book_column", book_column)]
    _columns(table, folder, [*ids, ("label_column", label_column)])
    assert user_column is not None and book_column is not None, "a table has no column None"
    _filled(table, folder, [user_column, context_column, book_column, label_column])
    user, context, book, label = (quote(name) for name in (user_column, context_column, book_column, label_column))
    grade = f"CAST({label} AS DOUBLE)"
    outside = table.filter(f"NOT ({grade} BETWEEN 0 AND {max_grade} AND {grade} = floor({grade}))")
    wrong, example = outside.aggregate(f"count(*), min({grade})").fetchall()[0]
    if wrong:
        raise UserError(
            f"{folder}: column '{label_column}' holds {example:g} ({wrong:,} rows are not whole numbers from 0 to "
            f"{max_grade}): correct them, or set max_grade in params.yaml"
        )
    ids_as_text = f"{user}::VARCHAR AS user_id, {book}::VARCHAR AS book_id"
    table.project(f"{ids_as_text}, {context}::VARCHAR AS user_ctx, {label}::INTEGER AS label").create_view("judgments")


def read_documents(
    connection: duckdb.DuckDBPyConnection, folder: Path, *, document_id_column: str, text_columns: list[str]
) -> None:
    """Create the view ``documents`` (book_id, book_text) over a folder of parquet files.

    ``book_text`` is what the ``text_columns`` hold, those that are not blank, with a blank line between; null when all
    are.

    Raises:
        UserError: for a missing column, one of a wrong type, no rows, or blank ids.
    """
    table = _open(connection, folder)
    texts = [("text_columns", column) for column in text_columns]
    _columns(table, folder, [("document_id_column", document_id_column), *texts])
    _filled(table, folder, [document_id_column])
    parts = (f"CASE WHEN {is_filled(quote(name))} THEN {quote(name)}::VARCHAR END" for name in text_columns)
    text = f"nullif(concat_ws(E'\\n\\n', {', '.join(parts)}), '')"
    table.project(f"{quote(document_id_column)}::VARCHAR AS book_id, {text} AS book_text").create_view("documents")
