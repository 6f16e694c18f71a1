"""Make a table of pairs with the sizes, lengths and flaws of a real one, of random words, the same for the same rows.

    python benchmarks/make_pairs.py --rows 2862473 benchmarks/data/pairs

With the default rows: 14 parquet files, 452 MB, 5,357 readers with 136 positives each in the mean, 109 in the median,
from 1 to 1,478, 30 readers with fewer than 5, and about three negatives for each positive. More rows are more readers,
not longer lists. The readers stand mixed in every file. One file is made at a time, so memory does not grow.

Row g of the table is known from g alone: the reader's rows follow each other in g, and the files hold the values of g
in the order g = STEP * n mod rows, which visits every g once and mixes the readers. A reader's books are an arithmetic
progression modulo a prime, so they are distinct. Every `FLAW_EVERY`-th row repeats or contradicts
another; one book in a thousand has no text, and one reader no context.
"""

import argparse
import csv
import hashlib
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from scipy.stats import norm

ROWS = 2_862_473
READERS = 5_357
ROWS_PER_FILE = 204_463
BOOKS = 20_011
STEP = 2_654_435_761  # a prime, larger than any number of rows
# Positives of a reader: log-normal, with its ends set to those of the real table.
MEDIAN, SPREAD, MOST, FEW = 109, 0.665, 1_478, 30
POSITIVES = 136 * READERS
FLAW_EVERY = 400
BLANK_EVERY = 1_000
BOOKS_CSV = Path(__file__).parents[1] / "data/demo/books.csv"


@dataclass(frozen=True)
class Readers:
    """Who reads what: arrays with one entry a reader, except ``ends``, which has one more."""

    ids: np.ndarray
    contexts: np.ndarray
    positives: np.ndarray
    ends: np.ndarray
    first_book: np.ndarray
    book_step: np.ndarray


def _book_texts(rng: np.random.Generator) -> tuple[list[str], list[str]]:
    """Return each book's "title by author", and its text, of the words of the demo's descriptions."""
    with BOOKS_CSV.open(encoding="utf-8", newline="") as stream:
        books = list(csv.DictReader(stream))
    found = {word.strip(".,;") for book in books for word in book["description"].split()}
    words = np.array(sorted(word for word in found if word.isascii() and word.isalpha() and len(word) > 3))
    genres = np.array(sorted({genre for book in books for genre in book["genres"].split(", ")}))
    favourites, texts = [], []
    for words_of_description in rng.lognormal(np.log(17.8), 0.6, BOOKS).astype(int):
        title = " ".join(rng.choice(words, rng.integers(2, 6))).title()
        author = " ".join(rng.choice(words, 2)).title()
        description = " ".join(rng.choice(words, words_of_description))
        favourites.append(f"{title} by {author}")
        texts.append(f"Title: {title} | Genres: {', '.join(rng.choice(genres, 3))} | Description: {description}.")
    texts[::BLANK_EVERY] = [" "] * len(texts[::BLANK_EVERY])
    return favourites, texts


def make_readers(rows: int, favourites: list[str], rng: np.random.Generator) -> Readers:
    """Return the readers of a table of ``rows`` rows, with their favourites as context."""
    count = max(2 * FEW, round(READERS * rows / ROWS))
    positives = np.exp(norm.ppf((np.arange(count) + 0.5) / count) * SPREAD) * MEDIAN
    positives = np.clip(positives, 5, MOST).astype(int)
    few = max(1, round(FEW * count / READERS))
    positives[:few] = np.arange(few) % 4 + 1
    positives[-1] = MOST
    rng.shuffle(positives)
    ends = np.concatenate([[0], np.round(np.cumsum(positives) * (rows / positives.sum())).astype(np.int64)])
    first_book = rng.integers(0, BOOKS, count)
    book_step = rng.integers(1, BOOKS, count)
    known = [
        [favourites[(first + n * step) % BOOKS] for n in range(0, 2 * size, 2)]
        for first, step, size in zip(first_book, book_step, rng.integers(2, 5, count), strict=True)
    ]
    contexts = ["Favorite books: " + "; ".join(names) for names in known]
    contexts[::BLANK_EVERY] = [""] * len(contexts[::BLANK_EVERY])
    return Readers(
        ids=np.array([hashlib.md5(f"reader {n}".encode()).hexdigest() for n in range(count)], dtype=object),
        contexts=np.array(contexts, dtype=object),
        positives=positives,
        ends=ends,
        first_book=first_book,
        book_step=book_step,
    )


def make_file(readers: Readers, texts: pa.Array, *, start: int, stop: int) -> pa.Table:
    """Return the rows from ``start`` to ``stop`` of the table, in the order of the files."""
    rows = int(readers.ends[-1])
    position = np.arange(start, stop)
    row = STEP * position % rows
    reader = np.searchsorted(readers.ends, row, side="right") - 1
    place = row - readers.ends[reader]
    flaw = position % FLAW_EVERY == 0
    place = np.where(flaw, place // 2, place)
    book = (readers.first_book[reader] + place * readers.book_step[reader]) % BOOKS
    label = (place < readers.positives[reader]) ^ (flaw & (position // FLAW_EVERY % 2 == 1))
    return pa.table(
        {
            "user_id": pa.array(readers.ids[reader], pa.string()),
            "book_id": book,
            "user_ctx": pa.array(readers.contexts[reader], pa.string()),
            "book_text": texts.take(pa.array(book)),
            "label": label.astype(np.int64),
        }
    )


def make_pairs(target: Path, *, rows: int, seed: int = 7) -> None:
    """Write ``rows`` pairs as ``target``/part.N.parquet, unless they are there already.

    Raises:
        SystemExit: when ``target`` holds another number of files or rows.
    """
    starts = range(0, rows, ROWS_PER_FILE)
    if target.exists():
        files = list(target.glob("part.*.parquet"))
        if len(files) == len(starts) and sum(pq.read_metadata(file).num_rows for file in files) == rows:
            return
        sys.exit(f"{target}: holds something else than {rows:,} pairs: delete it, or name another folder")
    rng = np.random.default_rng(seed)
    favourites, texts = _book_texts(rng)
    readers = make_readers(rows, favourites, rng)
    partial = target.with_name(f".{target.name}.partial")
    partial.mkdir(parents=True, exist_ok=True)
    for number, start in enumerate(starts):
        table = make_file(readers, pa.array(texts), start=start, stop=min(start + ROWS_PER_FILE, rows))
        pq.write_table(table, partial / f"part.{number}.parquet", compression="snappy")
    partial.rename(target)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Make a table of pairs of random words for the benchmarks.")
    parser.add_argument("target", type=Path, help="folder to write, outside Git")
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--seed", type=int, default=7)
    arguments = parser.parse_args()
    make_pairs(arguments.target, rows=arguments.rows, seed=arguments.seed)
