"""The sample: which keys stay, what they look like, and how many go for which reason.

Users with too few clean positives go first; of those that stay, the pairs with the lowest hashes are kept: a few
positives and distinct negatives for training users, a longer candidate list for validation and test users. `sample`
takes a whole table; `rerank.cluster.sample` takes the same steps on blocks of one, merged. They read and make temporary
tables of one DuckDB connection, beside those of `rerank.data.keys`:

    user_counts                             one row a user: clean pairs, and positives and negatives of warm books
    readers                                 the same, and why the user goes, or null
    chosen                                  the keys that stay: user_id, book_id, label
    sampled                                 `COLUMNS`, the output
    first_leaked, leaked                    some of the keys that leak, without and with texts
    key_counts                              rows and keys of each reason, to be added up
    catalogue                               every book with its text, and whether it is cold

A cold book is one of which no reader is known: its hash keeps its pairs out of training, and it stands only in the
second list of each validation and test user, of cold books alone. All others are warm.
"""

from pathlib import Path
from typing import Any

import duckdb

from rerank.data import counting, examples, hashing, keys
from rerank.data.pairs import COLUMNS
from rerank.data.sql import is_filled
from rerank.errors import UserError
from rerank.json_file import write_json
from rerank.tasks import TASKS

# All clean positives of the users that stay.
POSITIVES = (
    "SELECT user_id::VARCHAR AS user_id, book_id::VARCHAR AS book_id "
    "FROM keys JOIN readers USING (user_number) JOIN books USING (book_number) "
    "WHERE keys.reason IS NULL AND readers.reason IS NULL AND label > 0"
)

# The rows of the pairs that are shown, where an id may have several texts.
LEAKED_ROWS = "pairs SEMI JOIN first_leaked USING (user_id, book_id)"


def check_task(task: str) -> None:
    """Check that the labels of a task can be a ranking's gains.

    Raises:
        UserError: when they are not whole.
    """
    if not TASKS[task].whole_labels:
        whole = " or ".join(name for name, one in TASKS.items() if one.whole_labels)
        raise UserError(f"params.yaml: task is {task}: a ranking's gains are whole grades: set it to {whole}")


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
    cold_books_share: float,
    title_pattern: str | None,
) -> dict[str, Any]:
    """Make the temporary tables ``sampled``, unsorted, ``catalogue`` and ``leaked`` from ``pairs``; return the counts.

    The reasons in ``dropped`` are tried in this order, and every row counts once: contradictions (all rows of a pair
    with different labels), leaked (all rows of a pair, when one names the book in the context), empty_texts (all rows
    of a pair without one row that has both texts), duplicates (further rows of a pair that stays), then the rows of
    users with fewer than ``min_positives`` clean positives with a warm book, of users without such a negative, of users
    beyond ``max_users``, and beyond_the_lists (what stays was longer than the lists, or training met a cold book).
    ``positives_per_user`` counts the clean warm positives of the users that stay, before the lists cut them.

    Raises:
        UserError: when no user is left, or ``title_pattern`` is not an RE2 regular expression.
    """
    keys.check_title_pattern(title_pattern)
    texts_at_hand = keys.collect_keys(connection, title_pattern=title_pattern)
    cold = hashing.is_cold(seed, cold_books_share=cold_books_share)
    count_users(connection, cold=cold)
    choose_users(connection, seed=seed, max_users=max_users, min_positives=min_positives)
    lists = {
        "positives_per_user": positives_per_user,
        "negatives_per_positive": negatives_per_positive,
        "eval_positives": eval_positives,
        "eval_negatives": eval_negatives,
    }
    split_name = hashing.split_name(seed, validation_share=validation_share, test_share=test_share)
    choose_pairs(connection, seed=seed, split_name=split_name, lists=lists, cold=cold)
    shown = examples.first_leaked(examples.KEYS_WITH_IDS, seed=seed)
    connection.execute(f"CREATE TEMP TABLE first_leaked AS {shown}")
    if texts_at_hand:
        look_texts_up(connection)
        rows = "first_leaked JOIN users USING (user_id) JOIN books USING (book_id)"
    else:
        read_texts(connection)
        rows = LEAKED_ROWS
    make_catalogue(connection, "books" if texts_at_hand else "pairs", cold=cold)
    examples.read(connection, rows, title_pattern=title_pattern)
    connection.execute(f"CREATE TEMP TABLE key_counts AS {keys.KEY_COUNTS}")
    counts = counting.count(connection, split_name=split_name)
    counting.check_users(counts, min_positives=min_positives)
    return counts


def clean_pairs(cold: str) -> str:
    """Return what is counted of a user's rows of ``keys``; ``cold`` is `hashing.is_cold`."""
    return (
        "count(*) FILTER (reason IS NULL) AS pairs, "
        f"count(*) FILTER (reason IS NULL AND label > 0 AND NOT {cold}) AS positives, "
        f"count(*) FILTER (reason IS NULL AND label = 0 AND NOT {cold}) AS negatives"
    )


def count_users(connection: duckdb.DuckDBPyConnection, *, cold: str) -> None:
    """Make ``user_counts`` from ``keys`` and ``books``."""
    connection.execute(
        f"CREATE TEMP TABLE user_counts AS SELECT user_number, {clean_pairs(cold)} "
        "FROM keys JOIN books USING (book_number) GROUP BY user_number"
    )


