"""Give every user of the sample to training, validation or test, and collect what the training users liked.

The user's hash decides, so a user never moves when the table grows, and a model is always measured on people whom
it has not seen. Popularity and co-reading know nothing else than all clean positives of the training users, not only
the sampled ones, because a weak baseline would flatter the model. Where ``favourite_parts`` is set, contexts are
written as `rerank.data.contexts` tells them.
"""

from pathlib import Path

import duckdb
import pandas as pd

from rerank.command import run
from rerank.data import contexts, splitting
from rerank.data.sql import parquet
from rerank.files import replacing
from rerank.params import Contexts, SplitReaders
from rerank.params_file import declared


def main(*, sampled: Path, split: Path) -> None:
    """Write train, validation, test, interactions and popularity.parquet."""
    params = declared(SplitReaders, "split")
    connection = duckdb.connect()
    pairs, positives = (
        connection.sql(f"FROM {parquet([sampled / f'{name}.parquet'])}") for name in ("pairs", "positives")
    )
    pairs = contexts.tell(
        connection,
        pairs,
        books=lambda: pd.read_parquet(sampled / "books.parquet"),
        title_pattern=params.title_pattern,
        favourite_parts=params.favourite_parts,
    )
    with replacing(split) as partial:
        shares = params.model_dump(exclude=set(Contexts.model_fields))
        splitting.write(connection, partial, splitting.split(pairs, positives, **shares))


if __name__ == "__main__":
    run(main)
