"""The schema of the pairs, in one place, and the error for each way of breaking it.

A pair is one row: a reader, a book, both as text, and whether the reader liked the book. Whatever the source calls
its columns, everything after `read` sees these five names, the two ids as strings and the label as a whole number.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Self

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from rerank.errors import UserError

COLUMNS = ("user_id", "book_id", "user_ctx", "book_text", "label")


@dataclass(frozen=True)
class SourceColumns:
    """The names that a source uses for the five columns of a pair."""

    user_column: str
    book_column: str
    context_column: str
    text_column: str
    label_column: str

    def by_key(self) -> dict[str, str]:
        """Return params.yaml key → name in the source, in the order of `COLUMNS`."""
        return asdict(self)

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> Self:
        """Take the five names from params.yaml's keys of the same names."""
        return cls(**{field.name: params[field.name] for field in fields(cls)})


def quote(name: str) -> str:
    """Quote an identifier for SQL."""
    return '"' + name.replace('"', '""') + '"'


def is_filled(column: str) -> str:
    """Return the SQL condition that a (quoted) column of texts or ids is neither null nor blank."""
    return f"trim(CAST({column} AS VARCHAR), E' \\t\\r\\n') <> ''"


def parquet_files(raw: Path) -> list[Path]:
    """Return the parquet files of a folder, at any depth, sorted.

    Raises:
        UserError: when there is none.
    """
    files = sorted(path for path in raw.rglob("*.parquet") if path.is_file())
    if not files:
        raise UserError(f"{raw}: holds no .parquet file: `source` in params.yaml must lead to one")
    return files


def read(connection: duckdb.DuckDBPyConnection, raw: Path, columns: SourceColumns) -> None:
    """Create the view ``pairs`` with `COLUMNS` over all parquet files of ``raw``; nothing is read yet."""
    files = [str(path) for path in parquet_files(raw)]
    user, book, context, text, label = (quote(name) for name in columns.by_key().values())
    connection.read_parquet(files, union_by_name=True).create_view("source")
    connection.execute(
        f"CREATE VIEW pairs AS SELECT CAST({user} AS VARCHAR) AS user_id, CAST({book} AS VARCHAR) AS book_id, "
        f"{context} AS user_ctx, {text} AS book_text, CAST({label} AS INTEGER) AS label FROM source"
    )


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return _is_text(kind.value_type)
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def _is_id(kind: pa.DataType) -> bool:
    return _is_text(kind) or pa.types.is_integer(kind)


def _is_label(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_boolean(kind) or pa.types.is_floating(kind)


def _unreadable(name: str, error: Exception) -> UserError:
    return UserError(f"{name}: not a readable parquet file ({str(error).splitlines()[0]}): write it again")


def _check_schema(path: Path, columns: SourceColumns, *, source: str) -> None:
    try:
        schema = pq.read_schema(path)
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(source, error) from None
    kinds = {
        "context_column": (_is_text, "text"),
        "text_column": (_is_text, "text"),
        "label_column": (_is_label, "numbers"),
    }
    for key, name in columns.by_key().items():
        if name not in schema.names:
            found = ", ".join(schema.names)
            raise UserError(f"{source}: column '{name}' is missing (it has {found}): set {key} in params.yaml")
        accepts, noun = kinds.get(key, (_is_id, "text or whole numbers"))
        kind = schema.field(name).type
        if not accepts(kind):
            raise UserError(
                f"{source}: column '{name}' holds {kind}, not {noun}: convert it, or set {key} in params.yaml"
            )


def check(raw: Path, *, source: str, columns: SourceColumns, max_grade: int, max_empty_share: float) -> int:
    """Check every parquet file of ``raw`` against the schema and return the number of rows.

    Args:
        raw: folder of parquet files.
        source: where they come from, for the messages.
        columns: the names that the source uses.
        max_grade: labels are whole numbers from 0 to this.
        max_empty_share: largest share of rows, 0 to 1, whose context or text may be null or blank (``sample`` drops
            and counts those).

    Raises:
        UserError: for an unreadable file, a missing column, a wrong type, no rows, a null id or label, a label out of
            range, or too many empty texts.
    """
    files = parquet_files(raw)
    for path in files:
        _check_schema(path, columns, source=source if len(files) == 1 else f"{source}: {path.relative_to(raw)}")
    user, book, context, text, label = (quote(name) for name in columns.by_key().values())
    grade = f"CAST({label} AS DOUBLE)"
    outside = f"NOT ({grade} BETWEEN 0 AND {max_grade} AND {grade} = floor({grade}))"
    try:
        connection = duckdb.connect()
        connection.read_parquet([str(path) for path in files], union_by_name=True).create_view("source")
        row = connection.execute(
            f"SELECT count(*), "
            f"count(*) FILTER ({is_filled(user)}), count(*) FILTER ({is_filled(book)}), count({label}), "
            f"count(*) FILTER ({is_filled(context)}), count(*) FILTER ({is_filled(text)}), "
            f"count(*) FILTER ({outside}), min({grade}) FILTER ({outside}) FROM source"
        ).fetchone()
    except duckdb.OutOfMemoryException:
        raise
    except duckdb.Error as error:
        raise _unreadable(source, error) from None
    assert row is not None, "an aggregate without GROUP BY has one row"
    rows, users, books, labels, contexts, texts, wrong_labels, wrong_label = row
    if rows == 0:
        raise UserError(f"{source}: the pairs have no rows: `source` in params.yaml must lead to some")
    for name, filled in ((columns.user_column, users), (columns.book_column, books)):
        if filled < rows:
            empty = f"{rows - filled:,} of {rows:,}"
            raise UserError(f"{source}: column '{name}' is null or blank in {empty} rows: fill or drop them")
    if labels < rows:
        empty = f"{rows - labels:,} of {rows:,}"
        raise UserError(f"{source}: column '{columns.label_column}' is null in {empty} rows: fill or drop them")
    if wrong_labels:
        raise UserError(
            f"{source}: column '{columns.label_column}' holds {wrong_label:g} ({wrong_labels:,} of {rows:,} rows are "
            f"not whole numbers from 0 to {max_grade}): correct them, or set max_grade in params.yaml"
        )
    for name, filled in ((columns.context_column, contexts), (columns.text_column, texts)):
        if rows - filled > max_empty_share * rows:
            raise UserError(
                f"{source}: column '{name}' is null or blank in {rows - filled:,} of {rows:,} rows: fill them, or "
                f"raise max_empty_share ({max_empty_share:g}) in params.yaml to have them dropped and counted"
            )
    return rows
