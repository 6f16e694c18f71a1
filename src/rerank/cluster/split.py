"""Split a sample that outgrows one machine: the same files as the stage split, from blocks on Ray Data.

    python -m rerank.cluster.split --sampled s3://bucket/sampled --split data/split

The sample is a folder with pairs.parquet and positives.parquet, each a file or a folder of them. This machine sorts the
pairs and the training users' positives, on disk.
"""

import tempfile
from pathlib import Path

import duckdb
import pandas as pd

from rerank.cluster.connection import cluster, fetch, find, on_blocks, query
from rerank.command import run
from rerank.data import contexts, hashing, splitting
from rerank.data.pairs import COLUMNS
from rerank.files import replacing
from rerank.params import SplitReaders
from rerank.params_file import declared

MEMORY_LIMIT = "4GB"


def split_on_ray(
    connection: duckdb.DuckDBPyConnection,
    sampled: str,
    spill: Path,
    *,
    seed: int,
    validation_share: float,
    test_share: float,
    title_pattern: str | None = None,
    favourite_parts: str | None = None,
) -> dict[str, duckdb.DuckDBPyRelation]:
    """Return what `rerank.data.splitting.split` returns.

    Args:
        connection: of this machine.
        sampled: path or address of the sample.
        spill: folder for what comes from the cluster.
        title_pattern, favourite_parts: see `rerank.data.contexts`.
    """
    name = hashing.split_name(seed, validation_share=validation_share, test_share=test_share)
    queries = {
        "pairs": f"SELECT {', '.join(COLUMNS)}, cold, {name} AS split FROM block",
        "positives": f"SELECT user_id, book_id, 'train' AS split FROM block WHERE {name} = 'train'",
    }
    pairs, positives = (
        connection.from_arrow(
            fetch(
                on_blocks(find(f"{sampled}/{table}.parquet").read(), query, name="block", sql=sql),
                spill / f"{table}.parquet",
            )
        )
        for table, sql in queries.items()
    )

    def books() -> pd.DataFrame:
        return fetch(find(f"{sampled}/books.parquet").read(), spill / "books.parquet").to_table().to_pandas()

    pairs = contexts.tell(connection, pairs, books=books, title_pattern=title_pattern, favourite_parts=favourite_parts)
    return splitting.split(pairs, positives, seed=seed, validation_share=validation_share, test_share=test_share)


def main(*, sampled: str, split: Path) -> None:
    """Write what the stage split writes."""
    params = declared(SplitReaders, "split")
    with (
        cluster(),
        replacing(split) as partial,
        tempfile.TemporaryDirectory(prefix=".spill-", dir=partial.parent) as spill,
    ):
        connection = duckdb.connect(config={"memory_limit": MEMORY_LIMIT, "temp_directory": spill})
        parts = split_on_ray(connection, sampled, Path(spill), **params.model_dump())
        splitting.write(connection, partial, parts)


if __name__ == "__main__":
    run(main)
