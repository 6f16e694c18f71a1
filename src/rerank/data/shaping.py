"""Make pairs of a source that holds them in another shape, see `rerank.data.shapes`."""

import tempfile
from dataclasses import fields
from pathlib import Path
from pkgutil import resolve_name

import duckdb
import pyarrow.parquet as pq

from rerank.data.conversion import convert
from rerank.data.formats import copy_left_out
from rerank.data.pairs import COLUMNS, SourceColumns
from rerank.data.shapes import shape_of
from rerank.data.source_tables import Shaping, opened
from rerank.data.sql import quote
from rerank.errors import UserError

MEMORY_LIMIT = "4GB"
# Key of params.yaml → the column of the view that a maker makes.
SHAPED = dict(zip((field.name for field in fields(SourceColumns)), COLUMNS, strict=True))


def named(columns: SourceColumns) -> dict[str, str]:
    """Return key of params.yaml → column, which have to differ, capitals aside.

    Raises:
        UserError: for two of one name.
    """
    by_key = columns.by_key()
    seen: dict[str, str] = {}
    for key, name in by_key.items():
        if first := seen.get(name.lower()):
            raise UserError(f"params.yaml: {first} and {key} are both '{name}': pairs need two columns: rename one")
        seen[name.lower()] = key
    return by_key


def shape(
    raw: Path, tables: Path, *, name: str, how: Shaping, csv_quote: str | None, tsv_quote: str | None
) -> list[str]:
    """Create the folder ``tables`` with the pairs of a source in one parquet file, sorted by their values.

    The maker of the shape is called as ``maker(connection, tables, how)``. It makes the view ``shaped`` (user_id,
    book_id, user_ctx, book_text, label) and returns lines that a person should know.

    Args:
        raw: what `rerank.data.fetch.fetch` made.
        name: one of `rerank.data.shapes.SHAPES`, not pairs.
        csv_quote, tsv_quote: see `rerank.data.conversion.convert`.

    Returns:
        What to know of the pairs, a line each.

    Raises:
        UserError: for tables that can't be read or are not of that shape.
    """
    kind = shape_of(name)
    assert kind.maker is not None, "a row of pairs is a pair already"
    by_key = named(how.columns)
    tables.mkdir()
    with tempfile.TemporaryDirectory(prefix=".shaping-", dir=tables.parent) as beside:
        read = Path(beside) / "read"
        notes: list[str] = []
        if kind.reader:
            resolve_name(kind.reader)(raw, read)
        else:
            notes += convert(raw, read, csv_quote=csv_quote, tsv_quote=tsv_quote).some_notes()
        connection = duckdb.connect(config={"memory_limit": MEMORY_LIMIT, "temp_directory": beside})
        notes += resolve_name(kind.maker)(connection, opened(read, raw=raw), how)
        chosen = ", ".join(f"{SHAPED[key]} AS {quote(column)}" for key, column in by_key.items())
        pairs = tables / "pairs.parquet"
        connection.sql(f"SELECT {chosen} FROM shaped ORDER BY ALL").write_parquet(str(pairs), compression="zstd")
    copy_left_out(raw, tables)
    return [*notes, f"{pq.read_metadata(pairs).num_rows:,} pairs of shape {name}"]
