"""What a pair is, under whatever names a source has it.

A pair is one row: a reader, a book, both as text, and whether the reader liked the book. Whatever the source calls
its columns, everything after `read` sees these five names, the two ids as strings and the label as a number.
"""

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Self

import duckdb
import pyarrow.parquet as pq

from rerank.data.sql import number, parquet, quote
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
    text_column: str | None  # judgments have none: their texts are in another table
    label_column: str

    def by_key(self) -> dict[str, str]:
        """Return params.yaml key → name in the source, in the order of `COLUMNS`, without the missing ids."""
        return {key: name for key, name in asdict(self).items() if name is not None}

    @classmethod
    def from_params(cls, params: object) -> Self:
        """Take the five names from a stage's params of the same names."""
        return cls(**{field.name: getattr(params, field.name) for field in fields(cls)})


def parquet_files(raw: Path) -> list[Path]:
    """Return the parquet files of a folder, at any depth, sorted.

    Raises:
        UserError: when there is none.
    """
    files = sorted(path for path in raw.rglob("*.parquet") if path.is_file())
    if not files:
        raise UserError(f"{raw}: holds no .parquet file: `source` in params.yaml must lead to one")
    return files


def open_files(connection: duckdb.DuckDBPyConnection, files: list[Path], *, view: str = "source") -> list[str]:
    """Create a view over parquet files, with a column `PATH`, and return its columns.

    Files without rows are left out where others have some: what has no value has no type to agree with.
    """
    filled = [file for file in files if pq.read_metadata(file).num_rows] or files
    connection.execute(f"CREATE VIEW {quote(view)} AS FROM {parquet(filled, path_column=PATH)}")
    return connection.view(view).columns


def _id(column: str | None, text: str, *, as_text: bool) -> str:
    """Return the SQL expression of an id."""
    if column is None:
        return f"md5(coalesce({quote(text)}, ''))"
    return f"CAST({quote(column)} AS VARCHAR)" if as_text else quote(column)


def select(columns: SourceColumns, *, whole_labels: bool = True, text_ids: bool = True) -> str:
    """Return the SQL expressions of `COLUMNS` over the source, see `read`."""
    context, text = columns.context_column, columns.text_column
    assert text is not None, "pairs have texts"
    return (
        f"{_id(columns.user_column, context, as_text=text_ids)} AS user_id, "
        f"{_id(columns.book_column, text, as_text=text_ids)} AS book_id, "
        f"CAST({quote(context)} AS VARCHAR) AS user_ctx, CAST({quote(text)} AS VARCHAR) AS book_text, "
        f"CAST({number(quote(columns.label_column))} AS {'INTEGER' if whole_labels else 'DOUBLE'}) AS label"
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
        raw: folder of parquet files that `rerank.data.schema.check` has accepted.
        columns: the names that the source uses. For a missing id column the id is the MD5 of the text.
        whole_labels: whether ``label`` is INTEGER or DOUBLE.
        text_ids: whether ids that are whole numbers become text, which takes longer to compare.
        split_column: the source's column that becomes ``split``, as text; ``file`` for the name of the row's file
            without its suffix, which the view always has as ``file``. None: there is no column ``split``.

    Raises:
        UserError: when there is no file, or none has ``split_column``.
    """
    found = open_files(connection, parquet_files(raw))
    if split_column not in (None, "file", *found):
        names = ", ".join(name for name in found if name != PATH)
        raise UserError(f"{raw}: column '{split_column}' is missing (it has {names}): set split_column in params.yaml")
    file = f"parse_filename({quote(PATH)}, true)"
    split = ""
    if split_column is not None:
        split = f", {file if split_column == 'file' else f'CAST({quote(split_column)} AS VARCHAR)'} AS split"
    wanted = select(columns, whole_labels=whole_labels, text_ids=text_ids)
    connection.execute(f"CREATE VIEW pairs AS SELECT {wanted}, {file} AS file{split} FROM source")
