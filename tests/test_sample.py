"""The sample: what stays follows from the seed, the ids and the user's own rows, and what goes is counted once."""

import csv
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import duckdb
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from rerank.data import hashing, sampling
from rerank.data.pairs import COLUMNS, SourceColumns, read
from rerank.errors import UserError

ROOT = Path(__file__).resolve().parents[1]
TITLE_PATTERN = r"^Title: ([^|]+)"
PARAMS: dict[str, Any] = {
    "seed": 42,
    "max_users": None,
    "min_positives": 1,
    "positives_per_user": 2,
    "negatives_per_positive": 2,
    "eval_positives": 3,
    "eval_negatives": 5,
    "validation_share": 0.3,
    "test_share": 0.3,
    "cold_books_share": 0.0,
    "title_pattern": TITLE_PATTERN,
}
REASONS = [
    "contradictions",
    "leaked",
    "empty_texts",
    "duplicates",
    "users_below_min_positives",
    "users_without_negatives",
    "users_beyond_max_users",
    "beyond_the_lists",
]
Row = tuple[str, str, str | None, str | None, int]


def frame(rows: Sequence[Row]) -> pd.DataFrame:
    texts = dict.fromkeys(COLUMNS[:4], "str")
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype({**texts, "label": "int32"})


def take(table: Sequence[Row], *, files: int = 0, threads: int = 2, **changes: Any) -> tuple[list[Row], dict[str, Any]]:
    """Sample the rows, read from parquet files when ``files`` > 0; return sorted pairs and counts."""
    connection = duckdb.connect(config={"threads": threads, "preserve_insertion_order": False})
    with tempfile.TemporaryDirectory() as folder:
        for n in range(files):
            frame(table[n::files]).to_parquet(f"{folder}/part.{n}.parquet", index=False)
        if files:
            read(connection, Path(folder), SourceColumns(*COLUMNS))
        else:
            connection.register("pairs", frame(table))
        try:
            counts = sampling.sample(connection, **{**PARAMS, **changes})
        except UserError as error:
            return [], {"error": str(error)}
        return sorted(connection.execute(f"SELECT {', '.join(COLUMNS)} FROM sampled").fetchall()), counts


def reader(user: str, *, positives: int = 3, negatives: int = 3, context: str = "likes Nothing") -> list[Row]:
    labels = [1] * positives + [0] * negatives
    return [(user, f"b{n}", context, f"Title: Book {n} | rest", label) for n, label in enumerate(labels)]


