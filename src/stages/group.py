"""Check and clean pairs of texts, and give all pairs that share a text, directly or through others, the same group.

For pairs without users, such as duplicate questions: the group takes the user's place, so that `split` puts whole
groups into training, validation or test, and no text stands in two of them. Where the source says itself which pair
belongs to which split, its validation and test pairs stay as they are and only training gives way.
"""

from pathlib import Path

import duckdb

from rerank.command import run
from rerank.data import grouping
from rerank.data.formats import left_out
from rerank.data.pairs import COLUMNS, SourceColumns, read
from rerank.data.schema import check
from rerank.files import replacing
from rerank.json_file import write_json
from rerank.params import Group
from rerank.params_file import declared
from rerank.tasks import TASKS


def main(*, tables: Path, sampled: Path, metrics: Path) -> None:
    """Write pairs.parquet, positives.parquet (which `split` counts popularity from) and counts.json."""
    params = declared(Group, "group")
    columns = SourceColumns.from_params(params)
    whole_labels = TASKS[params.task].whole_labels
    check(
        tables,
        source=str(tables),
        columns=columns,
        max_grade=params.max_grade,
        max_empty_share=params.max_empty_share,
        whole_labels=whole_labels,
    )
    connection = duckdb.connect()
    read(connection, tables, columns, whole_labels=whole_labels, split_column=params.split_column)
    split = "" if params.split_column is None else ", split"
    pairs = connection.sql(f"SELECT {', '.join(COLUMNS)}{split} FROM pairs").df()
    kept, counts = grouping.group(pairs, seed=params.seed, max_pairs=params.max_pairs)
    with replacing(sampled) as partial:
        partial.mkdir()
        kept.to_parquet(partial / "pairs.parquet", index=False)
        positives = kept[kept["label"] > 0].drop(columns=["user_ctx", "book_text", "label"])
        positives.to_parquet(partial / "positives.parquet", index=False)
        write_json(partial / "counts.json", counts)
    write_json(metrics, grouping.summary(counts, left_out=left_out(tables)))


if __name__ == "__main__":
    run(main)
