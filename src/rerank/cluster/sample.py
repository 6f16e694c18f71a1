"""Make the sample of a table that outgrows one machine: the same rows and counts as the stage sample, on Ray Data.

    python -m rerank.cluster.sample --source s3://bucket/pairs --sampled data/sampled --metrics metrics/data.json

In place of the stages pull, convert and sample, with the same params and checks, in four passes over the source. The
first one checks the rows. In the second each block gives its keys without texts; those of one user come together in one
bucket, where they are merged and the user's pairs are chosen by the same SQL as on one machine. The third reads the
texts of the pairs that stay, and of the leaked ones that are shown; the fourth the text
of each book. This machine keeps one row for each user, each book with its text, each clean positive and each chosen
pair, on disk.
"""

import tempfile
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import ray

from rerank.cluster.connection import cluster, connect, fetch, find, on_blocks, query
from rerank.command import run
from rerank.data import counting, examples, hashing, keys, sampling
from rerank.data.pairs import COLUMNS, SourceColumns, select
from rerank.data.schema import LOWEST, check_counts, check_query
from rerank.data.sql import is_filled
from rerank.errors import UserError
from rerank.files import replacing
from rerank.json_file import write_json
from rerank.params import Columns, Sample
from rerank.params_file import FILE, declared, read

ROWS_PER_BUCKET = 1_000_000
MEMORY_LIMIT = "4GB"
# A number that belongs to a whole block stands in its first row, so that it can be added up like the others.
IN_FIRST_ROW = "CASE WHEN row_number() OVER () = 1 THEN ({number}) ELSE 0 END::BIGINT AS rows_without_title"


def _pairs_of(block: pa.Table, columns: SourceColumns) -> duckdb.DuckDBPyConnection:
    connection = connect({"source": block})
    connection.execute(f"CREATE TEMP VIEW pairs AS SELECT {select(columns)} FROM source")
    return connection


def check(
    pairs: ray.data.Dataset, *, source: str, columns: SourceColumns, max_grade: int, max_empty_share: float
) -> None:
    """Check the rows as `rerank.data.schema.check` does, whose errors it raises."""
    sql = check_query(columns, max_grade=max_grade)
    blocks = on_blocks(pairs, query, name="source", sql=sql).to_pandas()
    counts: dict[str, Any] = {"rows": 0}  # where no block has a row, none was counted
    if len(blocks):
        sums = blocks.drop(columns=list(LOWEST)).sum().to_dict()
        counts = {**sums, **{name: blocks[name].dropna().min() for name in LOWEST}}
    check_counts(counts, source=source, columns=columns, max_grade=max_grade, max_empty_share=max_empty_share)


def collect_keys(block: pa.Table, *, columns: SourceColumns, title_pattern: str | None, buckets: int) -> pa.Table:
    """Return the `keys.KEY_PARTS` of a block of the source, each with the bucket of its user."""
    connection = _pairs_of(block, columns)
    keys.collect_keys(connection, title_pattern=title_pattern)
    bucket = f"(md5_number_upper('bucket|' || user_id) % {buckets})::INTEGER AS bucket"
    without_title = IN_FIRST_ROW.format(number="SELECT row_count FROM without_title")
    return connection.sql(f"SELECT *, {bucket}, {without_title} FROM ({keys.KEY_PARTS})").to_arrow_table()


def choose_in_bucket(
    parts: pa.Table,
    *,
    seed: int,
    max_users: int | None,
    min_positives: int,
    split_name: str,
    lists: dict[str, int],
    cold: str,
) -> pa.Table:
    """Return the merged keys of whole users, with the reason why each goes and whether it is chosen."""
    connection = connect({"parts": parts})
    keys.merge_keys(connection)
    sampling.count_users(connection, cold=cold)
    sampling.choose_users(connection, seed=seed, max_users=max_users, min_positives=min_positives)
    sampling.choose_pairs(connection, seed=seed, split_name=split_name, lists=lists, cold=cold)
    without_title = IN_FIRST_ROW.format(number="SELECT sum(rows_without_title) FROM parts")
    return connection.sql(
        f"SELECT user_id, book_id, keys.label, row_count, reason, chosen.label IS NOT NULL AS chosen, {without_title} "
        "FROM keys JOIN users USING (user_number) JOIN books USING (book_number) "
        "LEFT JOIN chosen USING (user_id, book_id)"
    ).to_arrow_table()


def read_texts(block: pa.Table, *, columns: SourceColumns, wanted: ray.ObjectRef) -> pa.Table:
    """Return the rows of a block that belong to the wanted pairs, each once."""
    connection = _pairs_of(block, columns)
    connection.register("wanted", ray.get(wanted))
    rows = f"SELECT DISTINCT {', '.join(COLUMNS)} FROM pairs SEMI JOIN wanted USING (user_id, book_id)"
    return connection.sql(rows).to_arrow_table()


def texts_of_books(block: pa.Table, *, columns: SourceColumns) -> pa.Table:
    """Return book_id and book_text of a block, the lowest text of each book that is filled."""
    connection = _pairs_of(block, columns)
    return connection.sql(
        f"SELECT book_id::VARCHAR AS book_id, min(book_text) AS book_text FROM pairs WHERE {is_filled('book_text')} "
        "GROUP BY book_id"
    ).to_arrow_table()


