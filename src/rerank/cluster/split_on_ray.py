"""Split a sample that outgrows one machine: the same files as the stage split, from blocks on Ray Data.

    python -m rerank.cluster.split_on_ray s3://bucket/sampled data/split

The sample is a folder with pairs.parquet and positives.parquet, each a file or a folder of them. This machine sorts the
pairs, on disk, and adds up what the blocks know of each book's popularity.
"""

import sys
import tempfile
from pathlib import Path

import duckdb

from rerank.cluster import on_ray
from rerank.data import hashing
from rerank.data.pairs import COLUMNS
from rerank.data.splitting import split, write
from rerank.errors import run
from rerank.files import replacing
from rerank.params import declared

MEMORY_LIMIT = "4GB"


def split_on_ray(
    connection: duckdb.DuckDBPyConnection,
    sampled: str,
    spill: Path,
    *,
    seed: int,
    validation_share: float,
    test_share: float,
) -> dict[str, duckdb.DuckDBPyRelation]:
    """Return what `rerank.data.splitting.split` returns.

    Args:
        connection: of this machine.
        sampled: path or address of the sample.
        spill: folder for what comes from the cluster.
    """
    name = hashing.split_name(seed, validation_share=validation_share, test_share=test_share)
    queries = {
        "pairs": f"SELECT {', '.join(COLUMNS)}, {name} AS split FROM block",
        "positives": f"SELECT book_id, count(*) AS positives FROM block WHERE {name} = 'train' GROUP BY book_id",
    }
    pairs, positives = (
        connection.sql(
            "FROM "
            + on_ray.fetch(
                on_ray.on_blocks(on_ray.find(f"{sampled}/{table}.parquet").read(), on_ray.query, name="block", sql=sql),
                spill / f"{table}.parquet",
            )
        )
        for table, sql in queries.items()
    )
    parts = split(pairs, pairs, seed=seed, validation_share=validation_share, test_share=test_share)
    popularity = positives.aggregate("book_id, sum(positives)::BIGINT AS positives", "book_id").order("book_id")
    return {**parts, "popularity": popularity}


def main(sampled: str, target: Path) -> None:
    """Write what the stage split writes."""
    params = declared("split")
    with (
        on_ray.cluster(),
        replacing(target) as partial,
        tempfile.TemporaryDirectory(prefix=".spill-", dir=partial.parent) as spill,
    ):
        connection = duckdb.connect(config={"memory_limit": MEMORY_LIMIT, "temp_directory": spill})
        write(connection, partial, split_on_ray(connection, sampled, Path(spill), **params))


if __name__ == "__main__":
    run(main, sys.argv[1], Path(sys.argv[2]))