def choose_users(
    connection: duckdb.DuckDBPyConnection, *, seed: int, max_users: int | None, min_positives: int
) -> None:
    """Make ``readers`` from ``user_counts`` and ``users``."""
    limit = "" if max_users is None else f"LIMIT {max_users}"
    connection.execute(f"""
        CREATE TEMP TABLE readers AS
        WITH kept AS (
            SELECT user_number, true AS kept FROM user_counts JOIN users USING (user_number)
            WHERE positives >= {min_positives} AND negatives > 0
            ORDER BY {hashing.user_order(seed)} {limit})
        SELECT user_number, user_id, pairs, positives, negatives,
            CASE WHEN positives < {min_positives} THEN 'users_below_min_positives'
                 WHEN negatives = 0 THEN 'users_without_negatives'
                 WHEN kept IS NULL THEN 'users_beyond_max_users' END AS reason
        FROM user_counts JOIN users USING (user_number) LEFT JOIN kept USING (user_number)""")


def choose_pairs(
    connection: duckdb.DuckDBPyConnection, *, seed: int, split_name: str, lists: dict[str, int], cold: str
) -> None:
    """Make ``chosen`` from ``keys``, ``readers`` and ``books``: the top of each list by hash."""
    connection.execute(f"""
        CREATE TEMP TABLE chosen AS
        WITH reader_lists AS (
            SELECT user_number, {hashing.user_of_pair(seed)} AS user_hash, positives,
                {split_name} = 'train' AS training
            FROM readers WHERE reason IS NULL),
        candidates AS (
            SELECT user_number, book_number, label > 0 AS positive, cold,
                {hashing.mix("user_hash", "book_hash")} AS place,
                CASE WHEN NOT training AND positive THEN {lists["eval_positives"]}
                     WHEN NOT training THEN {lists["eval_negatives"]}
                     WHEN positive THEN {lists["positives_per_user"]}
                     ELSE least(positives, {lists["positives_per_user"]}) * {lists["negatives_per_positive"]}
                     END AS list_length
            FROM keys JOIN reader_lists USING (user_number)
            JOIN (SELECT book_number, {hashing.book_of_pair(seed)} AS book_hash, {cold} AS cold FROM books)
                USING (book_number)
            WHERE reason IS NULL AND NOT (training AND cold)),
        top AS (
            SELECT user_number, unnest(arg_min(book_number, place, list_length)) AS book_number
            FROM candidates GROUP BY user_number, positive, cold)
        SELECT user_id, book_id, label
        FROM top JOIN keys USING (user_number, book_number)
        JOIN users USING (user_number) JOIN books USING (book_number)""")


def read_texts(connection: duckdb.DuckDBPyConnection) -> None:
    """Make ``sampled`` from ``chosen`` and ``pairs``: of a pair with several texts the lowest that are both filled."""
    both = f"{is_filled('user_ctx')} AND {is_filled('book_text')}"
    connection.execute(f"""
        CREATE TEMP TABLE sampled AS
        SELECT user_id::VARCHAR AS user_id, book_id::VARCHAR AS book_id, text.user_ctx, text.book_text, label
        FROM (
            SELECT user_id, book_id, any_value(label) AS label,
                min({{'user_ctx': user_ctx, 'book_text': book_text}}) FILTER ({both}) AS text
            FROM pairs SEMI JOIN chosen USING (user_id, book_id) GROUP BY user_id, book_id)""")


def look_texts_up(connection: duckdb.DuckDBPyConnection) -> None:
    """Make ``sampled`` from ``chosen``, ``users`` and ``books``, which have the one text of each id."""
    connection.execute("""
        CREATE TEMP TABLE sampled AS
        SELECT user_id::VARCHAR AS user_id, book_id::VARCHAR AS book_id, user_ctx, book_text, label
        FROM chosen JOIN users USING (user_id) JOIN books USING (book_id)""")


def make_catalogue(connection: duckdb.DuckDBPyConnection, rows: str, *, cold: str) -> None:
    """Make ``catalogue`` from a table with book_id and book_text: of a book with several texts the lowest."""
    connection.execute(f"""
        CREATE TEMP TABLE catalogue AS
        SELECT book_id::VARCHAR AS book_id, min(book_text) AS book_text, {cold} AS cold
        FROM {rows} WHERE {is_filled("book_text")} GROUP BY book_id""")


def write(
    connection: duckdb.DuckDBPyConnection,
    folder: Path,
    counts: dict[str, Any],
    *,
    seed: int,
    positives: str = POSITIVES,
) -> None:
    """Write pairs.parquet from ``sampled``, positives.parquet from a query and books.parquet from ``catalogue``.

    All are sorted; of the positives those with a cold book are left out. counts.json and leaked.csv stand beside them.
    """
    folder.mkdir()
    for name, query in (
        (
            "pairs",
            f"SELECT {', '.join(COLUMNS)}, cold FROM sampled "
            "JOIN (SELECT book_id, cold FROM catalogue) USING (book_id) "
            f"ORDER BY user_id, cold, {hashing.pair_order(seed)}",
        ),
        ("positives", f"FROM ({positives}) SEMI JOIN (FROM catalogue WHERE NOT cold) USING (book_id) ORDER BY ALL"),
        ("books", "FROM catalogue ORDER BY book_id"),
    ):
        connection.sql(query).write_parquet(str(folder / f"{name}.parquet"), compression="zstd")
    write_json(folder / "counts.json", counts)
    examples.write(connection, folder / "leaked.csv", seed=seed)
