"""The schema of the pairs, in one place, and the error for each way of breaking it.

A pair is one row: a reader, a book, both as text, and whether the reader liked the book. Whatever the source calls
its columns, everything after `read` sees these five names, the two ids as strings and the label as a number.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Self

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from rerank.errors import UserError

COLUMNS = ("user_id", "book_id", "user_ctx", "book_text", "label")
# The view ``source`` has the path of a row's file under this name, which no table's own column has.
PATH = "path of the parquet file"


@dataclass(frozen=True)
class SourceColumns:
    """The names that a source uses for the five columns of a pair; the text of one without an id column is its id."""

    user_column: str | None
    book_column: str | None
    context_column: str
    text_column: str
    label_column: str

    def by_key(self) -> dict[str, str]:
        """Return params.yaml key → name in the source, in the order of `COLUMNS`, without the missing ids."""
        return {key: name for key, name in asdict(self).items() if name is not None}

    @classmethod
    def from_params(cls, params: object) -> Self:
        """Take the five names from a stage's params of the same names."""
        return cls(**{field.name: getattr(params, field.name) for field in fields(cls)})


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


def _open(connection: duckdb.DuckDBPyConnection, files: list[Path]) -> list[str]:
    """Create the view ``source`` over parquet files, with a column `PATH`, and return its columns."""
    paths = ", ".join("'" + str(path).replace("'", "''") + "'" for path in files)
    connection.execute(
        f"CREATE VIEW source AS SELECT * FROM read_parquet([{paths}], union_by_name=true, filename='{PATH}')"
    )
    return connection.view("source").columns


def _id(column: str | None, text: str, *, as_text: bool) -> str:
    """Return the SQL expression of an id."""
    if column is None:
        return f"md5(coalesce({quote(text)}, ''))"
    return f"CAST({quote(column)} AS VARCHAR)" if as_text else quote(column)


def select(columns: SourceColumns, *, whole_labels: bool = True, text_ids: bool = True) -> str:
    """Return the SQL expressions of `COLUMNS` over the source, see `read`."""
    context, text = columns.context_column, columns.text_column
    return (
        f"{_id(columns.user_column, context, as_text=text_ids)} AS user_id, "
        f"{_id(columns.book_column, text, as_text=text_ids)} AS book_id, "
        f"{quote(context)} AS user_ctx, {quote(text)} AS book_text, "
        f"CAST({quote(columns.label_column)} AS {'INTEGER' if whole_labels else 'DOUBLE'}) AS label"
    )


def read(
    connection: duckdb.DuckDBPyConnection,
    raw: Path,
    columns: SourceColumns,
    *,
    whole_labels: bool = True,
    text_ids: bool = True,
    split_column: str | None = None,
) -> None:
    """Create the view ``pairs`` with `COLUMNS` and more over all parquet files of ``raw``; no row is read yet.

    Args:
        connection: where to create it.
        raw: folder of parquet files that `check` has accepted.
        columns: the names that the source uses. For a missing id column the id is the MD5 of the text.
        whole_labels: whether ``label`` is INTEGER or DOUBLE.
        text_ids: whether ids that are whole numbers become text, which takes longer to compare.
        split_column: the source's column that becomes ``split``, as text; ``file`` for the name of the row's file
            without its suffix, which the view always has as ``file``. None: there is no column ``split``.

    Raises:
        UserError: when there is no file, or none has ``split_column``.
    """
    found = _open(connection, parquet_files(raw))
    if split_column not in (None, "file", *found):
        names = ", ".join(name for name in found if name != PATH)
        raise UserError(f"{raw}: column '{split_column}' is missing (it has {names}): set split_column in params.yaml")
    file = f"parse_filename({quote(PATH)}, true)"
    split = ""
    if split_column is not None:
        split = f", {file if split_column == 'file' else f'CAST({quote(split_column)} AS VARCHAR)'} AS split"
    wanted = select(columns, whole_labels=whole_labels, text_ids=text_ids)
    connection.execute(f"CREATE VIEW pairs AS SELECT {wanted}, {file} AS file{split} FROM source")


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


def check_schema(schema: pa.Schema, columns: SourceColumns, *, source: str) -> None:
    """Check that a source has the columns and that they hold what they must.

    Raises:
        UserError: for a missing column or a wrong type.
    """
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


