"""Turn the tables of a source into parquet files, each by the reader of its kind: see `rerank.data.formats`.

They come from elsewhere, so nothing is guessed and nothing repaired: what can't be read as it stands is named with its
line.
"""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from pkgutil import resolve_name
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq

from rerank.data.formats import FORMATS, copy_left_out, is_hidden
from rerank.errors import UserError
from rerank.files import replacing

# Notes on tables that are shown.
SHOWN = 3
# What Hive and Spark write for null.
NO_VALUE = "__HIVE_DEFAULT_PARTITION__"


@dataclass(frozen=True)
class Converted:
    """What came of the tables: how many there are, how many of them have no rows, and what to know of the others."""

    tables: int
    empty: int
    notes: list[str]

    def words(self, tables: Path) -> list[str]:
        """Return it in a few lines."""
        without = f", {self.empty:,} of them without rows" if self.empty else ""
        noun = "file" if self.tables == 1 else "files"
        return [f"{self.tables:,} parquet {noun} in {tables}{without}", *self.some_notes()]

    def some_notes(self) -> list[str]:
        """Return the first notes, and how many more there are."""
        more = [f"and {len(self.notes) - SHOWN:,} more such tables"] if len(self.notes) > SHOWN else []
        return [*self.notes[:SHOWN], *more]


def convert(raw: Path, tables: Path, *, csv_quote: str | None, tsv_quote: str | None) -> Converted:
    """Create the folder ``tables`` with a parquet file of the same stem for each table of ``raw``.

    A table in a folder called KEY=VALUE gets the column KEY where it has none of that name, as Hive and Spark have it;
    what a table holds itself is never replaced.

    Args:
        raw: what `rerank.data.fetch.fetch` made.
        tables: folder to create. Parquet files are linked into it, not copied, where the file system can.
        csv_quote, tsv_quote: the character that encloses the fields of a CSV or TSV file that hold its separator;
            doubled, it stands for itself. None when nothing does.

    Raises:
        UserError: for a table that can't be read as it stands, two of one stem, none at all, or an impossible quote.
    """
    quotes = {"csv_quote": csv_quote, "tsv_quote": tsv_quote}
    for key, quote in quotes.items():
        if quote is not None and (len(quote.encode()) != 1 or quote in ",;\t\r\n "):
            raise UserError(f"params.yaml: {key} is {quote!r}: give one ASCII character that is no separator, or null")
    tables.mkdir()
    files = sorted(
        path
        for path in raw.rglob("*")
        if path.is_file() and path.suffix in FORMATS and not is_hidden(path.relative_to(raw))
    )
    if not files:
        raise UserError(f"{raw}: holds no table ({', '.join(FORMATS)}): run `dvc repro` to fetch the source")
    empty, notes = 0, []
    for table in files:
        place = table.relative_to(raw)
        name = str(table)
        target = (tables / place).with_suffix(".parquet")
        if target.exists() or any(folder.is_file() for folder in target.parents):
            raise UserError(f"{name}: there is another table of that name: rename one")
        target.parent.mkdir(parents=True, exist_ok=True)
        kind = FORMATS[table.suffix]
        if kind.reader is None:
            _link(table, target)
        else:
            enclosing = {"quote": quotes[kind.quote]} if kind.quote else {}
            note = resolve_name(kind.reader)(table, target, name=name, **enclosing)
            notes += [note] if note else []
            empty += pq.read_metadata(target).num_rows == 0
        told = [part.partition("=") for part in place.parts[:-1] if "=" in part]
        if told:
            _add(target, {unquote(key): None if value == NO_VALUE else unquote(value) for key, _, value in told})
    copy_left_out(raw, tables)
    return Converted(len(files), empty, notes)


def _link(table: Path, target: Path) -> None:
    try:
        os.link(table.resolve(), target)  # DVC may have linked to its cache
    except OSError:  # another file system, or one without links
        shutil.copyfile(table, target)


def _add(file: Path, values: dict[str, str | None]) -> None:
    """Add the columns that a parquet file does not have, whatever the case of their names."""
    try:
        source = pq.ParquetFile(file)
    except (pa.ArrowException, OSError):
        return  # `rerank.data.schema` says what is wrong with it
    has = {name.lower() for name in source.schema_arrow.names}
    new = {key: value for key, value in values.items() if key.lower() not in has}
    if not new:
        return
    schema = source.schema_arrow
    for key in new:
        schema = schema.append(pa.field(key, pa.string()))
    with replacing(file) as partial, pq.ParquetWriter(partial, schema, compression="zstd") as writer:
        for batch in source.iter_batches():
            more = [pa.array([value] * len(batch), pa.string()) for value in new.values()]
            writer.write_table(pa.table([*batch.columns, *more], schema=schema))
