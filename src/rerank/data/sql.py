"""Pieces of SQL that several modules write: names, texts and files that come from elsewhere, quoted in one place."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import duckdb

PATTERN_SIGNS = re.compile(r"[*?\[]")


def quote(name: str) -> str:
    """Quote an identifier for SQL."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Quote a text for SQL."""
    return "'" + text.replace("'", "''") + "'"


def is_filled(column: str) -> str:
    """Return the SQL condition that a (quoted) column of texts or ids is neither null nor blank."""
    return f"trim(CAST({column} AS VARCHAR), E' \\t\\r\\n') <> ''"


def number(column: str) -> str:
    """Return the SQL expression for the number that a (quoted) column holds, also as text; NULL where it is none."""
    words = f"CASE lower(trim(CAST({column} AS VARCHAR))) WHEN 'true' THEN 1 WHEN 'false' THEN 0 END"
    return f"coalesce(TRY_CAST({column} AS DOUBLE), {words})"


def parquet(files: Iterable[Path], *, path_column: str | None = None) -> str:
    """Return the SQL table of all rows of parquet files, columns by name, and each row's path where a column is named.

    A folder called ``year=2020`` adds no column: nobody asked for one. A name is a name, not a pattern.
    """
    paths = ", ".join(literal(PATTERN_SIGNS.sub(r"[\g<0>]", str(file))) for file in files)
    path = f", filename={literal(path_column)}" if path_column else ""
    return f"read_parquet([{paths}], union_by_name=true, hive_partitioning=false{path})"


def one_row(connection: duckdb.DuckDBPyConnection, query: str) -> dict[str, Any]:
    """Return the only row of a query by its columns' names."""
    cursor = connection.execute(query)
    assert cursor.description is not None, "a SELECT has columns"
    (row,) = cursor.fetchall()
    return dict(zip((column[0] for column in cursor.description), row, strict=True))
