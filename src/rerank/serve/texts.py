"""Whether every row of a part has its texts: seconds before the first score, where scoring takes hours."""

from collections import Counter
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from rerank.data import stores
from rerank.errors import UserError

# So many rows are in memory at once, and of each column so many bytes of the file.
BATCH_ROWS = 16_384
BUFFER_BYTES = 1 << 20


def is_text(kind: pa.DataType) -> bool:
    """Whether a column of this type holds texts."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def _nulls(metadata: pq.FileMetaData, column: str) -> int | None:
    """Return how many nulls a column has by the file's footer, or None where it does not say so."""
    found = 0
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        chunks = [group.column(leaf) for leaf in range(group.num_columns)]
        for chunk in (chunk for chunk in chunks if chunk.path_in_schema == column):
            if chunk.statistics is None or not chunk.statistics.has_null_count:
                return None
            found += chunk.statistics.null_count
    return found


def _broken(texts: pa.Array) -> int | None:
    """Return the place of the first text that is not UTF-8, or None."""
    try:
        texts.validate(full=True)
    except pa.ArrowInvalid:
        for place, text in enumerate(texts):
            try:
                text.as_py()
            except UnicodeDecodeError:
                return place
    return None


def check_texts(source: str, columns: Sequence[str]) -> None:
    """Check that these columns have a text in each row of a parquet file, by its footer, or else by reading them.

    A local file is always read: it takes seconds, and finds damaged pages too.

    Raises:
        UserError: for a null, a text that is not UTF-8, and pages that can't be read, with the row.
    """
    nulls, first, row = Counter[str](), dict[str, int](), 0
    with stores.opened(source) as stream:
        file = pq.ParquetFile(stream, buffer_size=BUFFER_BYTES, pre_buffer=False)
        if not stores.is_local(source) and all(_nulls(file.metadata, column) == 0 for column in columns):
            return
        try:
            for batch in file.iter_batches(BATCH_ROWS, columns=list(columns)):
                for column in columns:
                    texts = batch.column(column)
                    if texts.null_count:
                        first.setdefault(column, row + texts.is_null().index(True).as_py() + 1)
                        nulls[column] += texts.null_count
                    broken = _broken(texts)
                    if broken is not None:
                        raise UserError(
                            f"{source}: column '{column}', row {row + broken + 1:,}: is not UTF-8 text: write it again"
                        )
                row += batch.num_rows
        except (pa.ArrowException, OSError) as error:
            raise UserError(unreadable(source, row, error)) from None
    for column, count in nulls.items():
        raise UserError(
            f"{source}: column '{column}' is null in {count:,} of {row:,} rows, the first is row {first[column]:,}: "
            "give each a text, or drop these rows"
        )


def unreadable(source: str, row: int, error: Exception) -> str:
    """Say that a file can't be read after its row number ``row``."""
    return f"{source}: can't be read after row {row:,} ({' '.join(str(error).split())[:100]}): write it again"
