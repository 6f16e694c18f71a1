"""The folder that the stage coreading writes, and the systems that score with it: item-kNN and EASE.

books.parquet has the books that somebody liked, catalogue.parquet by which title and text each book is known, and
NAME.parquet a system's neighbours: book and neighbour by their rows in books.parquet, and the weight.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import sparse

from rerank.systems import coreading
from rerank.systems.distinct import Scorer


def write(
    folder: Path,
    *,
    books: npt.NDArray[np.object_],
    catalogue: pd.DataFrame,
    neighbours: Mapping[str, sparse.csr_array],
) -> None:
    """Write the tables into ``folder``, which exists."""
    pd.DataFrame({"book_id": books}).to_parquet(folder / "books.parquet", index=False)
    catalogue.to_parquet(folder / "catalogue.parquet", index=False)
    for name, weights in neighbours.items():
        table = weights.tocoo()
        pd.DataFrame({"book": table.row, "neighbour": table.col, "weight": table.data.astype(np.float32)}).to_parquet(
            folder / f"{name}.parquet", index=False
        )


def opened(source: Path, *, system: str) -> Scorer:
    """Return what gives the `coreading.scores` with the neighbours of ``system`` in the folder ``source``."""
    books = pd.read_parquet(source / "books.parquet")["book_id"].to_numpy(dtype=object)
    table = pd.read_parquet(source / f"{system}.parquet")
    weights = (table["weight"].to_numpy(), (table["book"].to_numpy(), table["neighbour"].to_numpy()))
    neighbours = sparse.csr_array(weights, shape=(len(books), len(books)))
    catalogue = pd.read_parquet(source / "catalogue.parquet")
    return lambda pairs: coreading.scores(
        pairs["user_ctx"].tolist(),
        pairs["book_id"].tolist(),
        catalogue=catalogue,
        known=books,
        neighbours=neighbours,
    )


def item_knn(source: Path, *, max_length: int, precision: str, progress: bool = True) -> Scorer:
    """Return what scores with item-kNN; it says None where no favourite of any context is known."""
    return opened(source, system="item_knn")


def ease(source: Path, *, max_length: int, precision: str, progress: bool = True) -> Scorer:
    """Return what scores with EASE; it says None where no favourite of any context is known."""
    return opened(source, system="ease")
