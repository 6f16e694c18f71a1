"""Turn the files of a TREC collection, whose first line is a row already, into parquet files with BEIR's columns.

Which file holds what says its name: judgments have "qrel" in it, queries "quer" or "topic", and all others are
documents. Fields are separated by tabs, those of judgments by any blanks; nothing encloses a field.
"""

from collections.abc import Collection, Iterator
from itertools import chain
from pathlib import Path

from rerank.data.delimited import write_texts
from rerank.data.encoding import check_start, not_utf8
from rerank.data.formats import is_hidden
from rerank.errors import UserError

CHARACTERS = 60
ENDINGS = (".tsv", ".txt")
# kind → fields of a line → their columns, None for one that is not read. Of documents: MS MARCO's passages, what has a
# title, and MS MARCO's documents, whose second field is an address.
LAYOUTS: dict[str, dict[int, tuple[str | None, ...]]] = {
    "qrels": {3: ("query-id", "corpus-id", "score"), 4: ("query-id", None, "corpus-id", "score")},
    "queries": {2: ("_id", "text")},
    "documents": {2: ("_id", "text"), 3: ("_id", "title", "text"), 4: ("_id", None, "title", "text")},
}
FORMS = {"qrels": "QUERY 0 DOCUMENT GRADE", "queries": "ID, tab, QUERY", "documents": "ID, tab, TEXT"}
# What a file's name holds, or what its folder is called.
SIGNS = {"qrel": "qrels", "quer": "queries", "topic": "queries"}
FOLDERS = {"qrels": "qrels", "query": "queries", "queries": "queries", "topics": "queries"}


def kind_of(place: Path) -> str:
    """Return what a file holds by its name, or else that of its folder: qrels, queries or documents."""
    by_name = next((kind for sign, kind in SIGNS.items() if sign in place.name.lower()), None)
    return by_name or FOLDERS.get(place.parent.name.lower(), "documents")


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


def _rows(file: Path, *, name: str, kind: str) -> Iterator[list[str]]:
    """Yield the fields of each line, as many in each as in the first."""
    known: Collection[int] = LAYOUTS[kind]
    for number, line in _lines(file, name=name):
        values = line.split() if kind == "qrels" else line.split("\t")
        if len(values) not in known:
            raise UserError(
                f"{name}: line {number:,} has {len(values)} fields ({line[:CHARACTERS]!r}): write {FORMS[kind]}, or "
                "name the file after what it holds (qrels, queries)"
            )
        known = (len(values),)
        yield values


def _convert(file: Path, target: Path, *, name: str, kind: str) -> int:
    """Convert a file of a kind; return how many fields a line has, 0 without a line."""
    rows = _rows(file, name=name, kind=kind)
    first = next(rows, None)
    if first is None:
        return 0
    layout = LAYOUTS[kind][len(first)]
    named = ([value for column, value in zip(layout, row, strict=True) if column] for row in chain([first], rows))
    write_texts(named, target, columns=[column for column in layout if column], name=name)
    return len(layout)


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
        kind = kind_of(place)
        if (many := _convert(file, target, name=str(file), kind=kind)) and kind == "documents":
            fields[many] = file
    if len(fields) > 1:
        (few, one), (more, other) = sorted(fields.items())[:2]
        raise UserError(f"{other}: has {more} fields a line, {one} has {few}: leave out what holds no documents")
