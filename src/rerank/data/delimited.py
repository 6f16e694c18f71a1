"""Turn CSV and TSV files into parquet files.

Every value stays the text that it is, and an empty field is null: whether a column is a label, an id or a text decides
the param that names it, not the look of its values. The parameter ``name`` is the file's name for the messages
(UserError).
"""

import csv
import re
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from rerank.data.encoding import check_start, not_utf8
from rerank.data.origin import marked
from rerank.errors import UserError

ROWS_PER_GROUP = 50_000
CHARACTERS = 60
# What may separate the fields of a .csv file, and the line in which Excel says it.
SEPARATORS = (",", ";", "\t", "|")
SEPARATOR_LINE = re.compile(r"sep=(.)\s*")
WORDS = {
    "unexpected end of data": "a quotation mark is not closed",
    "expected after": "a quotation mark inside a quoted field is not doubled",
}
ADVICE = "correct it, or what encloses fields (csv_quote, tsv_quote in params.yaml)"


def _columns(header: list[str], *, name: str) -> list[str]:
    """Return the columns' names; one without a name is called column0, column1 and so on by its place."""
    columns = [column.strip() or f"column{place}" for place, column in enumerate(header)]
    seen = set[str]()
    for column in columns:
        if column.lower() in seen:
            raise UserError(
                f"{name}: its header names the column '{column[:CHARACTERS]}' twice, capitals aside: rename one"
            )
        seen.add(column.lower())
    return columns


def _rows(table: Path, *, name: str, delimiter: str, enclosing: str | None) -> Iterator[tuple[int, int, list[str]]]:
    """Yield the rows that are not blank, the header first, each with its first line and how many it takes."""
    how: dict[str, Any] = {"quotechar": enclosing} if enclosing else {"quoting": csv.QUOTE_NONE}
    line = 1
    with table.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, delimiter=delimiter, strict=True, **how)
        while True:
            try:
                row = next(reader, None)
            except csv.Error as error:
                words = next((words for sign, words in WORDS.items() if sign in str(error)), error)
                raise UserError(f"{name}: line {line} can't be read ({words}): {ADVICE}") from None
            except UnicodeDecodeError:
                raise not_utf8(table, name=name) from None
            if row is None:
                return
            if row:
                yield line, reader.line_num - line + 1, row
            line = reader.line_num + 1


def _first_line(table: Path, *, name: str) -> str:
    with table.open("rb") as file:
        start = file.read(2**16)
    check_start(start, name=name)
    return re.split("[\r\n]", start.decode("utf-8-sig", errors="replace"), maxsplit=1)[0]


def _convert(table: Path, target: Path, *, name: str, delimiter: str, quote: str | None) -> str | None:
    csv.field_size_limit(sys.maxsize)
    first = _first_line(table, name=name)
    told = SEPARATOR_LINE.fullmatch(first)
    if told:
        delimiter = told[1]
    elif delimiter == ",":
        others = [sign for sign in SEPARATORS if sign in first]
        delimiter = others[0] if len(others) == 1 else delimiter
    rows = _rows(table, name=name, delimiter=delimiter, enclosing=quote)
    if told:
        next(rows)
    columns = _columns(next(rows, (1, 1, []))[2], name=name)
    long, longest = 0, (1, 0)

    def checked() -> Iterator[list[str]]:
        nonlocal long, longest
        for line, lines, row in rows:
            if len(row) != len(columns):
                noun = "field" if len(row) == 1 else "fields"
                raise UserError(f"{name}: line {line} has {len(row)} {noun}, and its header {len(columns)}: {ADVICE}")
            if lines > 1:
                long, longest = long + 1, max(longest, (lines, line))
            yield row

    count = write_texts(checked(), target, columns=columns, name=name)
    if not long:
        return None
    return (
        f"{name}: {long:,} of {count:,} rows hold line ends, one of them {longest[0]:,} lines from line {longest[1]:,}"
    )


def write_texts(rows: Iterator[list[str]], target: Path, *, columns: list[str], name: str) -> int:
    """Write rows of texts as a parquet file made from ``name``, an empty text as null; return how many there are."""
    schema = marked(pa.schema([(column, pa.string()) for column in columns]), name)
    count = 0
    with pq.ParquetWriter(target, schema, compression="zstd") as writer:
        while group := list(islice(rows, ROWS_PER_GROUP)):
            fields = [pa.array([value or None for value in field], pa.string()) for field in zip(*group, strict=True)]
            writer.write_table(pa.table(fields, schema=schema))
            count += len(group)
    return count


def convert_csv(table: Path, target: Path, *, name: str, quote: str | None) -> str | None:
    """Convert a file whose fields are separated by commas, or by ";", tabs or "|" where its header has these alone.

    Its first line names the columns; a file without a line is a table without rows.

    Returns:
        What to know of rows that take several lines, which a stray quotation mark makes too; None without any.
    """
    return _convert(table, target, name=name, delimiter=",", quote=quote)


def convert_tsv(table: Path, target: Path, *, name: str, quote: str | None) -> str | None:
    """Convert a file whose fields are separated by tabs, as `convert_csv` does."""
    return _convert(table, target, name=name, delimiter="\t", quote=quote)
