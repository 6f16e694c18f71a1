"""Fetch the pairs from a path, an archive, the web or a bucket, and check their schema.

Makes a folder of parquet files from `source`; other tables become parquet files. It is the only stage that knows
where pairs come from and the first to see them, so everything after it can rely on the schema and never needs a
network.
"""

import sys
from pathlib import Path

from rerank.data import pairs
from rerank.data.fetch import fetch
from rerank.data.tables import convert
from rerank.errors import run
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
    csv_quote: str | None,
    whole_labels: bool,
) -> int:
    """Create the folder ``target`` with the checked parquet files of ``source`` and return the number of rows.

    Raises:
        UserError: see `rerank.data.fetch.fetch`, `rerank.data.tables.convert` and `rerank.data.pairs.check`;
            ``target`` may then be half-written.
    """
    fetch(source, target, max_bytes=max_bytes)
    convert(target, source=source, csv_quote=csv_quote)
    return pairs.check(
        target,
        source=source,
        columns=columns,
        max_grade=max_grade,
        max_empty_share=max_empty_share,
        whole_labels=whole_labels,
    )


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
            csv_quote=params["csv_quote"],
            whole_labels=params["whole_labels"],
        )
    print(f"{rows:,} pairs from {source}")


if __name__ == "__main__":
    run(main, sys.argv[1], Path(sys.argv[2]))
