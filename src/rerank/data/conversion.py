"""Turn the tables of a source into parquet files, each by the reader of its kind: see `rerank.data.formats`.

They come from elsewhere, so nothing is guessed and nothing repaired: what can't be read as it stands is named with its
line.
"""

import os
import shutil
from pathlib import Path
from pkgutil import resolve_name

from rerank.data.formats import FORMATS
from rerank.errors import UserError


def convert(raw: Path, tables: Path, *, csv_quote: str | None) -> int:
    """Create the folder ``tables`` with a parquet file of the same stem for each table of ``raw``; return how many.

    Args:
        raw: what `rerank.data.fetch.fetch` made.
        tables: folder to create. Parquet files are linked into it, not copied, where the file system can.
        csv_quote: the character that encloses the fields of a CSV or TSV file that hold its separator; doubled, it
            stands for itself. None when nothing does.

    Raises:
        UserError: for a table that can't be read as it stands, two of one stem, none at all, or an impossible quote.
    """
    if csv_quote is not None and (len(csv_quote.encode()) != 1 or csv_quote in ",\t\r\n "):
        raise UserError(
            f"params.yaml: csv_quote is {csv_quote!r}: give one ASCII character that is no separator, or null"
        )
    tables.mkdir()
    files = sorted(path for path in raw.rglob("*") if path.is_file() and path.suffix in FORMATS)
    if not files:
        raise UserError(f"{raw}: holds no table ({', '.join(FORMATS)}): run `dvc repro` to fetch the source")
    for table in files:
        place = table.relative_to(raw)
        name = str(raw) if len(files) == 1 else f"{raw}: {place}"
        target = (tables / place).with_suffix(".parquet")
        if target.exists() or any(folder.is_file() for folder in target.parents):
            raise UserError(f"{name}: there is another table of that name: rename one")
        target.parent.mkdir(parents=True, exist_ok=True)
        kind = FORMATS[table.suffix]
        if kind.reader is None:
            _link(table, target)
        else:
            quote = {"csv_quote": csv_quote} if kind.quoted else {}
            resolve_name(kind.reader)(table, target, name=name, **quote)
    return len(files)


def _link(table: Path, target: Path) -> None:
    try:
        os.link(table.resolve(), target)  # DVC may have linked to its cache
    except OSError:  # another file system, or one without links
        shutil.copyfile(table, target)