def md5(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()


def place(user: str, book: str, seed: int = 42) -> int:
    """A pair's place among those of its user, see rerank.data.hashing.mix."""
    ids = [f"user of pair|{seed}|{user}", f"book of pair|{seed}|{book}"]
    first, mixed = (int.from_bytes(hashlib.md5(text.encode()).digest()[:8], "little") for text in ids)
    for _ in range(4):
        mixed ^= first
        mixed = mixed % 2**32 * 4_294_883_355 + mixed // 2**32
    return mixed


def is_cold(book: str, share: float, seed: int = 42) -> bool:
    return int(md5(f"cold|{seed}|{book}")[:8], 16) / 16**8 < share


@st.composite
def tables(draw: st.DrawFn, users: str = "abcdefgh") -> list[Row]:
    """A few readers with repeated, contradictory, leaked and empty rows among the others."""
    random = Random(draw(st.integers(0, 2**32)))
    table: list[Row] = []
    for user in users[: draw(st.integers(1, len(users)))]:
        context, books = f"Favorite books: Book {random.randrange(12)}", random.randint(1, 12)
        for _ in range(random.randint(1, 20)):
            book, label = random.randrange(books), random.choice([0, 0, 1, 2])
            text = random.choice([f"Title: Book {book} | rest"] * 8 + ["no title", " ", None])
            row: Row = (user, str(book), random.choice([context] * 12 + ["", None]), text, label)
            table += [row] * random.choice([1, 1, 1, 2])
    if draw(st.booleans()):  # half of the tables without contradictions: most pairs stay
        first = {(row[0], row[1]): row[4] for row in reversed(table)}
        table = [(*row[:4], first[row[0], row[1]]) for row in table]
    return table


def reference(table: Sequence[Row], **changes: Any) -> tuple[list[Row], Counter[str]]:
    """The same sample by plain loops."""
    params = {**PARAMS, **changes}
    pairs: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in table:
        pairs[row[0], row[1]].append(row)
    dropped: Counter[str] = Counter()
    users: dict[str, list[Row]] = {user: [] for user, _ in pairs}
    for (user, book), rows in pairs.items():
        filled = [row for row in rows if (row[2] or "").strip() and (row[3] or "").strip()]
        if len({row[4] for row in rows}) > 1:
            dropped["contradictions"] += len(rows)
        elif any(row[2] == f"Favorite books: Book {book}" and "Title" in (row[3] or "") for row in rows):
            dropped["leaked"] += len(rows)
        elif not filled:
            dropped["empty_texts"] += len(rows)
        else:
            dropped["duplicates"] += len(rows) - 1
            users[user].append(min(filled))
    kept: list[Row] = []
    left = params["max_users"] or len(users)
    for user in sorted(users, key=lambda user: md5(f"user|{params['seed']}|{user}")):
        rows = sorted(users[user], key=lambda row: place(user, row[1], params["seed"]))
        cold = [row for row in rows if is_cold(row[1], params["cold_books_share"], params["seed"])]
        rows, everything = [row for row in rows if row not in cold], rows
        positives, negatives = [row for row in rows if row[4] > 0], [row for row in rows if row[4] == 0]
        if len(positives) < params["min_positives"]:
            dropped["users_below_min_positives"] += len(everything)
        elif not negatives:
            dropped["users_without_negatives"] += len(everything)
        elif left == 0:
            dropped["users_beyond_max_users"] += len(everything)
        else:
            left -= 1
            share = int(md5(f"split|{params['seed']}|{user}")[:8], 16) / 16**8
            if share < params["validation_share"] + params["test_share"]:
                stay = positives[: params["eval_positives"]] + negatives[: params["eval_negatives"]]
                stay += [row for row in cold if row[4] > 0][: params["eval_positives"]]
                stay += [row for row in cold if row[4] == 0][: params["eval_negatives"]]
            else:
                stay = positives[: params["positives_per_user"]]
                stay = stay + negatives[: len(stay) * params["negatives_per_positive"]]
            dropped["beyond_the_lists"] += len(everything) - len(stay)
            kept += stay
    return sorted(kept), dropped


@settings(max_examples=35, deadline=None)
@given(tables(), st.integers(1, 3), st.one_of(st.none(), st.integers(1, 5)), st.sampled_from([0.0, 0.4]))
def test_the_sample_and_its_counts_equal_those_of_plain_loops_and_add_up(
    table: list[Row], min_positives: int, max_users: int | None, cold_books_share: float
) -> None:
    changes = {"min_positives": min_positives, "max_users": max_users, "cold_books_share": cold_books_share}
    pairs, counts = take(table, **changes)
    expected, dropped = reference(table, **changes)
    assert pairs == expected
    if pairs:
        assert list(counts["dropped"]) == REASONS
        assert {reason: count for reason, count in counts["dropped"].items() if count} == +dropped
        cold = sum(is_cold(row[1], cold_books_share) for row in expected)
        assert counts["sampled"]["cold_rows"] == cold
        assert counts["raw"]["rows"] == len(table) == counts["sampled"]["rows"] + sum(counts["dropped"].values())
        assert counts["raw"]["users"] == counts["sampled"]["users"] + sum(counts["dropped_users"].values())


@settings(max_examples=20, deadline=None)
@given(tables(), st.randoms(use_true_random=False), st.integers(1, 4))
def test_the_sample_does_not_depend_on_row_order_or_on_partitioning_into_files(
    table: list[Row], random: Random, files: int
) -> None:
    shuffled = random.sample(table, len(table))
    assert take(table) == take(shuffled, files=files)


@settings(max_examples=20, deadline=None)
@given(tables(users="abcd"), tables(users="efgh"))
def test_the_pairs_of_a_user_do_not_depend_on_the_other_users(table: list[Row], others: list[Row]) -> None:
    alone, together = take(table)[0], take(table + others)[0]
    assert alone == [row for row in together if row[0] in "abcd"]


@settings(max_examples=20, deadline=None)
@given(tables(), st.integers(1, 4), st.integers(0, 4))
def test_max_users_keeps_whole_users_and_a_larger_number_only_adds_users(table: list[Row], few: int, more: int) -> None:
    everyone, small, large = take(table)[0], take(table, max_users=few)[0], take(table, max_users=few + more)[0]
    users = {row[0] for row in small}
    assert len(users) == min(few, len({row[0] for row in everyone}))
    assert small == [row for row in large if row[0] in users]
    assert large == [row for row in everyone if row[0] in {row[0] for row in large}]


def test_training_users_get_distinct_negatives_in_proportion_and_test_users_longer_lists() -> None:
    table = [row for n in range(30) for row in reader(f"u{n}", positives=n % 4 + 1, negatives=20)]
    connection = duckdb.connect()
    name = hashing.split_name(42, validation_share=0.3, test_share=0.3)
    splits = dict(
        connection.execute(f"SELECT user_id, {name} FROM (SELECT 'u' || range AS user_id FROM range(30))").fetchall()
    )
    by_user: dict[str, list[Row]] = defaultdict(list)
    for row in take(table)[0]:
        by_user[row[0]].append(row)
    assert set(splits.values()) == {"train", "validation", "test"}
    for user, rows in by_user.items():
        positives = int(user[1:]) % 4 + 1
        wanted = (min(positives, 2), min(positives, 2) * 2) if splits[user] == "train" else (min(positives, 3), 5)
        negatives = {row[1] for row in rows if row[4] == 0}
        assert (sum(row[4] > 0 for row in rows), len(negatives)) == wanted
        assert len(rows) == sum(wanted)


def test_users_and_pairs_stay_in_the_order_of_their_hashes() -> None:
    table = [row for n in range(6) for row in reader(f"u{n}", positives=5, negatives=5)]
    pairs, _ = take(table, max_users=2, positives_per_user=1, eval_positives=1)
    assert {row[0] for row in pairs} == set(sorted((f"u{n}" for n in range(6)), key=lambda u: md5(f"user|42|{u}"))[:2])
    for user, book in ((row[0], row[1]) for row in pairs if row[4]):
        assert book == min((f"b{n}" for n in range(5)), key=lambda b: place(user, b))


def test_cold_books_reach_neither_training_nor_what_readers_liked_and_are_a_list_of_their_own(tmp_path: Path) -> None:
    table = [row for n in range(30) for row in reader(f"u{n}", positives=15, negatives=15)]
    connection = duckdb.connect()
    connection.register("pairs", frame(table))
    counts = sampling.sample(connection, **{**PARAMS, "cold_books_share": 0.3})
    sampling.write(connection, tmp_path / "sampled", counts, seed=42)
    pairs, positives, books = (
        pd.read_parquet(tmp_path / f"sampled/{name}.parquet") for name in ("pairs", "positives", "books")
    )
    cold = {f"b{n}" for n in range(30) if is_cold(f"b{n}", 0.3)}
    assert 3 < len(cold) < 15 and set(books.loc[books["cold"], "book_id"]) == cold and len(books) == 30
    assert (pairs["cold"] == pairs["book_id"].isin(cold)).all() and not set(positives["book_id"]) & cold
    share = pairs["user_id"].map(lambda user: int(md5(f"split|42|{user}")[:8], 16) / 16**8)
    training = pairs[share >= 0.6]
    assert len(training) and not training["cold"].any()
    lists = pairs[share < 0.6].groupby(["user_id", "cold"])["label"].agg(["sum", "size"])
    assert (lists.xs(False, level="cold") == [3, 8]).all(axis=None)
    longest = [min(3, sum(int(book[1:]) < 15 for book in cold)), min(5, sum(int(book[1:]) >= 15 for book in cold))]
    assert (lists.xs(True, level="cold") == [longest[0], sum(longest)]).all(axis=None)


def test_a_larger_share_of_cold_books_only_adds_some() -> None:
    connection = duckdb.connect()
    few, more = (
        {
            book
            for (book,) in connection.execute(
                f"SELECT book_id FROM (SELECT 'b' || range AS book_id FROM range(3000)) "
                f"WHERE {hashing.is_cold(42, cold_books_share=share)}"
            ).fetchall()
        }
        for share in (0.1, 0.3)
    )
    assert few < more and abs(len(few) - 300) < 60 and abs(len(more) - 900) < 90


def test_two_users_with_the_same_books_get_pairs_that_have_nothing_to_do_with_each_other() -> None:
    """Of 30 books the first 3: each with a chance of 1 in 10, any two together with one of 1 in 145."""
    connection = duckdb.connect()
    connection.execute(
        "CREATE TABLE keys AS SELECT 'u' || u.range AS user_id, b.range AS book_id FROM range(9000) u, range(30) b"
    )
    top = f"SELECT user_id, unnest(arg_min(book_id, {hashing.pair_order(42)}, 3)) AS book FROM keys GROUP BY user_id"
    connection.execute(f"CREATE TABLE chosen AS {top}")
    alone = connection.execute("SELECT count(*) FROM chosen GROUP BY book").fetchall()
    pairs = "chosen one JOIN chosen other USING (user_id) WHERE one.book < other.book"
    together = connection.execute(f"SELECT count(*) FROM {pairs} GROUP BY one.book, other.book").fetchall()
    assert len(alone) == 30 and all(900 - 130 < count < 900 + 130 for (count,) in alone)
    assert len(together) == 435 and all(62 - 36 < count < 62 + 36 for (count,) in together)


def test_another_seed_chooses_other_users() -> None:
    table = [row for n in range(40) for row in reader(f"u{n}")]
    assert {row[0] for row in take(table, max_users=10)[0]} != {row[0] for row in take(table, max_users=10, seed=1)[0]}


def test_a_pair_with_two_labels_is_dropped_whole_even_when_both_are_positive() -> None:
    graded = [("u", "x", "c", "t", 1), ("u", "x", "c", "t", 2), ("u", "y", "c", "t", 0), ("u", "y", "c", "t", 1)]
    pairs, counts = take([*reader("u", positives=1, negatives=1), *graded])
    assert [row[1] for row in pairs] == ["b0", "b1"]
    assert counts["dropped"]["contradictions"] == 4


def test_graded_labels_stay_and_every_label_above_0_is_a_positive() -> None:
    rows = [("u", f"b{label}", "c", "t", label) for label in range(6)]
    pairs, counts = take(rows, positives_per_user=9, eval_positives=9)
    assert [row[4] for row in pairs] == [0, 1, 2, 3, 4, 5]
    assert counts["sampled"]["positives"] == 5
    assert counts["positives_per_user"] == {"mean": 5.0, "median": 5.0, "min": 5, "max": 5}


def test_of_a_pair_with_several_texts_the_lowest_filled_one_stays_in_whatever_order_they_come() -> None:
    versions: list[Row] = [
        ("u", "x", "c2", "a", 1),
        ("u", "x", "c1", "z", 1),
        ("u", "x", "c0", None, 1),
        ("u", "x", "", "a", 1),
    ]
    rows = reader("u", positives=1, negatives=1)
    pairs, counts = take(rows + versions)
    assert pairs == take(versions[::-1] + rows)[0]
    assert pairs[-1] == ("u", "x", "c1", "z", 1)
    assert counts["dropped"] == {**dict.fromkeys(REASONS, 0), "duplicates": 3}


@pytest.mark.parametrize("blank", [None, "", "  ", "\n\t"])
def test_a_pair_without_context_or_text_is_dropped_and_counted(blank: str | None) -> None:
    rows = [*reader("u", positives=1, negatives=1), ("u", "x", blank, "t", 1), ("u", "y", "c", blank, 0)]
    pairs, counts = take(rows)
    assert [row[1] for row in pairs] == ["b0", "b1"]
    assert counts["dropped"]["empty_texts"] == 2


def test_leaked_pairs_are_dropped_and_books_without_a_title_are_kept_and_counted() -> None:
    rows = [
        *reader("u", positives=1, negatives=2, context="Favorite books: Book 2 by Someone; Emma by Jane Austen"),
        ("u", "x", "Favorite books: Emma by Jane Austen", "Emma, a novel", 1),
    ]
    pairs, counts = take(rows)
    assert [row[1] for row in pairs] == ["b0", "b1", "x"]
    assert counts["dropped"]["leaked"] == 1
    assert counts["rows_without_title"] == 1


def test_ids_that_are_whole_numbers_give_the_same_as_their_texts(tmp_path: Path) -> None:
    rows = [row for n in range(20) for row in reader(f"{n}", positives=n % 5, negatives=8)]
    table = frame([(row[0], row[1].removeprefix("b"), *row[2:]) for row in rows])
    table.astype({"user_id": "int64", "book_id": "int16"}).to_parquet(tmp_path / "pairs.parquet")
    results = []
    for text_ids in (True, False):
        connection = duckdb.connect()
        read(connection, tmp_path, SourceColumns(*COLUMNS), text_ids=text_ids)
        counts = sampling.sample(connection, **PARAMS)
        results.append((counts, sorted(connection.execute("SELECT * FROM sampled").fetchall())))
    assert results[0] == results[1] and isinstance(results[1][1][0][1], str)


def test_the_number_of_threads_changes_nothing() -> None:
    table = [row for n in range(300) for row in reader(f"u{n}", positives=n % 7, negatives=8)]
    assert take(table, threads=1) == take(table, threads=4)


def test_a_pattern_of_null_looks_for_no_leak_and_misses_no_title() -> None:
    rows = [("q", f"b{n}", "rambo", f"Title: {title}", n % 2) for n, title in enumerate(("Rambo", "Rocky", "Rambo II"))]
    pairs, counts = take([*rows, ("q", "x", "rambo", "no title", 1)], title_pattern=None)
    assert len(pairs) == 4 and counts["dropped"]["leaked"] == counts["rows_without_title"] == 0
    pairs, counts = take([*rows, ("q", "x", "rambo", "no title", 1)])
    assert counts["dropped"]["leaked"] == 1 and [row[1] for row in pairs] == ["b1", "b2", "x"]


def test_many_contexts_that_all_name_the_title_of_many_texts_take_seconds() -> None:
    connection = duckdb.connect()
    connection.execute(
        "CREATE VIEW pairs AS SELECT 'u' || n AS user_id, 'b' || n AS book_id, "
        "'Favorite books: Dune by Frank Herbert; Book ' || n AS user_ctx, "
        "'Title: Dune | ' || n AS book_text, (n % 2)::INTEGER AS label FROM range(40000) AS numbers (n) "
        "UNION ALL SELECT 'u', 'b' || n, 'Emma', 'Title: Dune | ' || n, n FROM range(2) AS numbers (n)"
    )
    started = time.monotonic()
    counts = sampling.sample(connection, **PARAMS)
    assert counts["dropped"]["leaked"] == 40_000 and counts["sampled"]["rows"] == 2
    assert time.monotonic() - started < 60  # every context with every text would be 1,600,000,000


COLUMN_PARAMS = dict(
    zip(("user_column", "book_column", "context_column", "text_column", "label_column"), COLUMNS, strict=True)
)


def project(folder: Path, rows: Sequence[Row], **params: Any) -> None:
    """Make a project with the repository's dvc.yaml and the params of the stages sample and split."""
    (folder / "dvc.yaml").write_text((ROOT / "dvc.yaml").read_text())
    with (folder / "params.yaml").open("w") as file:
        limits = {"task": "ranking", "max_grade": 1, "max_empty_share": 0.01, "favourite_parts": "(?i)title: (...)"}
        YAML().dump({**COLUMN_PARAMS, **limits, **PARAMS, **params}, file)
    (folder / "data/tables").mkdir(parents=True)
    frame(rows).to_parquet(folder / "data/tables/pairs.parquet", index=False)


def run_stage(folder: Path) -> subprocess.CompletedProcess[str]:
    paths = {"--tables": "data/tables", "--sampled": "data/sampled", "--metrics": "metrics/data.json"}
    return subprocess.run(
        [sys.executable, "-m", "stages.sample", *(word for pair in paths.items() for word in pair)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
    )


def test_the_stage_writes_sorted_pairs_and_the_counts_and_the_same_bytes_again(tmp_path: Path) -> None:
    rows = [row for n in range(20) for row in reader(f"u{n}", positives=n % 5, negatives=6)]
    project(tmp_path, rows, max_users=9, min_positives=3)
    files = ("books.parquet", "counts.json", "leaked.csv", "pairs.parquet", "positives.parquet")
    names = [f"data/sampled/{name}" for name in files]
    outputs = []
    for _ in range(2):
        result = run_stage(tmp_path)
        assert result.returncode == 0, result.stderr
        assert sorted(str(path.relative_to(tmp_path)) for path in (tmp_path / "data/sampled").iterdir()) == names
        outputs.append([(tmp_path / name).read_bytes() for name in [*names, "metrics/data.json"]])
    assert outputs[0] == outputs[1]
    pairs = pd.read_parquet(tmp_path / "data/sampled/pairs.parquet")
    assert list(pairs.columns) == [*COLUMNS, "cold"] and pairs["label"].dtype == "int32"
    keys = [(user, place(user, book)) for user, book in zip(pairs["user_id"], pairs["book_id"], strict=True)]
    assert keys == sorted(keys)
    counts = json.loads((tmp_path / "data/sampled/counts.json").read_text())
    assert counts["raw"] == {"rows": 160, "users": 20, "books": 10}
    assert counts["dropped_users"] == {"below_min_positives": 12, "without_negatives": 0, "beyond_max_users": 0}
    assert counts["sampled"]["users"] == pairs["user_id"].nunique() == 8
    metrics = json.loads((tmp_path / "metrics/data.json").read_text())
    assert metrics == {"rows": len(pairs), "users": 8, "taught_contexts": 5}
    assert (tmp_path / "data/sampled/leaked.csv").read_text() == '"user_id","book_id","title","context"\n'
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == ["sampled", "tables"]


def shown(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


@pytest.mark.parametrize("several_texts", [False, True])
def test_the_first_twenty_leaked_pairs_by_hash_are_shown_as_they_are(tmp_path: Path, several_texts: bool) -> None:
    context = 'Favorite books: Dune, "It",\r\n\x0bMiss\x1f and Mr' + " more" * 60
    rows = [row for n in range(30) for row in reader(f"u{n}", context=f"{context} {n}")]
    rows += [(f"u{n}", "dune", f"{context} {n}", "Title: Dune (Dune, #1) | \x01", n % 2) for n in range(30)]
    rows += [("u0", "both", f"{context} 0", "Title: Dune", label) for label in (0, 1)]
    rows += [("u1", "dune", "Dune", "Title: Dune", 1), ("u1", "dune", "Emma", "Title: Dune", 1)] * several_texts
    connection = duckdb.connect()
    connection.register("pairs", frame(rows))
    counts = sampling.sample(connection, **PARAMS)
    sampling.write(connection, tmp_path / "sampled", counts, seed=42)
    found = shown(tmp_path / "sampled/leaked.csv")
    first = sorted((f"u{n}" for n in range(30)), key=lambda user: place(user, "dune"))[:20]
    assert [row["user_id"] for row in found] == first and {row["book_id"] for row in found} == {"dune"}
    for row in found:
        short = several_texts and row["user_id"] == "u1"
        assert row["title"] == ("Dune" if short else "Dune (Dune, #1)")
        assert row["context"] == ("Dune" if short else context[:200])
    assert counts["dropped"]["leaked"] == 30 + 2 * several_texts and counts["dropped"]["contradictions"] == 2


def test_the_same_question_under_two_ids_in_training_and_outside_is_counted_and_told(tmp_path: Path) -> None:
    names = [f"u{n}" for n in range(60)]
    project(tmp_path, [row for name in names for row in reader(name, context=f"Favorite books: {name}")])
    alone = run_stage(tmp_path)
    assert alone.returncode == 0 and "have the context of a training user" not in alone.stdout
    rows = [row for name in names for row in reader(name, context="Best books? ")]
    frame(rows).to_parquet(tmp_path / "data/tables/pairs.parquet", index=False)
    result = run_stage(tmp_path)
    counts = json.loads((tmp_path / "data/sampled/counts.json").read_text())
    metrics = json.loads((tmp_path / "metrics/data.json").read_text())
    taught = counts["users_with_a_taught_context"]
    assert 20 < taught < 50 and metrics["taught_contexts"] == taught
    assert result.stdout.startswith(f"{taught} users of validation and test have the context of a training user")
    assert result.stdout.count("\n") == 1 and "set user_column to null" in result.stdout


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"min_positives": 4}, ["none of 3 users is left", "min_positives (4)", "lower min_positives"]),
        ({"title_pattern": "(?<=Title: )(.*)"}, ["params.yaml: title_pattern is '(?<=Title: )(.*)'", "RE2"]),
        ({"task": "similarity"}, ["params.yaml: task is similarity", "set it to ranking or duplicates"]),
        ({"label_column": "liked"}, ["data/tables: column 'liked' is missing", "set label_column in params.yaml"]),
        ({"text_column": "blank"}, ["data/tables: column 'blank'", "is null or blank in 18 of 18 rows"]),
    ],
)
def test_a_mistake_is_told_in_one_line_and_earlier_results_stay(
    tmp_path: Path, params: dict[str, Any], words: list[str]
) -> None:
    rows = [row for n in range(3) for row in reader(f"u{n}")]
    project(tmp_path, rows, **params)
    frame(rows).assign(blank=" ").to_parquet(tmp_path / "data/tables/pairs.parquet", index=False)
    (tmp_path / "data/sampled").mkdir()
    (tmp_path / "data/sampled/pairs.parquet").write_text("earlier")
    result = run_stage(tmp_path)
    assert result.returncode == 1
    assert result.stderr.count("\n") == 1 and result.stderr.startswith("error: ")
    for word in words:
        assert word in result.stderr
    assert (tmp_path / "data/sampled/pairs.parquet").read_text() == "earlier"
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == ["sampled", "tables"]
    assert not (tmp_path / "metrics").exists()
