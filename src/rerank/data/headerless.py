"""Turn the files of a TREC collection, whose first line is a row already, into parquet files with BEIR's columns.

Which file holds what says its name: judgments have "qrel" in it, queries "quer" or "topic", and all others are
documents. Fields are separated by tabs, those of judgments by any blanks; nothing encloses a field.
"""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from rerank.data.encoding import check_start, not_utf8
from rerank.data.formats import is_hidden
from rerank.data.origin import marked
from rerank.errors import UserError

ROWS_PER_GROUP = 50_000
CHARACTERS = 60
ENDINGS = (".tsv", ".txt")
QRELS = {4: ("query-id", None, "corpus-id", "score"), 3: ("query-id", "corpus-id", "score")}
QUERIES: dict[int, tuple[str | None, ...]] = {2: ("_id", "text")}
# MS MARCO's passages, what has a title, and MS MARCO's documents, whose second field is an address.
DOCUMENTS = {2: ("_id", "text"), 3: ("_id", "title", "text"), 4: ("_id", None, "title", "text")}
SIGNS = {"qrels": ("qrel",), "queries": ("quer", "topic", "topics", "query")}
FORMS = {"qrels": "QUERY 0 DOCUMENT GRADE", "queries": "ID, tab, QUERY", "documents": "ID, tab, TEXT"}


def kind_of(place: Path) -> str:
    """Return what a file holds by its name, or else that of its folder: qrels, queries or documents."""
    name, folder = place.name.lower(), place.parent.name.lower()
    for kind, signs in SIGNS.items():
        if any(sign in name for sign in signs):
            return kind
    return next((kind for kind, signs in SIGNS.items() if folder in (kind, *signs)), "documents")


def _lines(file: Path, *, name: str) -> Iterator[tuple[int, str]]:
    with file.open("rb") as start:
        check_start(start.read(2**16), name=name)
    try:
        with file.open(encoding="utf-8-sig", newline="\n") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield number, line.rstrip("\r\n")
    except UnicodeDecodeError:
        raise not_utf8(file, name=name) from None


def _convert(file: Path, target: Path, *, name: str, kind: str) -> int:
    layouts = {"qrels": QRELS, "queries": QUERIES, "documents": DOCUMENTS}[kind]
    layout: tuple[str | None, ...] | None = None
    writer, group = None, list[list[str]]()
    try:
        for number, line in _lines(file, name=name):
            values = line.split() if kind == "qrels" else line.split("\t")
            layout = layout or layouts.get(len(values))
            if layout is None or len(layout) != len(values):
                raise UserError(
                    f"{name}: line {number:,} has {len(values)} fields ({line[:CHARACTERS]!r}): write {FORMS[kind]}, "
                    "or name the file after what it holds (qrels, queries)"
                )
            if writer is None:
                columns = [column for column in layout if column]
                schema = marked(pa.schema([(column, pa.string()) for column in columns]), name)
                writer = pq.ParquetWriter(target, schema, compression="zstd")
            group.append([value for column, value in zip(layout, values, strict=True) if column])
            if len(group) == ROWS_PER_GROUP:
                writer.write_table(_table(group, schema))
                group = []
        if writer is not None:
            writer.write_table(_table(group, schema))
    finally:
        if writer is not None:
            writer.close()
    return len(layout or ())


def _table(rows: list[list[str]], schema: pa.Schema) -> pa.Table:
    fields = zip(*rows, strict=True) if rows else [()] * len(schema)
    return pa.table([pa.array([value or None for value in column], pa.string()) for column in fields], schema=schema)


def convert_trec(raw: Path, tables: Path) -> None:
    """Create the folder ``tables`` with a parquet file for each file of ``raw`` that has a line.

    Raises:
        UserError: for a file of another kind, or a line that has not the fields of its kind.
    """
    tables.mkdir()
    fields: dict[int, Path] = {}
    for file in sorted(path for path in raw.rglob("*") if path.is_file() and not is_hidden(path.relative_to(raw))):
        place = file.relative_to(raw)
        if file.suffix not in ENDINGS:
            raise UserError(
                f"{file}: is no file of a TREC collection ({', '.join(ENDINGS)}): leave it out, or set shape"
            )
        target = tables / place.with_name(f"{place.name}.parquet")
        target.parent.mkdir(parents=True, exist_ok=True)
        many = _convert(file, target, name=str(file), kind=kind_of(place))
        if kind_of(place) == "documents" and many:
            fields[many] = file
    if len(fields) > 1:
        (few, one), (more, other) = sorted(fields.items())[:2]
        raise UserError(f"{other}: has {more} fields a line, {one} has {few}: leave out what holds no documents")
