"""Pieces of SQL that several modules write: names, texts and files that come from elsewhere, quoted in one place."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import duckdb


def quote(name: str) -> str:
    """Quote an identifier for SQL."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Quote a text for SQL."""
    return "'" + text.replace("'", "''") + "'"


def is_filled(column: str) -> str:
    """Return the SQL condition that a (quoted) column of texts or ids is neither null nor blank."""
    return f"trim(CAST({column} AS VARCHAR), E' \\t\\r\\n') <> ''"


def parquet(files: Iterable[Path], *, path_column: str | None = None) -> str:
    """Return the SQL table of all rows of parquet files, columns by name, and each row's path where a column is named.

    A folder called ``year=2020`` adds no column: nobody asked for one.
    """
    paths = ", ".join(literal(str(file)) for file in files)
    path = f", filename={literal(path_column)}" if path_column else ""
    return f"read_parquet([{paths}], union_by_name=true, hive_partitioning=false{path})"


def one_row(connection: duckdb.DuckDBPyConnection, query: str) -> dict[str, Any]:
    """Return the only row of a query by its columns' names."""
    cursor = connection.execute(query)
    assert cursor.description is not None, "a SELECT has columns"
    (row,) = cursor.fetchall()
    return dict(zip((column[0] for column in cursor.description), row, strict=True))
