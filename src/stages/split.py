"""Give every user of the sample to training, validation or test, and count each book's positives in training alone.

The user's hash decides, so a user never moves when the table grows, and a model is always measured on people whom
it has not seen. The popularity counts are a baseline's whole knowledge: they come from all clean positives of the
training users, not only from the sampled ones, because a weak baseline would flatter the model.
"""

import sys
from pathlib import Path

import duckdb

from rerank.data.splitting import split, write
from rerank.errors import run
from rerank.files import replacing
from rerank.params import declared


def main(sampled: Path, target: Path) -> None:
    """Write train, validation, test and popularity.parquet to ``target``."""
    params = declared("split")
    connection = duckdb.connect()
    pairs, positives = (connection.read_parquet(str(sampled / f"{name}.parquet")) for name in ("pairs", "positives"))
    with replacing(target) as partial:
        write(connection, partial, split(pairs, positives, **params))


if __name__ == "__main__":
    run(main, *map(Path, sys.argv[1:]))
