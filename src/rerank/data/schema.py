"""The check of a table against the columns that it must have, for pairs and for judgments, on one machine or in blocks.

Each way of breaking the schema is one line that names the table, the column, the value and what to do.
"""

from collections.abc import Mapping
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from rerank.data.pairs import SourceColumns, open_files, parquet_files
from rerank.data.sql import is_filled, quote
from rerank.errors import UserError


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return _is_text(kind.value_type)
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


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
        if name not in schema.names:
            found = ", ".join(schema.names)
            raise UserError(f"{source}: column '{name}' is missing (it has {found}): set {key} in params.yaml")
        kind = schema.field(name).type
        whole = pa.types.is_integer(kind)
        if key == "label_column":
            accepted, noun = whole or pa.types.is_boolean(kind) or pa.types.is_floating(kind), "numbers"
        else:
            accepted, noun = whole or _is_text(kind), "text or whole numbers"
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
    for path in files:
        file = source if len(files) == 1 else f"{source}: {path.relative_to(tables)}"
        try:
            schema = pq.read_schema(path)
        except (pa.ArrowException, OSError) as error:
            raise unreadable(file, error) from None
        check_columns(schema, wanted, source=file)


def unreadable(name: str, error: Exception) -> UserError:
    """Return the error for a parquet file that can't be read."""
    return UserError(f"{name}: not a readable parquet file ({str(error).splitlines()[0]}): write it again")


def check_query(columns: SourceColumns, *, max_grade: int, whole_labels: bool = True) -> str:
    """Return the SELECT that counts what `check_counts` judges in rows of ``source``: one row, all sums but the last.

    ``wrong_label`` is the lowest label out of range.
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
    grade = f"CAST({label} AS DOUBLE)"
    # DuckDB answers BETWEEN from a file's statistics, which know nothing of NaN.
    inside = f"isfinite({grade}) AND {grade} BETWEEN 0 AND {max_grade}" + (
        f" AND {grade} = floor({grade})" if whole_labels else ""
    )
    return (
        f"SELECT count(*) AS rows, {', '.join(filled)}, count({label}) AS labels, "
        f"count(*) FILTER (NOT ({inside})) AS wrong_labels, min({grade}) FILTER (NOT ({inside})) AS wrong_label "
        "FROM source"
    )


def check_counts(
    counts: Mapping[str, float],
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
        raise UserError(f"{source}: has no rows: its source in params.yaml must lead to some")
    texts = [(columns.context_column, "contexts"), (columns.text_column, "texts")]
    never_empty = [(columns.user_column, "users"), (columns.book_column, "books"), (columns.label_column, "labels")]
    for name, filled in never_empty if max_empty_share is not None else [*never_empty, *texts]:
        if name is not None and counts[filled] < rows:
            raise UserError(f"{empty(name, filled)}: fill or drop them")
    if counts["wrong_labels"]:
        raise UserError(
            f"{source}: column '{columns.label_column}' holds {counts['wrong_label']:g} "
            f"({int(counts['wrong_labels']):,} of {rows:,} rows are not {'whole ' if whole_labels else ''}numbers from "
            f"0 to {max_grade}): correct them, or set max_grade in params.yaml"
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
    try:
        connection = duckdb.connect()
        open_files(connection, parquet_files(tables))
        (counts,) = connection.sql(query).fetchdf().to_dict("records")
    except duckdb.OutOfMemoryException:
        raise
    except duckdb.Error as error:
        raise unreadable(source, error) from None
    check_counts(
        counts,
        source=source,
        columns=columns,
        max_grade=max_grade,
        max_empty_share=max_empty_share,
        whole_labels=whole_labels,
    )
    return int(counts["rows"])
