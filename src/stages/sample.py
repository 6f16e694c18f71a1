"""Make the cleaned, reproducible sample that everything after it uses, from the raw pairs.

Contradictory, leaked, empty and duplicate pairs go first, then users with too few positives; of the users that
stay, the pairs with the lowest hashes are kept: a few positives and distinct negatives for training users, a longer
candidate list for validation and test users. Which pairs stay depends on the seed, the ids and the user's own rows
alone, so the same table in another order, in other files, or with more users gives the same pairs. The counts say what
goes, and why. The SQL is in rerank.data.sampling, which rerank.cluster.sample_on_ray runs on blocks of a table.
"""

import sys
import tempfile
from pathlib import Path
from typing import Any

import duckdb

from rerank.data import hashing, sampling
from rerank.data.pairs import read
from rerank.errors import run
from rerank.files import replacing, write_json
from rerank.model.lengths import load_tokenizer, share_longer
from rerank.params import declared

MEMORY_LIMIT = "1GB"


def sample(
    connection: duckdb.DuckDBPyConnection,
    *,
    seed: int,
    max_users: int | None,
    min_positives: int,
    positives_per_user: int,
    negatives_per_positive: int,
    eval_positives: int,
    eval_negatives: int,
    validation_share: float,
    test_share: float,
    title_pattern: str,
) -> dict[str, Any]:
    """Make the temporary table ``sampled`` with `COLUMNS`, unsorted, from the view ``pairs``, and return the counts.

    The reasons in ``dropped`` are tried in this order, and every row counts once: contradictions (all rows of a pair
    with different labels), leaked (all rows of a pair, when one names the book in the context), empty_texts (all rows
    of a pair without one row that has both texts), duplicates (further rows of a pair that stays), then the rows of
    users with fewer than ``min_positives`` clean positives, of users without a negative, of users beyond
    ``max_users``, and beyond_the_lists (what stays was longer than the lists). ``positives_per_user`` counts the clean
    positives of the users that stay, before the lists cut them.

    Raises:
        UserError: when no user is left, or ``title_pattern`` is not an RE2 regular expression.
    """
    sampling.check_title_pattern(title_pattern)
    texts_at_hand = sampling.collect_keys(connection, title_pattern=title_pattern)
    sampling.count_users(connection)
    sampling.choose_users(connection, seed=seed, max_users=max_users, min_positives=min_positives)
    lists = {
        "positives_per_user": positives_per_user,
        "negatives_per_positive": negatives_per_positive,
        "eval_positives": eval_positives,
        "eval_negatives": eval_negatives,
    }
    split_name = hashing.split_name(seed, validation_share=validation_share, test_share=test_share)
    sampling.choose_pairs(connection, seed=seed, split_name=split_name, lists=lists)
    if texts_at_hand:
        sampling.look_texts_up(connection)
    else:
        sampling.read_texts(connection)
    connection.execute(f"CREATE TEMP TABLE key_counts AS {sampling.KEY_COUNTS}")
    counts = sampling.count(connection)
    sampling.check_users(counts, min_positives=min_positives)
    return counts


def main(raw: Path, base: Path, sampled: Path, metrics: Path) -> None:
    """Write the counts, pairs.parquet, and positives.parquet: all clean positives of the users that stay."""
    params = declared("sample")
    columns, core = sampling.from_params(params)
    tokenizer = load_tokenizer(base)
    with replacing(sampled) as partial, tempfile.TemporaryDirectory(prefix=".spill-", dir=partial.parent) as spill:
        connection = duckdb.connect(config={"memory_limit": MEMORY_LIMIT, "temp_directory": spill})
        connection.execute("SET preserve_insertion_order = false")
        read(connection, raw, columns, text_ids=False)
        counts = sample(connection, **core)
        counts["longer_than_max_length"] = share_longer(
            connection, "sampled", tokenizer, max_length=params["max_length"]
        )
        sampling.write(connection, partial, seed=params["seed"], positives=sampling.POSITIVES)
    write_json(metrics, counts)


if __name__ == "__main__":
    run(main, *map(Path, sys.argv[1:]))
