"""The tables of a source that are not pairs yet, and how they become pairs."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow.parquet as pq

from rerank.data.origin import origin
from rerank.data.pairs import SourceColumns
from rerank.data.schema import check_columns, footer
from rerank.data.sql import parquet
from rerank.errors import UserError

CHARACTERS = 40


@dataclass(frozen=True)
class Shaping:
    """How a source's rows become pairs.

    Attributes:
        columns: what the source calls the five columns of a pair, where it has them, and what the pairs' are called.
        positive_column, negative_column: of triples.
        positive_from: the lowest label of a positive, where an interaction has one; None: each is a positive.
        sampled_negatives: for each user this many texts that it has no row for; 0: none.
        context_favourites: how many of a user's positives its context names, where the source has no contexts.
        max_empty_share: the largest share of interactions, 0 to 1, whose book may have no text.
        title_pattern: see `rerank.data.leaks.named_title`.
        seed: of the hashes by which favourites and negatives are chosen.
    """

    columns: SourceColumns
    positive_column: str
    negative_column: str
    positive_from: float | None
    sampled_negatives: int
    context_favourites: int
    max_empty_share: float
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
    """Return the tables of a folder of parquet files, without the parts without rows.

    Raises:
        UserError: for one that can't be read, or has no rows and is no part of another: with its columns.
    """
    found, filled = [], []
    for file in sorted(folder.rglob("*.parquet")):
        name = str(raw / file.relative_to(folder))
        rows, schema = footer(file, name=name)
        found.append(Table(file, file.relative_to(folder), origin(schema) or name, schema.names))
        filled += found[-1:] if rows else []
    for table in found:
        if table not in filled and all(table.columns != other.columns for other in filled):
            raise UserError(f"{table.name}: has no rows: fill it, or leave it out")
    return filled


def check_one_text(connection: duckdb.DuckDBPyConnection, rows: str, *, noun: str) -> None:
    """Check that each id has one text, for whoever mixes two collections.

    Args:
        rows: a query for ``id`` and ``text``.
        noun: what the ids are of, for the message.

    Raises:
        UserError: naming the first id with two.
    """
    several = f"SELECT id, min(text), max(text) FROM ({rows}) GROUP BY id HAVING min(text) <> max(text) ORDER BY id"
    if found := connection.execute(f"{several} LIMIT 1").fetchone():
        one, other = (str(text)[:CHARACTERS] for text in found[1:])
        raise UserError(
            f"{noun} {found[0]!r} has two texts, {one!r} and {other!r}: keep one, or one collection a folder"
        )
