"""The kinds of table that a source may hold: one entry a suffix.

A leaf: it names the readers and imports none, so that fetching a source depends on no reader.
"""

from dataclasses import dataclass
from pathlib import PurePath


@dataclass(frozen=True)
class Format:
    """A kind of table.

    Attributes:
        preference: of a folder or an archive stay the files of the lowest preference that it has any of: a README.txt
            beside a table is no table.
        reader: ``MODULE:FUNCTION`` that writes a parquet file from a table; None for parquet files themselves. It is
            called as ``reader(table, target, name=...)``, with ``csv_quote=...`` when ``quoted``.
        quoted: whether the param ``csv_quote`` says what encloses a field.
    """

    preference: int
    reader: str | None
    quoted: bool = False


FORMATS = {
    ".parquet": Format(0, None),
    ".csv": Format(1, "rerank.data.delimited:convert_csv", quoted=True),
    ".tsv": Format(1, "rerank.data.delimited:convert_tsv", quoted=True),
    ".json": Format(2, "rerank.data.records:convert_json"),
    ".jsonl": Format(2, "rerank.data.records:convert_json_lines"),
    ".txt": Format(3, "rerank.data.records:convert_judgments"),
}


def table_suffix(path: PurePath) -> str:
    """Return the suffix that tells what a file holds, without a final .gz."""
    return PurePath(path.stem).suffix if path.suffix == ".gz" else path.suffix


def wanted(suffixes: set[str]) -> set[str]:
    """Return those of the suffixes of a folder or an archive whose files stay: the known ones of lowest preference."""
    known = suffixes & FORMATS.keys()
    first = min((FORMATS[suffix].preference for suffix in known), default=None)
    return {suffix for suffix in known if FORMATS[suffix].preference == first}
