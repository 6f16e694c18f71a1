"""Simulate readers of 600 real books and write their pairs, byte for byte the same each time.

    python data/demo/make_pairs.py data/demo/books.csv data/demo/pairs.parquet

The books are facts (title, author, year, genres) with a one-sentence description in our own words; the readers are
made up. A reader belongs to two of the ten circles in `CIRCLES`, the first with most of the weight. How much a reader
likes a book is

    4 x the sum, over the book's genres, of what the reader's circles think of them (0.85 the first, 0.15 the second)
    + 0.8 if the book is of the reader's era (before or after 1970), for the two readers in three who care
    + the book's own quality, normal, 0.4
    + a whim, normal, 0.4

Readers come across books in proportion to popularity (Zipf, exponent 0.7), and somewhat more to books that they like;
the best sixth of what they came across are their positives, the rest the negatives. From two to six of the positives
become the favourites in the context and leave the pairs. On top of that, on purpose, come the flaws of real tables:
3 % of the labels flipped, repeated rows, contradicting rows, favourites left among the pairs, blank texts.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

SEED = 7
READERS = 400
MET = 120

CIRCLES = {
    "stargazers": {"science fiction": 1.0, "science": 0.7, "dystopia": 0.7, "philosophy": 0.4, "romance": -0.6},
    "wayfarers": {"fantasy": 1.0, "mythology": 0.8, "adventure": 0.6, "young adult": 0.3, "business": -0.7},
    "sleuths": {"mystery": 1.0, "crime": 0.9, "thriller": 0.6, "psychology": 0.4, "fantasy": -0.6},
    "romantics": {"romance": 1.0, "historical fiction": 0.5, "young adult": 0.4, "horror": -0.8, "war": -0.3},
    "chroniclers": {"history": 1.0, "biography": 0.8, "war": 0.7, "politics": 0.5, "young adult": -0.6},
    "seekers": {"philosophy": 1.0, "psychology": 0.8, "poetry": 0.6, "memoir": 0.4, "thriller": -0.6},
    "wanderers": {"travel": 1.0, "nature": 0.9, "memoir": 0.6, "adventure": 0.5, "crime": -0.6},
    "night owls": {"horror": 1.0, "thriller": 0.8, "dystopia": 0.5, "magical realism": 0.3, "memoir": -0.5},
    "stylists": {"literary fiction": 0.9, "classics": 0.6, "magical realism": 0.9, "poetry": 0.5, "business": -0.5},
    "young at heart": {"children": 1.0, "humor": 0.8, "coming of age": 0.6, "fantasy": 0.3, "politics": -0.6},
}


def book_text(book: pd.Series) -> str:
    """Return what the model reads about a book."""
    title = f"{book.title}: {book.subtitle}" if book.subtitle else book.title
    title += f" ({book.series})" if book.series else ""
    parts = {"Genres": book.genres, "Author": book.author, "Year": book.year, "Description": book.description}
    return " | ".join([f"Title: {title}", *(f"{name}: {value}" for name, value in parts.items())])


def context(favourites: pd.DataFrame) -> str:
    """Return what the model reads about a reader."""
    titles = [f"{book.title} by {book.author} ({book.genres.split(', ')[0]})" for book in favourites.itertuples()]
    return "Favorite books: " + "; ".join(titles)


def tastes(books: pd.DataFrame) -> np.ndarray:
    """Return what each circle thinks of each book, shape (circles, books): summed over the book's genres."""
    genres = [genre.split(", ") for genre in books["genres"]]
    return np.array([[np.sum([circle.get(g, 0.0) for g in names]) for names in genres] for circle in CIRCLES.values()])


def read_and_judge(books: pd.DataFrame, random: np.random.RandomState) -> pd.DataFrame:
    """Return the pairs of all readers, without flaws."""
    circles = tastes(books)
    quality = random.normal(0, 0.4, len(books))
    popularity = 1 / (1 + random.permutation(len(books))) ** 0.7
    old = books["year"].to_numpy() < 1970
    text = books.apply(book_text, axis=1)
    readers = []
    for number in range(READERS):
        first, second = random.choice(len(CIRCLES), size=2, replace=False)
        liking = 4 * (0.85 * circles[first] + 0.15 * circles[second])
        era = random.choice([-1, 0, 1])
        utility = liking + 0.8 * (era == np.where(old, -1, 1)) + quality + random.normal(0, 0.4, len(books))
        chance = popularity * np.exp(np.minimum(0.2 * liking, 3))
        met = random.choice(len(books), size=MET, replace=False, p=chance / chance.sum())
        best_first = met[np.argsort(-utility[met], kind="stable")]
        positives = best_first[: MET // 6]
        favourites = random.choice(positives, size=random.randint(2, 7), replace=False)
        pairs = pd.DataFrame({"book_id": books["book_id"].to_numpy()[met], "book_text": text.to_numpy()[met]})
        pairs["label"] = np.isin(met, positives).astype(np.int64)
        pairs.insert(0, "user_id", f"reader-{number:03d}")
        pairs.insert(2, "user_ctx", context(books.iloc[favourites]))
        pairs["favourite"] = np.isin(met, favourites)
        readers.append(pairs)
    return pd.concat(readers, ignore_index=True)


def with_flaws(pairs: pd.DataFrame, random: np.random.RandomState) -> pd.DataFrame:
    """Return the pairs in mixed order with the flaws that the cleaning has to find."""
    leaked = pairs["favourite"] & (random.random_sample(len(pairs)) < 0.05)
    pairs = pairs[~pairs["favourite"] | leaked].drop(columns="favourite").reset_index(drop=True)
    flipped = random.random_sample(len(pairs)) < 0.03
    pairs["label"] = np.where(flipped, 1 - pairs["label"], pairs["label"])
    repeated = pairs.iloc[random.choice(len(pairs), 150, replace=False)]
    contradicting = pairs.iloc[random.choice(len(pairs), 60, replace=False)].assign(
        label=lambda rows: 1 - rows["label"]
    )
    blank = random.choice(len(pairs), 40, replace=False)
    pairs.loc[blank, "book_text"] = " "
    pairs = pd.concat([pairs, repeated, contradicting], ignore_index=True)
    return pairs.iloc[random.permutation(len(pairs))].reset_index(drop=True)


def main(books_file: Path, pairs_file: Path) -> None:
    # RandomState, not Generator: its streams are frozen, so a newer NumPy makes the same readers.
    random = np.random.RandomState(SEED)
    books = pd.read_csv(books_file, keep_default_na=False)
    pairs = with_flaws(read_and_judge(books, random), random)
    table = pa.Table.from_pandas(pairs, preserve_index=False).replace_schema_metadata(None)
    pq.write_table(table, pairs_file, compression="zstd", compression_level=19)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
