"""Fetch the pairs from a path, an archive, the web or a bucket, and check their schema.

Makes a folder of parquet files, as they came, from `source`. It is the only stage that knows where pairs come from
and the first to see them, so everything after it can rely on the schema and never needs a network.
"""

import sys
from pathlib import Path

from rerank import pairs
from rerank.errors import run
from rerank.fetch import fetch
from rerank.files import replacing
from rerank.params import declared


def pull(
    source: str,
    target: Path,
    *,
    columns: pairs.SourceColumns,
    max_grade: int,
    max_empty_share: float,
    max_bytes: int,
) -> int:
    """Create the folder ``target`` with the checked parquet files of ``source`` and return the number of rows.

    Raises:
        UserError: see `rerank.fetch.fetch` and `rerank.pairs.check`; ``target`` may then be half-written.
    """
    fetch(source, target, max_bytes=max_bytes)
    return pairs.check(target, source=source, columns=columns, max_grade=max_grade, max_empty_share=max_empty_share)


def main(source: str, raw: Path) -> None:
    params = declared("pull")
    with replacing(raw) as partial:
        rows = pull(
            source,
            partial,
            columns=pairs.SourceColumns.from_params(params),
            max_grade=params["max_grade"],
            max_empty_share=params["max_empty_share"],
            max_bytes=int(params["max_source_gb"] * 1e9),
        )
    print(f"{rows:,} pairs from {source}")


if __name__ == "__main__":
    run(main, sys.argv[1], Path(sys.argv[2]))
