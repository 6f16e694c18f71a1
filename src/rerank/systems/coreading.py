"""Co-reading: which books the readers of a context's favourites liked as well. Item-kNN and EASE, fitted in seconds.

Both are one table of neighbours: how much a favourite speaks for another book. Neither reads a text but the titles by
which a favourite is found, so a book that no training reader has liked scores 0, and so do all where no favourite is
known.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import sparse

from rerank.data.favourites import found

# Neighbours kept of a book, the strongest: it bounds the memory at a million books.
NEIGHBOURS = 200
# EASE inverts a dense matrix of the books with most readers: 0.8 GB a copy, of which there are four, at this number.
EASE_BOOKS = 10_000
# Rows of a matrix that are computed at a time, and products of two readers' or books' lists.
BLOCK = 1_000
PRODUCTS = 20_000_000


@dataclass(frozen=True)
class Interactions:
    """Who liked what, in training alone.

    Attributes:
        readers, books: ids, shape (readers,) and (books,), sorted.
        liked: 1 where a reader liked a book, shape (readers, books).
    """

    readers: npt.NDArray[np.object_]
    books: npt.NDArray[np.object_]
    liked: sparse.csr_array

    @classmethod
    def of(cls, rows: pd.DataFrame) -> Self:
        """Build it from a frame with user_id and book_id, in which a pair may occur more than once."""
        rows = rows[["user_id", "book_id"]].drop_duplicates()
        book, books = pd.factorize(rows["book_id"], sort=True)
        user, users = pd.factorize(rows["user_id"], sort=True)
        ones = np.ones(len(rows), dtype=np.float32)
        liked = sparse.csr_array((ones, (user, book)), shape=(len(users), len(books)))
        return cls(np.asarray(users, dtype=object), np.asarray(books, dtype=object), liked)


def _blocks(work: npt.NDArray[np.floating]) -> list[slice]:
    """Return slices of at most `BLOCK` items, and of `PRODUCTS` of work unless a single item has more."""
    slices, start, done = [], 0, 0.0
    for place, one in enumerate(work):
        if place > start and (place - start == BLOCK or done + one > PRODUCTS):
            slices.append(slice(start, place))
            start, done = place, 0.0
        done += float(one)
    return [*slices, slice(start, len(work))] if len(work) else []


def _strongest(weights: sparse.coo_array) -> sparse.csr_array:
    """Return the `NEIGHBOURS` largest of each row by size; of equal ones the first."""
    order = np.lexsort((weights.col, -np.abs(weights.data), weights.row))
    row = weights.row[order]
    first = np.searchsorted(row, np.arange(weights.shape[0]))
    kept = order[np.arange(len(row)) - first[row] < NEIGHBOURS]
    return sparse.csr_array((weights.data[kept], (weights.row[kept], weights.col[kept])), shape=weights.shape)


def item_knn(interactions: Interactions, *, exponent: float, shrinkage: float) -> sparse.csr_array:
    """Return the similarity of each book with its strongest neighbours, shape (books, books).

    Common readers / ((readers of one x readers of the other)^exponent + shrinkage): with 0.5 and 0 the cosine (Sarwar
    et al. 2001), shrunk as by Bell & Koren 2007. A larger exponent takes more from books that everybody reads.
    """
    liked = interactions.liked.astype(np.float32)
    readers = liked.sum(axis=0).astype(np.float64)
    readers_of = liked.T.tocsr()
    blocks = []
    for some in _blocks(readers_of @ liked.sum(axis=1)):
        common = (readers_of[some] @ liked).tocoo()
        other = common.row + some.start != common.col
        row, column = common.row[other], common.col[other]
        norm = (readers[row + some.start] * readers[column]) ** exponent + shrinkage
        weights = (common.data[other] / norm).astype(np.float32)
        blocks.append(_strongest(sparse.coo_array((weights, (row, column)), shape=common.shape)))
    return sparse.vstack(blocks, format="csr") if blocks else sparse.csr_array((0, 0), dtype=np.float32)


def ease(interactions: Interactions, *, regularisation: float) -> sparse.csr_array:
    """Return the weights of EASE (Steck 2019), the strongest of each book, shape (books, books).

    B = I - P / diag(P) with P = (liked' liked + regularisation I)^-1: the linear model that predicts every book of a
    reader from the others. Of more than `EASE_BOOKS` books those with the most readers have weights.
    """
    readers = interactions.liked.sum(axis=0)
    chosen = np.sort(np.argsort(-readers, kind="stable")[:EASE_BOOKS])
    liked = interactions.liked[:, chosen].astype(np.float64)
    gram = (liked.T @ liked).toarray()
    gram[np.diag_indices_from(gram)] += regularisation
    inverse = np.linalg.inv(gram)
    weights = (-inverse / np.diag(inverse)).astype(np.float32)
    np.fill_diagonal(weights, 0)
    blocks = [_strongest(sparse.coo_array(weights[start : start + BLOCK])) for start in range(0, len(chosen), BLOCK)]
    found = sparse.vstack(blocks).tocoo() if blocks else sparse.coo_array((0, 0), dtype=np.float32)
    shape = (len(readers), len(readers))
    return sparse.csr_array((found.data, (chosen[found.row], chosen[found.col])), shape=shape)


def taught(
    pairs: pd.DataFrame,
    interactions: Interactions,
    *,
    catalogue: pd.DataFrame,
    exponent: float,
    shrinkage: float,
) -> npt.NDArray[np.float64]:
    """Return the item-kNN score of each training pair as if its reader were none, shape (pairs,).

    The reader's own liking is taken out of the common readers and of the readers of both books: it is what the score
    has to predict.

    Args:
        pairs: of training readers: user_id, book_id, user_ctx.
        interactions: of all training readers, their favourites among them.
        catalogue: see `rerank.data.favourites.catalogue`.
        exponent, shrinkage: see `item_knn`.
    """
    context, distinct = pd.factorize(pairs["user_ctx"])
    favourites = vectors(list(distinct), catalogue=catalogue, known=interactions.books)
    book = pd.Index(interactions.books).get_indexer(pairs["book_id"].to_numpy(dtype=object))
    reader = pd.Index(interactions.readers).get_indexer(pairs["user_id"].to_numpy(dtype=object))
    rows = np.flatnonzero((book >= 0) & (reader >= 0))
    named = favourites[context[rows]].tocoo()
    other = named.col != book[rows[named.row]]
    row, favourite, share = rows[named.row[other]], named.col[other], named.data[other]
    counts = interactions.liked.sum(axis=0)
    own = np.asarray(interactions.liked[reader[row], book[row]]).ravel()
    own_favourite = np.asarray(interactions.liked[reader[row], favourite]).ravel()
    common = _common(interactions, favourite, book[row]) - own * own_favourite
    readers = np.maximum(counts[favourite] - own_favourite, 1) * np.maximum(counts[book[row]] - own, 1)
    said = share * common / (readers**exponent + shrinkage)
    return np.bincount(row, weights=said, minlength=len(pairs)).astype(np.float64)


def _common(
    interactions: Interactions, one: npt.NDArray[np.integer], other: npt.NDArray[np.integer]
) -> npt.NDArray[np.float64]:
    """Return how many readers like both books of each couple, shape (couples,); an equal one is counted once."""
    books = len(interactions.books)
    couples, couple = np.unique(one.astype(np.int64) * books + other, return_inverse=True)
    left, right = couples // max(books, 1), couples % max(books, 1)
    readers_of, counts = interactions.liked.T.tocsr(), interactions.liked.sum(axis=0)
    found = np.zeros(len(couples))
    for some in _blocks(counts[left] + counts[right]):
        found[some] = readers_of[left[some]].multiply(readers_of[right[some]]).sum(axis=1)
    return found[couple]


def scores(
    contexts: Sequence[str],
    books: Sequence[str],
    *,
    catalogue: pd.DataFrame,
    known: npt.NDArray[np.object_],
    neighbours: sparse.csr_array,
) -> npt.NDArray[np.float64] | None:
    """Return how much the favourites of each context speak for a book, shape (pairs,): the sum of their weights.

    Args:
        contexts, books: of each pair: the context, and the id of the book.
        catalogue: see `rerank.data.favourites.catalogue`.
        known: ids of the books that ``neighbours`` has, sorted.

    Returns:
        0 for a book that is not known; None when no favourite of any context is known.
    """
    context, distinct = pd.factorize(np.asarray(contexts, dtype=object))
    favourites = vectors(list(distinct), catalogue=catalogue, known=known)
    return spoken(favourites, context, books, known=known, neighbours=neighbours) if favourites.nnz else None


def spoken(
    favourites: sparse.csr_array,
    context: npt.NDArray[np.integer],
    books: Sequence[str],
    *,
    known: npt.NDArray[np.object_],
    neighbours: sparse.csr_array,
) -> npt.NDArray[np.float64]:
    """Return the `scores` of pairs whose favourites are looked up already, shape (pairs,).

    Args:
        favourites: of each distinct context, from `vectors`.
        context: the row of ``favourites`` of each pair, shape (pairs,).
    """
    book = pd.Index(known).get_indexer(np.asarray(books, dtype=object))
    rows = np.flatnonzero(book >= 0)
    rows = rows[np.argsort(context[rows], kind="stable")]
    values = np.zeros(len(book))
    for start in range(0, favourites.shape[0], BLOCK):
        some = rows[slice(*np.searchsorted(context[rows], [start, start + BLOCK]))]
        said = favourites[start : start + BLOCK] @ neighbours
        values[some] = np.asarray(said[context[some] - start, book[some]]).ravel()
    return values


def vectors(contexts: Sequence[str], *, catalogue: pd.DataFrame, known: npt.NDArray[np.object_]) -> sparse.csr_array:
    """Return 1 where a context names a known book, or its share of a title, shape (contexts, known)."""
    named = found(contexts, catalogue)
    book = pd.Index(known).get_indexer(named["book_id"].to_numpy(dtype=object))
    some = book >= 0
    share = named["share"].to_numpy(dtype=np.float32)[some]
    return sparse.csr_array((share, (named["context"].to_numpy()[some], book[some])), shape=(len(contexts), len(known)))
