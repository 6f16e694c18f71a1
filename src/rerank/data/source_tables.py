"""The tables of a source that are not pairs yet, and how they become pairs."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from rerank.data.origin import origin
from rerank.data.pairs import SourceColumns
from rerank.data.schema import check_columns, footer
from rerank.data.sql import parquet


@dataclass(frozen=True)
class Shaping:
    """How a source's rows become pairs.

    Attributes:
        columns: what the source calls the five columns of a pair, where it has them, and what the pairs' are called.
        positive_column, negative_column: of triples.
        positive_from: the lowest label of a positive, where an interaction has one; None: each is a positive.
        sampled_negatives: for each user this many texts that it has no row for; 0: none.
        context_favourites: how many of a user's positives its context names, where the source has no contexts.
        title_pattern: see `rerank.data.leaks.named_title`.
        seed: of the hashes by which favourites and negatives are chosen.
    """

    columns: SourceColumns
    positive_column: str
    negative_column: str
    positive_from: float | None
    sampled_negatives: int
    context_favourites: int
    title_pattern: str | None
    seed: int


@dataclass(frozen=True)
class Table:
    """A parquet file of the source: where it lies, its place in the source, its name for messages, its columns."""

    file: Path
    place: Path
    name: str
    columns: list[str]

    def check(self, wanted: Mapping[str, str]) -> None:
        """Check the columns, see `rerank.data.schema.check_columns`."""
        check_columns(pq.read_schema(self.file), wanted, source=self.name)


def relation(tables: Iterable[Table]) -> str:
    """Return the SQL table of all their rows."""
    return parquet(table.file for table in tables)


def opened(folder: Path, *, raw: Path) -> list[Table]:
    """Return the tables of a folder of parquet files, without those that have no rows where others have some.

    Raises:
        UserError: for one that can't be read.
    """
    found, filled = [], []
    for file in sorted(folder.rglob("*.parquet")):
        name = str(raw / file.relative_to(folder))
        rows, schema = footer(file, name=name)
        found.append(Table(file, file.relative_to(folder), origin(schema) or name, schema.names))
        filled += found[-1:] if rows else []
    return filled or found
