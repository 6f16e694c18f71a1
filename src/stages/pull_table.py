"""Fetch a table that holds no pairs, such as judgments or documents, from a path, an archive, the web or a bucket.

Makes a folder of parquet files, as `pull` does, and leaves the check of its columns to the stage that reads them.
"""

import sys
from pathlib import Path

from rerank.data.fetch import fetch
from rerank.data.pairs import parquet_files
from rerank.data.tables import convert
from rerank.errors import run
from rerank.files import replacing
from rerank.params import declared


def main(source: str, target: Path) -> None:
    params = declared("pull_table")
    with replacing(target) as partial:
        fetch(source, partial, max_bytes=int(params["max_source_gb"] * 1e9))
        convert(partial, source=source, csv_quote=params["csv_quote"])
        count = len(parquet_files(partial))
    print(f"{count:,} table{'s' if count > 1 else ''} from {source}")


if __name__ == "__main__":
    run(main, sys.argv[1], Path(sys.argv[2]))
