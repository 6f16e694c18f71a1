"""Turn CSV and TSV files into parquet files.

Every value stays the text that it is, and an empty field is null: whether a column is a label, an id or a text decides
the param that names it, not the look of its values. The parameter ``name`` is the file's name for the messages
(UserError).
"""

import csv
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from rerank.data.origin import marked
from rerank.errors import UserError

ROWS_PER_GROUP = 50_000
UTF_16 = (b"\xff\xfe", b"\xfe\xff")


def _columns(header: list[str], *, name: str) -> list[str]:
    """Return the columns' names; one without a name is called column0, column1 and so on by its place."""
    columns = [column.strip() or f"column{place}" for place, column in enumerate(header)]
    for place, column in enumerate(columns):
        if column.lower() in [earlier.lower() for earlier in columns[:place]]:
            raise UserError(f"{name}: its header names the column '{column}' twice: rename one")
    return columns


def _rows(table: Path, *, name: str, delimiter: str, enclosing: str | None) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows that are not blank, the header first, each with its first line."""
    how: dict[str, Any] = {"quotechar": enclosing} if enclosing else {"quoting": csv.QUOTE_NONE}
    line = 1
    with table.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, delimiter=delimiter, strict=True, **how)
        while True:
            try:
                row = next(reader, None)
            except csv.Error as error:
                words = "a quotation mark is not closed" if str(error) == "unexpected end of data" else error
                raise UserError(
                    f"{name}: line {line} can't be read ({words}): correct it, or what encloses fields (csv_quote, "
                    "tsv_quote in params.yaml)"
                ) from None
            except UnicodeDecodeError:
                raise UserError(f"{name}: line {_not_utf8(table)} is not UTF-8: save the file as UTF-8") from None
            if row is None:
                return
            if row:
                yield line, row
            line = reader.line_num + 1


def _not_utf8(table: Path) -> int:
    """Return the first line that is not UTF-8."""
    with table.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                line.decode()
            except UnicodeDecodeError:
                return number + line.replace(b"\r\n", b"\n").count(b"\r")
    return 1


def _delimiter(table: Path, *, name: str, expected: str) -> str:
    """Return what separates the fields: ``expected``, or ";" or a tab where the header has that alone."""
    with table.open("rb") as file:
        start = file.read(2**16)
    if start.startswith(UTF_16):
        raise UserError(f"{name}: line 1 is UTF-16: save the file as UTF-8")
    header = start.decode("utf-8", errors="replace").splitlines()[:1]
    others = [sign for sign in (",", ";", "\t") if header and sign in header[0]]
    return others[0] if len(others) == 1 and expected == "," else expected


def _convert(table: Path, target: Path, *, name: str, delimiter: str, quote: str | None) -> None:
    csv.field_size_limit(sys.maxsize)
    delimiter = _delimiter(table, name=name, expected=delimiter)
    rows = _rows(table, name=name, delimiter=delimiter, enclosing=quote)
    columns = _columns(next(rows, (1, []))[1], name=name)
    if not columns:
        raise UserError(f"{name}: is empty: its first line must name the columns")
    schema = marked(pa.schema([(column, pa.string()) for column in columns]), name)
    with pq.ParquetWriter(target, schema, compression="zstd") as writer:
        group: list[list[str]] = []
        for line, row in rows:
            if len(row) != len(columns):
                raise UserError(
                    f"{name}: line {line} has {len(row)} fields, and its header {len(columns)}: correct it, or what "
                    "encloses fields (csv_quote, tsv_quote in params.yaml)"
                )
            group.append(row)
            if len(group) == ROWS_PER_GROUP:
                writer.write_table(_table(group, schema))
                group = []
        writer.write_table(_table(group, schema))


def _table(rows: list[list[str]], schema: pa.Schema) -> pa.Table:
    fields = zip(*rows, strict=True) if rows else [()] * len(schema)
    return pa.table([pa.array([value or None for value in column], pa.string()) for column in fields], schema=schema)


def convert_csv(table: Path, target: Path, *, name: str, quote: str | None) -> None:
    """Convert a file whose fields are separated by commas, or ";" or tabs; its first line names the columns."""
    _convert(table, target, name=name, delimiter=",", quote=quote)


def convert_tsv(table: Path, target: Path, *, name: str, quote: str | None) -> None:
    """Convert a file whose fields are separated by tabs; its first line names the columns."""
    _convert(table, target, name=name, delimiter="\t", quote=quote)
