"""Give every user of the sample to training, validation or test, and collect what the training users liked.

The user's hash decides, so a user never moves when the table grows, and a model is always measured on people whom
it has not seen. Popularity and co-reading know nothing else than all clean positives of the training users, not only
the sampled ones, because a weak baseline would flatter the model.
"""

from pathlib import Path

import duckdb

from rerank.command import run
from rerank.data import splitting
from rerank.files import replacing
from rerank.params import Split
from rerank.params_file import declared


def main(*, sampled: Path, split: Path) -> None:
    """Write train, validation, test, interactions and popularity.parquet."""
    params = declared(Split, "split")
    connection = duckdb.connect()
    pairs, positives = (connection.read_parquet(str(sampled / f"{name}.parquet")) for name in ("pairs", "positives"))
    with replacing(split) as partial:
        splitting.write(connection, partial, splitting.split(pairs, positives, **params.model_dump()))


if __name__ == "__main__":
    run(main)
