"""Popularity: how many training positives a book has, whoever asks."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from rerank.systems.distinct import Scorer


def popularity(books: pd.Series, positives: pd.Series) -> npt.NDArray[np.float64]:
    """Return how many training positives each book has, 0 when it has none.

    Args:
        books: ids, shape (pairs,).
        positives: counts, indexed by book_id.
    """
    return books.map(positives).fillna(0).to_numpy(dtype=np.float64)


def opened(source: Path, *, max_length: int, precision: str, progress: bool = True) -> Scorer:
    """Return what scores a pair with the `popularity` of its book by the table ``source``: book_id, positives."""
    positives = pd.read_parquet(source).set_index("book_id")["positives"]
    return lambda pairs: popularity(pairs["book_id"], positives)
