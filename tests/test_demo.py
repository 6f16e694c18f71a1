"""The demo pairs are real books, made-up readers, small, and the same bytes each time."""

import subprocess
import sys
from pathlib import Path

import pandas as pd

DEMO = Path(__file__).parent.parent / "data/demo"


def test_the_script_makes_the_committed_pairs_byte_for_byte(tmp_path: Path) -> None:
    command = [sys.executable, "make_pairs.py", "books.csv", str(tmp_path / "pairs.parquet")]
    subprocess.run(command, cwd=DEMO, check=True)
    assert (tmp_path / "pairs.parquet").read_bytes() == (DEMO / "pairs.parquet").read_bytes()


def test_the_demo_is_about_400_readers_and_600_books_in_less_than_a_megabyte() -> None:
    pairs, books = pd.read_parquet(DEMO / "pairs.parquet"), pd.read_csv(DEMO / "books.csv", keep_default_na=False)
    assert pairs["user_id"].nunique() == 400
    assert len(books) == len(books.drop_duplicates(["title", "author"])) == 600
    assert sum(path.stat().st_size for path in DEMO.iterdir() if path.is_file()) < 1_000_000
    assert books["description"].str.split().str.len().between(8, 30).all()
    assert not books["description"].str.contains("|", regex=False).any()


def test_the_demo_has_the_flaws_that_the_cleaning_is_for() -> None:
    pairs = pd.read_parquet(DEMO / "pairs.parquet")
    assert pairs.duplicated(["user_id", "book_id", "label"]).sum() > 50
    assert (pairs.groupby(["user_id", "book_id"])["label"].nunique() > 1).sum() > 20
    assert (pairs["book_text"].str.strip() == "").sum() == 40


def test_popularity_is_skewed() -> None:
    readers_of_a_book = pd.read_parquet(DEMO / "pairs.parquet")["book_id"].value_counts()
    assert readers_of_a_book.iloc[:60].sum() > 0.25 * readers_of_a_book.sum()
