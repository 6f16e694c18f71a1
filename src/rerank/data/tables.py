"""Turn tables of other kinds into parquet files: CSV and TSV here, JSON and judgment lists in `rerank.data.records`.

They come from elsewhere, so nothing is guessed and nothing repaired: what can't be read as it stands is named with
its line. A column of a CSV or TSV file has the narrowest of these types that all its values have: true and false,
whole numbers, numbers, text.
"""

import csv
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import duckdb

from rerank.data.pairs import quote
from rerank.data.records import convert_json, convert_json_lines, convert_judgments
from rerank.errors import NO_SPACE_WORDS, UserError

DELIMITERS = {".csv": ",", ".tsv": "\t"}
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


def _convert_csv(table: Path, target: Path, *, name: str, csv_quote: str | None) -> None:
    delimiter, enclosing = DELIMITERS[table.suffix], csv_quote or ""
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


def convert(folder: Path, *, source: str, csv_quote: str | None) -> None:
    """Replace each table below ``folder`` by a parquet file of the same stem; parquet files stay as they are.

    Args:
        folder: what `rerank.data.fetch.fetch` made.
        source: where the tables come from, for the messages.
        csv_quote: the character that encloses the fields of a CSV or TSV file that hold its separator; doubled, it
            stands for itself. None when nothing does.

    A CSV or TSV file needs a header. The other kinds are in `rerank.data.records`.

    Raises:
        UserError: for a table that can't be read as it stands, two of one stem, or an impossible quote.
    """
    if csv_quote is not None and (len(csv_quote.encode()) != 1 or csv_quote in ",\t\r\n "):
        raise UserError(
            f"params.yaml: csv_quote is {csv_quote!r}: give one ASCII character that is no separator, or null"
        )
    converters: dict[str, Callable[..., None]] = {
        **dict.fromkeys(DELIMITERS, partial(_convert_csv, csv_quote=csv_quote)),
        ".json": convert_json,
        ".jsonl": convert_json_lines,
        ".txt": convert_judgments,
    }
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    for table in files:
        if table.suffix in converters:
            name = source if len(files) == 1 else f"{source}: {table.relative_to(folder)}"
            target = table.with_suffix(".parquet")
            if target.exists():
                raise UserError(f"{name}: there is another table of that name: rename one")
            converters[table.suffix](table, target, name=name)
            table.unlink()
