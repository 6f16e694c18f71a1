"""The kinds of table that a source may hold: one entry a suffix, and the rule of which files of a folder are read.

A leaf: it names the readers and imports none, so that fetching a source depends on no reader. Every other file of a
source is left out, and counted.
"""

import json
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath

from rerank.errors import UserError


@dataclass(frozen=True)
class Format:
    """A kind of table.

    Attributes:
        preference: of a folder or an archive stay the files of the lowest preference that it has any of: a README.txt
            beside a table is no table.
        reader: ``MODULE:FUNCTION`` that writes a parquet file from a table; None for parquet files themselves. It is
            called as ``reader(table, target, name=...)``, with ``quote=...`` where ``quote`` names a param, and may
            return a line that a person should know.
        quote: the param that says what encloses a field.
    """

    preference: int
    reader: str | None
    quote: str | None = None


FORMATS = {
    ".parquet": Format(0, None),
    ".csv": Format(0, "rerank.data.delimited:convert_csv", quote="csv_quote"),
    ".tsv": Format(0, "rerank.data.delimited:convert_tsv", quote="tsv_quote"),
    ".jsonl": Format(0, "rerank.data.records:convert_json"),
    ".json": Format(1, "rerank.data.records:convert_json"),
    ".txt": Format(2, "rerank.data.records:convert_judgments"),
}
ALIASES = {".pq": ".parquet", ".parq": ".parquet", ".ndjson": ".jsonl", ".tab": ".tsv"}
PACKED = (".gz", ".gzip")
# Beside the tables of a source that had other files too: their names.
LEFT_OUT = ".left-out.json"
# What a .txt file is called that is no table.
NOTES = ("readme", "license", "licence", "notice", "changelog")
# Names of files that a line shows.
SHOWN = 3
# Folders whose files are not all of the table: a file of its log says which are.
LOGS = {"_delta_log": "a Delta table", ".hoodie": "a Hudi table"}


def table_suffix(path: PurePath) -> str:
    """Return the suffix, as in `FORMATS`, that tells what a file holds: without .gz, capitals and other spellings."""
    name = PurePath(path.stem) if path.suffix.lower() in PACKED else path
    suffix = name.suffix.lower()
    return ALIASES.get(suffix, suffix)


def is_hidden(path: PurePath) -> bool:
    """Whether a file is none of the table's: ``_SUCCESS``, ``.part.crc``, ``__MACOSX``, as Spark has it."""
    return any(part.startswith((".", "_")) and "=" not in part for part in path.parts)


def is_parquet(path: PurePath) -> bool:
    """Whether a file of a folder is one of its table's, for what reads parquet files alone."""
    return table_suffix(path) == ".parquet" and not is_hidden(path)


def check_whole(paths: Iterable[PurePath], *, source: str) -> None:
    """Refuse a folder in which a log, not the names of the files, says what is in the table.

    Raises:
        UserError: for a table of Delta, Hudi or Iceberg.
    """
    for path in paths:
        noun = next((LOGS[part] for part in path.parts[:-1] if part in LOGS), None)
        if path.name.endswith(".metadata.json") and path.parent.name == "metadata":
            noun = "an Iceberg table"
        if noun:
            raise UserError(
                f"{source}: is {noun} ({path}), whose folder holds removed rows too: write its rows as plain parquet"
            )


def wanted(paths: Sequence[PurePosixPath], *, source: str, up_to: int = 0) -> list[PurePosixPath | None]:
    """Return under which name each file of a folder or an archive is kept, None for one that is left out.

    The name has the suffix of `FORMATS`, and a final .gz where the file may be packed.

    Args:
        up_to: tables of this preference and lower are kept too, see `rerank.data.shapes`.

    Raises:
        UserError: see `check_whole`.
    """
    check_whole(paths, source=source)
    none = [is_hidden(path) or (path.suffix.lower() == ".txt" and path.stem.lower() in NOTES) for path in paths]
    kinds = [None if left else FORMATS.get(table_suffix(path)) for path, left in zip(paths, none, strict=True)]
    highest = max(up_to, min((kind.preference for kind in kinds if kind), default=0))
    return [
        _renamed(path) if kind and kind.preference <= highest else None for path, kind in zip(paths, kinds, strict=True)
    ]


def _renamed(path: PurePosixPath) -> PurePosixPath:
    packed = path.suffix.lower() in PACKED
    stem = PurePosixPath(path.stem).stem if packed else path.stem
    return path.with_name(stem + table_suffix(path) + (".gz" if packed else ""))


def told(names: Sequence[str]) -> str:
    """Return in a few words which files are left out."""
    return f"left out {len(names):,}: {', '.join(names[:SHOWN])}{', …' if len(names) > SHOWN else ''}"


def left_out(folder: Path) -> int:
    """Return how many files of its source are not in ``folder``: what the stage pull made, or convert from it."""
    path = folder / LEFT_OUT
    return len(json.loads(path.read_text())) if path.is_file() else 0


def copy_left_out(folder: Path, target: Path) -> None:
    """Copy what ``folder`` says of the files that are not in it."""
    if (folder / LEFT_OUT).is_file():
        shutil.copyfile(folder / LEFT_OUT, target / LEFT_OUT)
