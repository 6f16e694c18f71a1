"""Fitting item-kNN and EASE: every setting of a small grid on what training readers liked, the best on validation."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import sparse

from rerank.data import favourites as known
from rerank.lists import numbers, warm
from rerank.measure.quality import quality
from rerank.systems import coreading
from rerank.systems.fusion import standardised

METRIC = "ndcg@10"


@dataclass(frozen=True)
class Fitted:
    """Co-reading, fitted.

    Attributes:
        books: ids of the books that somebody liked, shape (books,), sorted.
        catalogue: see `rerank.data.favourites.catalogue`.
        neighbours: system → its weights, shape (books, books).
        teacher: user_id, book_id and teacher: of each training pair the score of item-kNN without the reader, see
            `coreading.taught`, standardised within the reader's list.
        chosen: what a person may want to know: each system's setting and its validation metric, and how many
            favourites were found.
    """

    books: npt.NDArray[np.object_]
    catalogue: pd.DataFrame
    neighbours: dict[str, sparse.csr_array]
    teacher: pd.DataFrame
    chosen: dict[str, Any]


def fit(
    train: pd.DataFrame,
    validation: pd.DataFrame,
    interactions: pd.DataFrame,
    books: pd.DataFrame,
    *,
    title_pattern: str | None,
    favourite_parts: str | None = None,
    item_knn_exponents: Sequence[float],
    item_knn_shrinkages: Sequence[float],
    ease_regularisations: Sequence[float],
) -> Fitted:
    """Fit both systems to what the training readers liked: their clean positives, and the favourites they name.

    A favourite whose title several books have is none: which one was meant?

    Args:
        train, validation: frames with `rerank.data.pairs.COLUMNS`.
        interactions: user_id and book_id of all clean positives of the training readers.
        books: book_id, book_text and cold of every book; cold ones are no reader's favourite here.
        title_pattern: see `rerank.data.leaks.named_title`; None: no favourite is found.
        favourite_parts: of the catalogue, see there.
        The lists are the settings to try, see `coreading`.

    Raises:
        UserError: when validation can't be measured.
    """
    catalogue = known.catalogue(books, title_pattern=title_pattern, favourite_parts=favourite_parts)
    readers = train[["user_id", "user_ctx"]].drop_duplicates().reset_index(drop=True)
    named = known.found(readers["user_ctx"].tolist(), catalogue)
    sure = named[named["share"] == 1]
    favourites = pd.DataFrame(
        {"user_id": readers["user_id"].to_numpy()[sure["context"]], "book_id": sure["book_id"].to_numpy()}
    )
    favourites = favourites[~favourites["book_id"].isin(books.loc[books["cold"], "book_id"])]
    liked = coreading.Interactions.of(pd.concat([interactions, favourites], ignore_index=True))
    watched = warm(validation)
    context, contexts = pd.factorize(watched["user_ctx"])
    vectors = coreading.vectors(list(contexts), catalogue=catalogue, known=liked.books)
    of_knn = product(item_knn_exponents, item_knn_shrinkages)
    settings: dict[str, tuple[Callable[..., sparse.csr_array], list[dict[str, float]]]] = {
        "item_knn": (coreading.item_knn, [{"exponent": one, "shrinkage": other} for one, other in of_knn]),
        "ease": (coreading.ease, [{"regularisation": one} for one in ease_regularisations]),
    }
    neighbours: dict[str, sparse.csr_array] = {}
    chosen: dict[str, Any] = {"title_pattern": title_pattern}
    for system, (function, tried) in settings.items():
        neighbours[system], chosen[system] = _best(system, function, tried, liked, watched, context, vectors)
    chosen["favourites_found_per_context"] = {
        "train": len(named) / len(readers),
        "validation": len(known.found(list(contexts), catalogue)) / len(contexts),
    }
    knn = {name: chosen["item_knn"][name] for name in ("exponent", "shrinkage")}
    lessons = coreading.taught(train, liked, catalogue=catalogue, **knn)
    teacher = train[["user_id", "book_id"]].assign(teacher=standardised(lessons, numbers(train)))
    return Fitted(liked.books, catalogue, neighbours, teacher, chosen)


def _best(
    system: str,
    function: Callable[..., sparse.csr_array],
    settings: Sequence[dict[str, float]],
    liked: coreading.Interactions,
    watched: pd.DataFrame,
    context: npt.NDArray[np.integer],
    favourites: sparse.csr_array,
) -> tuple[sparse.csr_array, dict[str, float]]:
    """Return the weights with the best validation metric, the first of equal ones, and their setting."""
    best: tuple[float, sparse.csr_array, dict[str, float]] | None = None
    for setting in settings:
        weights = function(liked, **setting)
        books = watched["book_id"].tolist()
        values = coreading.spoken(favourites, context, books, known=liked.books, neighbours=weights)
        value = quality(METRIC, watched, values, split="validation")
        print(f"{system} {setting}: validation {METRIC} {value:.4f}", flush=True)
        if best is None or value > best[0]:
            best = value, weights, {**setting, f"validation_{METRIC}": value}
    assert best is not None, "there is at least one setting"
    return best[1], best[2]
