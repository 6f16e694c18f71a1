"""The splits of a sample: which rows are in which, in which order, and what must hold of them."""

from collections.abc import Mapping
from pathlib import Path

import duckdb

from rerank.data import hashing
from rerank.data.pairs import COLUMNS
from rerank.data.sql import parquet
from rerank.errors import UserError

SPLITS = ("train", "validation", "test")


def split(
    pairs: duckdb.DuckDBPyRelation,
    positives: duckdb.DuckDBPyRelation,
    *,
    seed: int,
    validation_share: float,
    test_share: float,
) -> dict[str, duckdb.DuckDBPyRelation]:
    """Return the `SPLITS` of ``pairs``, sorted by user, list and pair hash, and what training readers liked.

    ``interactions`` (user_id, book_id) are the positives of the training users, ``popularity`` (book_id, positives)
    counts them.

    Args:
        pairs: relation with `COLUMNS`, and ``cold`` where it has two lists a user; a further column ``split`` decides
            instead of the user's hash.
        positives: relation (user_id, book_id); with ``split`` where ``pairs`` has it.
    """
    name = hashing.split_name(seed, validation_share=validation_share, test_share=test_share)
    lists = ["cold"] if "cold" in pairs.columns else []
    columns = ", ".join([*COLUMNS, *lists])
    order = ", ".join(["user_id", *lists, hashing.pair_order(seed)])
    chosen = "split" if "split" in pairs.columns else name
    parts = {split: pairs.filter(f"{chosen} = '{split}'").project(columns).order(order) for split in SPLITS}
    interactions = positives.filter(f"{chosen} = 'train'").project("user_id, book_id").order("user_id, book_id")
    counts = interactions.aggregate("book_id, count(*) AS positives", "book_id")
    return {**parts, "interactions": interactions, "popularity": counts.order("book_id")}


def check(connection: duckdb.DuckDBPyConnection, folder: Path) -> None:
    """Check the written splits of a folder.

    Raises:
        UserError: when a split has no pairs, no positives or, with whole labels, no negatives.
        AssertionError: when a user is in two splits.
    """
    seen: dict[str, str] = {}
    for split in SPLITS:
        written = connection.sql(f"FROM {parquet([folder / f'{split}.parquet'])}")
        by_user = written.aggregate(
            "user_id, count(*) FILTER (label > 0) AS positives, count(*) FILTER (label = 0) AS negatives", "user_id"
        ).fetchall()
        counts = {
            "pairs": sum(positives + negatives for _, positives, negatives in by_user),
            "positives": sum(positives for _, positives, _ in by_user),
            "negatives": sum(negatives for _, _, negatives in by_user),
        }
        if written.select("label").types[0] == "DOUBLE":
            del counts["negatives"]  # a similarity of 0 is nothing special
        for noun, count in counts.items():
            if count == 0:
                more = "lower validation_share or test_share" if split == "train" else f"raise {split}_share"
                raise UserError(
                    f"split: {split} has no {noun} ({len(by_user):,} users): raise max_users in params.yaml, or {more}"
                )
        for user, _, _ in by_user:
            assert user not in seen, f"user {user!r} is in {seen[user]} and in {split}"
            seen[user] = split


def write(connection: duckdb.DuckDBPyConnection, folder: Path, parts: Mapping[str, duckdb.DuckDBPyRelation]) -> None:
    """Write every relation of `split` as a parquet file of its name, and `check` them."""
    folder.mkdir()
    for name, part in parts.items():
        part.write_parquet(str(folder / f"{name}.parquet"), compression="zstd")
    check(connection, folder)
