"""Turn CSV and TSV files into parquet files.

A column has the narrowest of these types that all its values have: true and false, whole numbers, numbers, text. The
parameter ``name`` is the file's name for the messages (UserError).
"""

import csv
import re
from pathlib import Path

import duckdb

from rerank.data.sql import quote
from rerank.errors import NO_SPACE_WORDS, UserError

# Column type in DuckDB → what every value of such a column looks like, tried in this order. Text keeps its leading
# zeros, and numbers with more digits than the type holds stay text.
KINDS = (
    ("BOOLEAN", r"(?i)true|false"),
    ("BIGINT", r"-?(0|[1-9]\d{0,17})"),
    ("DOUBLE", r"-?((0|[1-9]\d{0,14})(\.\d*)?|\.\d+)([eE][-+]?\d{1,2})?"),
)


def _header(table: Path, *, name: str, delimiter: str, csv_quote: str) -> list[str]:
    """Return the columns' names; one without a name is called column0, column1 and so on by its place."""
    with table.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        try:
            if csv_quote:
                reader = csv.reader(file, delimiter=delimiter, quotechar=csv_quote, strict=True)
            else:
                reader = csv.reader(file, delimiter=delimiter, quoting=csv.QUOTE_NONE, strict=True)
            first = next(reader, [])
        except csv.Error as error:
            raise UserError(f"{name}: line 1 can't be read as a header ({error}): correct it") from None
    columns = [column.strip() or f"column{place}" for place, column in enumerate(first)]
    for place, column in enumerate(columns):
        if column.lower() in [earlier.lower() for earlier in columns[:place]]:
            raise UserError(f"{name}: its header names the column '{column}' twice: rename one")
    if not columns:
        raise UserError(f"{name}: is empty: its first line must name the columns")
    return columns


def _reason(error: duckdb.Error) -> str:
    """Return line and reason of DuckDB's words for a file that it can't read."""
    words = str(error)
    line = re.search(r"CSV Error on Line: (\d+)", words)
    reason = re.search(
        r"Expected Number of Columns: \d+ Found: \d+|Value with unterminated quote|Invalid unicode|Maximum line size",
        words,
    )
    place = f"line {line[1]} " if line else ""
    return f"{place}can't be read ({reason[0] if reason else words.splitlines()[0]})"


def _kind(column: str) -> str:
    """Return the SQL expression that gives the type of a column of texts."""
    tests = (f"WHEN bool_and(regexp_full_match({quote(column)}, '{values}')) THEN '{kind}'" for kind, values in KINDS)
    return f"CASE {' '.join(tests)} ELSE 'VARCHAR' END"


def _convert(table: Path, target: Path, *, name: str, delimiter: str, csv_quote: str | None) -> None:
    enclosing = csv_quote or ""
    columns = _header(table, name=name, delimiter=delimiter, csv_quote=enclosing)
    try:
        rows = duckdb.connect().read_csv(
            str(table),
            columns=dict.fromkeys(columns, "VARCHAR"),
            header=True,
            delimiter=delimiter,
            quotechar=enclosing,
            escapechar=enclosing,
            auto_detect=False,
            hive_partitioning=False,
            strict_mode=True,
        )
        kinds = rows.aggregate(", ".join(map(_kind, columns))).fetchall()[0]
        casts = (
            f"CAST({quote(column)} AS {kind}) AS {quote(column)}" for column, kind in zip(columns, kinds, strict=True)
        )
        rows.project(", ".join(casts)).write_parquet(str(target), compression="zstd")
    except duckdb.OutOfMemoryException:
        raise
    except duckdb.Error as error:
        if NO_SPACE_WORDS.search(str(error)):
            raise
        raise UserError(
            f"{name}: {_reason(error)}: correct it, or set csv_quote ({csv_quote!r}) in params.yaml"
        ) from None


def convert_csv(table: Path, target: Path, *, name: str, csv_quote: str | None) -> None:
    """Convert a file whose fields are separated by commas; its first line names the columns."""
    _convert(table, target, name=name, delimiter=",", csv_quote=csv_quote)


def convert_tsv(table: Path, target: Path, *, name: str, csv_quote: str | None) -> None:
    """Convert a file whose fields are separated by tabs; its first line names the columns."""
    _convert(table, target, name=name, delimiter="\t", csv_quote=csv_quote)
