"""The check of a table against the columns that it must have, for pairs and for judgments, on one machine or in blocks.

Each way of breaking the schema is one line that names the table, the column, the value and what to do.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow.fs import FileSystem

from rerank.data.origin import origin
from rerank.data.pairs import SourceColumns, open_files, parquet_files
from rerank.data.sql import is_filled, number, quote
from rerank.errors import UserError

# Names of columns that a message shows, characters of a name or value, and of all names.
NAMES, CHARACTERS, ALL_CHARACTERS = 12, 60, 130
# Characters of another program's words that a message shows.
WORDS = 120
# Of a `check_query`: the columns that are no sums.
LOWEST = ("no_number", "wrong_label")


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return _is_text(kind.value_type)
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def shown(names: Sequence[str]) -> str:
    """Return the names of a table's columns, not more than a line has room for."""
    some = [name[:CHARACTERS] for name in names[:NAMES]]
    while len(", ".join(some)) > ALL_CHARACTERS:
        some.pop()
    return ", ".join(some) + (f" and {len(names) - len(some):,} more" if len(names) > len(some) else "")


def check_columns(schema: pa.Schema, wanted: Mapping[str, str], *, source: str) -> None:
    """Check that a table has columns, and that they hold what they must.

    Args:
        schema: the table's.
        wanted: key of params.yaml → name of the column. That of ``label_column`` holds numbers, any other text or
            whole numbers.
        source: the table's name for the messages.

    Raises:
        UserError: for a missing column or a wrong type.
    """
    for key, name in wanted.items():
        alike = [one for one in schema.names if one.lower() == name.lower()]
        if len(alike) > 1:
            how = (
                "stands there twice"
                if alike[0] == alike[1]
                else f"and '{alike[alike[0] == name]}' differ by case alone"
            )
            raise UserError(f"{source}: column '{name}' {how}: rename or drop one")
        if name not in schema.names:
            raise UserError(
                f"{source}: column '{name}' is missing (it has {shown(schema.names)}): set {key} in params.yaml"
            )
        kind = schema.field(name).type
        accepted, noun = pa.types.is_integer(kind) or pa.types.is_null(kind) or _is_text(kind), "text or whole numbers"
        if key == "label_column":
            number = pa.types.is_boolean(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
            accepted, noun = accepted or number, "numbers"
        if not accepted:
            raise UserError(
                f"{source}: column '{name}' holds {kind}, not {noun}: convert it, or set {key} in params.yaml"
            )


def check_files(tables: Path, wanted: Mapping[str, str], *, source: str) -> None:
    """Check the columns of every parquet file of a folder, see `check_columns`.

    Raises:
        UserError: also for a file that is no parquet file, or a folder without one.
    """
    files = parquet_files(tables)
    alone = len(files) == 1
    rows = 0
    for path in files:
        file = source if alone else f"{source}: {path.relative_to(tables)}"
        count, schema = footer(path, name=file)
        if count or (alone and schema.names):
            check_columns(schema, wanted, source=origin(schema) or file)
        rows += count
    if not rows:
        raise no_rows(source)


def footer(path: Path | str, *, name: str, filesystem: FileSystem | None = None) -> tuple[int, pa.Schema]:
    """Return the rows and the columns of a parquet file, which a UserError that it can't be read calls ``name``."""
    try:
        with pq.ParquetFile(path, filesystem=filesystem) as file:
            return file.metadata.num_rows, file.schema_arrow
    except (pa.ArrowException, OSError) as error:
        raise unreadable(name, error) from None


def no_rows(source: str) -> UserError:
    """Return the error for tables without a single row."""
    return UserError(f"{source}: has no rows: its source in params.yaml must lead to some")


def _name(path: Path, tables: Path, *, source: str) -> str:
    return origin(pq.read_schema(path)) or f"{source}: {path.relative_to(tables)}"


def unreadable(name: str, error: Exception) -> UserError:
    """Return the error for a parquet file that can't be read."""
    words = str(error).splitlines()[0][:WORDS]
    return UserError(f"{name}: not a readable parquet file ({words}): write it again")


def check_query(columns: SourceColumns, *, max_grade: int, whole_labels: bool = True) -> str:
    """Return the SELECT that counts what `check_counts` judges in rows of ``source``: one row, sums but for `LOWEST`.

    ``no_number`` is the first label that is none, ``wrong_label`` the lowest out of range.
    """
    names = {
        "users": columns.user_column,
        "books": columns.book_column,
        "contexts": columns.context_column,
        "texts": columns.text_column,
    }
    filled = (
        f"count(*) FILTER ({is_filled(quote(name)) if name is not None else 'true'}) AS {noun}"
        for noun, name in names.items()
    )
    label = quote(columns.label_column)
    grade = number(label)
    # DuckDB answers BETWEEN from a file's statistics, which know nothing of NaN.
    inside = f"isfinite({grade}) AND {grade} BETWEEN 0 AND {max_grade}" + (
        f" AND {grade} = floor({grade})" if whole_labels else ""
    )
    wrong = f"FILTER ({label} IS NOT NULL AND NOT coalesce({inside}, false))"
    return (
        f"SELECT count(*) AS rows, {', '.join(filled)}, count({label}) AS labels, count(*) {wrong} AS wrong_labels, "
        f"min(CASE WHEN {grade} IS NULL THEN CAST({label} AS VARCHAR) END) {wrong} AS no_number, "
        f"min({grade}) {wrong} AS wrong_label FROM source"
    )


def check_counts(
    counts: Mapping[str, Any],
    *,
    source: str,
    columns: SourceColumns,
    max_grade: int,
    max_empty_share: float | None,
    whole_labels: bool = True,
) -> None:
    """Judge what a `check_query` counted.

    Args:
        source: where the rows come from, for the messages.
        max_empty_share: largest share of rows, 0 to 1, whose context or text may be null or blank, because somebody
            drops and counts those; None when none may.

    Raises:
        UserError: for no rows, a null id or label, a label out of range, or too many empty texts.
    """
    rows = int(counts["rows"])

    def empty(name: str, filled: str) -> str:
        return f"{source}: column '{name}' is null or blank in {rows - int(counts[filled]):,} of {rows:,} rows"

    if rows == 0:
        raise no_rows(source)
    texts = [(columns.context_column, "contexts"), (columns.text_column, "texts")]
    never_empty = [(columns.user_column, "users"), (columns.book_column, "books"), (columns.label_column, "labels")]
    for name, filled in never_empty if max_empty_share is not None else [*never_empty, *texts]:
        if name is not None and counts[filled] < rows:
            raise UserError(f"{empty(name, filled)}: fill or drop them")
    if counts["wrong_labels"]:
        text = counts["no_number"]
        value, key = f"{counts['wrong_label']:g}", "max_grade"
        if not pd.isna(text):
            value, key = repr(text[:CHARACTERS]), "label_column"
        raise UserError(
            f"{source}: column '{columns.label_column}' holds {value} "
            f"({int(counts['wrong_labels']):,} of {rows:,} rows are not {'whole ' if whole_labels else ''}numbers from "
            f"0 to {max_grade}): correct them, or set {key} in params.yaml"
        )
    for name, filled in texts:
        if name is not None and max_empty_share is not None and rows - counts[filled] > max_empty_share * rows:
            raise UserError(
                f"{empty(name, filled)}: fill them, or raise max_empty_share ({max_empty_share:g}) in params.yaml to "
                "have them dropped and counted"
            )


def check(
    tables: Path,
    *,
    source: str,
    columns: SourceColumns,
    max_grade: int,
    max_empty_share: float | None,
    whole_labels: bool = True,
) -> int:
    """Check every parquet file of a folder against the schema and return the number of rows.

    Args:
        tables: folder of parquet files.
        source: where they come from, for the messages.
        columns: the names that the source uses.
        max_grade: labels are numbers from 0 to this.
        max_empty_share: see `check_counts`.
        whole_labels: whether labels must be whole numbers.

    Raises:
        UserError: for an unreadable file, a missing column, a wrong type, and what `check_counts` refuses.
    """
    check_files(tables, columns.by_key(), source=source)
    query = check_query(columns, max_grade=max_grade, whole_labels=whole_labels)
    how: dict[str, Any] = {"columns": columns, "max_grade": max_grade, "whole_labels": whole_labels}
    files = parquet_files(tables)
    counts = _counts(files, query, source=source)
    try:
        check_counts(counts, source=source, max_empty_share=max_empty_share, **how)
    except UserError:
        for file in files:  # which of them is it?
            some = _counts([file], query, source=source)
            if some["rows"] and (len(files) > 1 or origin(pq.read_schema(file))):
                name = _name(file, tables, source=source)
                check_counts(some, source=name, max_empty_share=max_empty_share, **how)
        raise
    return int(counts["rows"])


def _counts(files: list[Path], query: str, *, source: str) -> dict[str, Any]:
    try:
        connection = duckdb.connect()
        open_files(connection, files)
        (counts,) = connection.sql(query).fetchdf().to_dict("records")
    except duckdb.OutOfMemoryException:
        raise
    except duckdb.Error as error:
        raise unreadable(source, error) from None
    return {str(name): value for name, value in counts.items()}
