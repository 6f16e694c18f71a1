"""The tables of a source that are not pairs yet, and how they become pairs."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Self

import duckdb
import pyarrow as pa

from rerank.data.origin import origin
from rerank.data.pairs import SourceColumns
from rerank.data.schema import check_columns, footer
from rerank.data.sql import one_row, parquet
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

    @classmethod
    def from_params(cls, params: object) -> Self:
        """Take all from a stage's params of the same names."""
        others = {field.name: getattr(params, field.name) for field in fields(cls) if field.name != "columns"}
        return cls(columns=SourceColumns.from_params(params), **others)


@dataclass(frozen=True)
class Table:
    """A parquet file of the source: where it lies, its place in the source, its name for messages, its schema."""

    file: Path
    place: Path
    name: str
    schema: pa.Schema

    @property
    def columns(self) -> list[str]:
        """The names of its columns."""
        return list(self.schema.names)

    def check(self, wanted: Mapping[str, str]) -> None:
        """Check the columns, see `rerank.data.schema.check_columns`."""
        check_columns(self.schema, wanted, source=self.name)


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
        found.append(Table(file, file.relative_to(folder), origin(schema) or name, schema))
        filled += found[-1:] if rows else []
    for table in found:
        if table not in filled and all(table.columns != other.columns for other in filled):
            raise UserError(f"{table.name}: has no rows: fill it, or leave it out")
    return filled


def collect_texts(connection: duckdb.DuckDBPyConnection, name: str, rows: str) -> int:
    """Make the table ``name`` (id, text, and other where there is one), each id once; return how many have an other.

    Args:
        rows: a query for ``id`` and ``text``. Of several texts of an id the lowest is taken; other is the highest.
    """
    connection.execute(f"""
        CREATE TEMP TABLE {name} AS
        SELECT id, min(text) AS text, nullif(max(text), min(text)) AS other FROM ({rows}) GROUP BY id""")
    return int(one_row(connection, f"SELECT count(other) AS several FROM {name}")["several"])


def collect_one_text(connection: duckdb.DuckDBPyConnection, name: str, rows: str, *, noun: str) -> None:
    """Do as `collect_texts`, and refuse several texts of an id, for whoever mixes two collections.

    Args:
        noun: what the ids are of, for the message.

    Raises:
        UserError: naming the first id with two.
    """
    if not collect_texts(connection, name, rows):
        return
    first = connection.execute(f"SELECT * FROM {name} WHERE other IS NOT NULL ORDER BY id LIMIT 1").fetchall()[0]
    one, other = (text[:CHARACTERS] for text in first[1:])
    raise UserError(f"{noun} {first[0]!r} has two texts, {one!r} and {other!r}: keep one, or one collection a folder")
