"""Make the cleaned, reproducible sample that everything after it uses, from the source's tables.

The tables are checked first: their columns, labels and empty texts. Contradictory, leaked, empty and duplicate pairs
go, then users with too few positives; of the users that stay, the pairs with the lowest hashes are kept. Which pairs
stay depends on the seed, the ids and the user's own rows alone, so the same table in another order, in other files, or
with more users gives the same pairs. The pairs of cold books, chosen by hash, never reach training, as if nobody had
read them; each validation and test user has a second list of them alone. counts.json says what goes, and why;
leaked.csv shows some of what leaked.
"""

import tempfile
from pathlib import Path

import duckdb

from rerank.command import run
from rerank.data import counting, sampling
from rerank.data.formats import left_out
from rerank.data.pairs import SourceColumns, read
from rerank.data.schema import check
from rerank.files import replacing
from rerank.json_file import write_json
from rerank.params import Columns, Sample
from rerank.params_file import declared

MEMORY_LIMIT = "1GB"


def main(*, tables: Path, sampled: Path, metrics: Path) -> None:
    """Write pairs, positives (all clean ones of the users that stay) and books.parquet, counts.json and leaked.csv."""
    params = declared(Sample, "sample")
    sampling.check_task(params.task)
    columns = SourceColumns.from_params(params)
    check(
        tables,
        source=str(tables),
        columns=columns,
        max_grade=params.max_grade,
        max_empty_share=params.max_empty_share,
    )
    with replacing(sampled) as partial, tempfile.TemporaryDirectory(prefix=".spill-", dir=partial.parent) as spill:
        connection = duckdb.connect(config={"memory_limit": MEMORY_LIMIT, "temp_directory": spill})
        connection.execute("SET preserve_insertion_order = false")
        read(connection, tables, columns, text_ids=False)
        counts = sampling.sample(connection, **params.model_dump(exclude=set(Columns.model_fields)))
        sampling.write(connection, partial, counts, seed=params.seed)
    if words := counting.warning(counts):
        print(words)
    write_json(metrics, counting.summary(counts, left_out=left_out(tables)))


if __name__ == "__main__":
    run(main)