def check_query(columns: SourceColumns, *, max_grade: int, whole_labels: bool = True) -> str:
    """Return the SELECT that counts what `check_counts` judges in rows of ``source``: one row, all sums but the last.

    ``wrong_label`` is the lowest label out of range.
    """
    user, book = (
        is_filled(quote(name)) if name is not None else "true" for name in (columns.user_column, columns.book_column)
    )
    context, text, label = (quote(name) for name in (columns.context_column, columns.text_column, columns.label_column))
    grade = f"CAST({label} AS DOUBLE)"
    # DuckDB answers BETWEEN from a file's statistics, which know nothing of NaN.
    inside = f"isfinite({grade}) AND {grade} BETWEEN 0 AND {max_grade}" + (
        f" AND {grade} = floor({grade})" if whole_labels else ""
    )
    return (
        f"SELECT count(*) AS rows, count(*) FILTER ({user}) AS users, count(*) FILTER ({book}) AS books, "
        f"count({label}) AS labels, count(*) FILTER ({is_filled(context)}) AS contexts, "
        f"count(*) FILTER ({is_filled(text)}) AS texts, count(*) FILTER (NOT ({inside})) AS wrong_labels, "
        f"min({grade}) FILTER (NOT ({inside})) AS wrong_label FROM source"
    )


def check_counts(
    counts: Mapping[str, float],
    *,
    source: str,
    columns: SourceColumns,
    max_grade: int,
    max_empty_share: float,
    whole_labels: bool = True,
) -> None:
    """Judge what a `check_query` counted.

    Args:
        source: where the rows come from, for the messages.
        max_empty_share: largest share of rows, 0 to 1, whose context or text may be null or blank (``sample`` drops
            and counts those).

    Raises:
        UserError: for no rows, a null id or label, a label out of range, or too many empty texts.
    """
    rows = int(counts["rows"])

    def empty(name: str, filled: str) -> str:
        return f"{source}: column '{name}' is null or blank in {rows - int(counts[filled]):,} of {rows:,} rows"

    if rows == 0:
        raise UserError(f"{source}: the pairs have no rows: `source` in params.yaml must lead to some")
    for name, filled in (
        (columns.user_column, "users"),
        (columns.book_column, "books"),
        (columns.label_column, "labels"),
    ):
        if name is not None and counts[filled] < rows:
            raise UserError(f"{empty(name, filled)}: fill or drop them")
    if counts["wrong_labels"]:
        raise UserError(
            f"{source}: column '{columns.label_column}' holds {counts['wrong_label']:g} "
            f"({int(counts['wrong_labels']):,} of {rows:,} rows are not {'whole ' if whole_labels else ''}numbers from "
            f"0 to {max_grade}): correct them, or set max_grade in params.yaml"
        )
    for name, filled in ((columns.context_column, "contexts"), (columns.text_column, "texts")):
        if rows - counts[filled] > max_empty_share * rows:
            raise UserError(
                f"{empty(name, filled)}: fill them, or raise max_empty_share ({max_empty_share:g}) in params.yaml to "
                "have them dropped and counted"
            )


def check(
    raw: Path,
    *,
    source: str,
    columns: SourceColumns,
    max_grade: int,
    max_empty_share: float,
    whole_labels: bool = True,
) -> int:
    """Check every parquet file of ``raw`` against the schema and return the number of rows.

    Args:
        raw: folder of parquet files.
        source: where they come from, for the messages.
        columns: the names that the source uses.
        max_grade: labels are numbers from 0 to this.
        max_empty_share: see `check_counts`.
        whole_labels: whether labels must be whole numbers.

    Raises:
        UserError: for an unreadable file, a missing column, a wrong type, and what `check_counts` refuses.
    """
    files = parquet_files(raw)
    for path in files:
        file = source if len(files) == 1 else f"{source}: {path.relative_to(raw)}"
        try:
            schema = pq.read_schema(path)
        except (pa.ArrowException, OSError) as error:
            raise _unreadable(file, error) from None
        check_schema(schema, columns, source=file)
    try:
        connection = duckdb.connect()
        _open(connection, files)
        (counts,) = (
            connection.sql(check_query(columns, max_grade=max_grade, whole_labels=whole_labels))
            .fetchdf()
            .to_dict("records")
        )
    except duckdb.OutOfMemoryException:
        raise
    except duckdb.Error as error:
        raise _unreadable(source, error) from None
    check_counts(
        counts,
        source=source,
        columns=columns,
        max_grade=max_grade,
        max_empty_share=max_empty_share,
        whole_labels=whole_labels,
    )
    return int(counts["rows"])