def sample_on_ray(
    connection: duckdb.DuckDBPyConnection,
    pairs: ray.data.Dataset,
    spill: Path,
    *,
    columns: SourceColumns,
    seed: int,
    max_users: int | None,
    min_positives: int,
    positives_per_user: int,
    negatives_per_positive: int,
    eval_positives: int,
    eval_negatives: int,
    validation_share: float,
    test_share: float,
    cold_books_share: float,
    title_pattern: str | None,
    rows_per_bucket: int = ROWS_PER_BUCKET,
) -> dict[str, Any]:
    """Make the tables ``sampled``, ``catalogue``, ``leaked`` and ``positives`` here and return the counts.

    See `sampling.sample`.

    Args:
        connection: of this machine.
        pairs: the source, with its own columns.
        spill: folder for what comes from the cluster.
        columns: the names that the source uses.
        rows_per_bucket: of the source; changes memory and speed, not the result.

    Raises:
        UserError: when no user is left, or ``title_pattern`` is not an RE2 regular expression.
    """
    keys.check_title_pattern(title_pattern)
    lists = {
        "positives_per_user": positives_per_user,
        "negatives_per_positive": negatives_per_positive,
        "eval_positives": eval_positives,
        "eval_negatives": eval_negatives,
    }
    users: dict[str, Any] = {"seed": seed, "max_users": max_users, "min_positives": min_positives}
    split_name = hashing.split_name(seed, validation_share=validation_share, test_share=test_share)
    cold = hashing.is_cold(seed, cold_books_share=cold_books_share)
    buckets = pairs.count() // rows_per_bucket + 1
    parts = on_blocks(pairs, collect_keys, columns=columns, title_pattern=title_pattern, buckets=buckets)
    merged = (
        parts.groupby("bucket", num_partitions=buckets)
        .map_groups(
            choose_in_bucket,
            batch_format="pyarrow",
            fn_kwargs={**users, "split_name": split_name, "lists": lists, "cold": cold},
        )
        .materialize()
    )

    for name, sql in {
        "counted": f"SELECT user_id, {sampling.clean_pairs(cold)} FROM keys GROUP BY user_id",
        "met": "SELECT DISTINCT book_id FROM keys",
        "key_counts": keys.KEY_COUNTS,
        "without_title": "SELECT coalesce(sum(rows_without_title), 0)::BIGINT AS row_count FROM keys",
        "candidates": "SELECT user_id, book_id, label FROM keys WHERE chosen",
        "clean_positives": "SELECT user_id, book_id FROM keys WHERE reason IS NULL AND label > 0",
        "first_of_blocks": examples.first_leaked("keys", seed=seed),
    }.items():
        of_blocks = on_blocks(merged, query, name="keys", sql=sql)
        connection.register(name, fetch(of_blocks, spill / f"{name}.parquet"))
    first_leaked = examples.first_leaked("first_of_blocks", seed=seed)
    connection.execute(f"CREATE TEMP TABLE first_leaked AS {first_leaked}")
    keys.number_ids(connection, "user", "SELECT DISTINCT user_id FROM counted")
    connection.execute("CREATE TEMP VIEW books AS SELECT DISTINCT book_id FROM met")
    connection.execute(
        "CREATE TEMP TABLE user_counts AS SELECT user_number, sum(pairs)::BIGINT AS pairs, "
        "sum(positives)::BIGINT AS positives, sum(negatives)::BIGINT AS negatives "
        "FROM counted JOIN users USING (user_id) GROUP BY user_number"
    )
    sampling.choose_users(connection, **users)
    for name, source in (("chosen", "candidates"), ("positives", "clean_positives")):
        connection.execute(
            f"CREATE TEMP TABLE {name} AS FROM {source} "
            "SEMI JOIN (SELECT user_id FROM readers WHERE reason IS NULL) USING (user_id)"
        )
    both = "SELECT user_id, book_id FROM chosen UNION ALL SELECT user_id, book_id FROM first_leaked"
    wanted = ray.put(connection.sql(both).to_arrow_table())
    rows = on_blocks(pairs, read_texts, columns=columns, wanted=wanted)
    connection.register("pairs", fetch(rows, spill / "pairs.parquet"))
    sampling.read_texts(connection)
    texts = on_blocks(pairs, texts_of_books, columns=columns)
    connection.register("texts_of_books", fetch(texts, spill / "texts_of_books.parquet"))
    sampling.make_catalogue(connection, "texts_of_books", cold=cold)
    examples.read(connection, sampling.LEAKED_ROWS, title_pattern=title_pattern)
    counts = counting.count(connection, split_name=split_name)
    counting.check_users(counts, min_positives=min_positives)
    return counts


def main(*, source: str, sampled: Path, metrics: Path) -> None:
    """Write what the stage sample writes."""
    params = declared(Sample, "sample")
    if (shape := read(Path(FILE)).get("shape", "pairs")) != "pairs":
        raise UserError(
            f"params.yaml: shape is {shape!r}: on a cluster a row is a pair: let the stage convert make them"
        )
    sampling.check_task(params.task)
    columns = SourceColumns.from_params(params)
    files = find(source)
    with (
        cluster(),
        replacing(sampled) as partial,
        tempfile.TemporaryDirectory(prefix=".spill-", dir=partial.parent) as spill,
    ):
        connection = duckdb.connect(config={"memory_limit": MEMORY_LIMIT, "temp_directory": spill})
        connection.execute("SET preserve_insertion_order = false")
        pairs = files.check(columns.by_key()).read()
        check(
            pairs,
            source=source,
            columns=columns,
            max_grade=params.max_grade,
            max_empty_share=params.max_empty_share,
        )
        core = params.model_dump(exclude=set(Columns.model_fields))
        counts = sample_on_ray(connection, pairs, Path(spill), columns=columns, **core)
        sampling.write(connection, partial, counts, seed=params.seed, positives="FROM positives")
    if words := counting.warning(counts):
        print(words)
    write_json(metrics, counting.summary(counts, left_out=files.left_out))


if __name__ == "__main__":
    run(main)
