"""Contexts that say more: after each favourite, in brackets, what its own text says, such as its genres.

A small model of texts does not know titles, so that a context of titles alone says little to it. Nothing of a candidate
is told: what is added comes from the favourites' own texts, and which those are from the context. What stands in
brackets is no favourite for `rerank.data.leaks`, so the same favourites are found before and after.
"""

import re
from collections.abc import Callable, Sequence

import duckdb
import pandas as pd

from rerank.data.favourites import catalogue as catalogue_of
from rerank.data.favourites import found

# What separates favourites wherever it stands, see `rerank.data.leaks`.
SEPARATORS = re.compile(r"([\r\n|;；•]+)")


def told(contexts: Sequence[str], catalogue: pd.DataFrame) -> list[str]:
    """Return each context with the parts of its favourites: ``A by B (fantasy, classics); C by D (horror)``.

    A favourite whose title several books have gets none: which one was meant? Where nothing but "," and "and" separate
    favourites, their parts stand together at the end.

    Args:
        catalogue: see `rerank.data.favourites.catalogue`; a book without a part adds nothing.
    """
    parts = catalogue.set_index("book_id")["part"].dropna()
    if parts.empty:
        return list(contexts)
    pieces = [SEPARATORS.split(context) for context in contexts]
    distinct = list(dict.fromkeys(piece for some in pieces for piece in some))
    named = found(distinct, catalogue)
    named = named[(named["share"] == 1) & named["book_id"].isin(parts.index)]
    added = (
        parts.loc[named["book_id"]]
        .groupby(named["context"].to_numpy())
        .agg(lambda some: "; ".join(dict.fromkeys(some)))
    )
    more = {distinct[number]: _with(distinct[number], part) for number, part in added.items()}
    return ["".join(more.get(piece, piece) for piece in some) for some in pieces]


def tell(
    connection: duckdb.DuckDBPyConnection,
    pairs: duckdb.DuckDBPyRelation,
    *,
    books: Callable[[], pd.DataFrame],
    title_pattern: str | None,
    favourite_parts: str | None,
) -> duckdb.DuckDBPyRelation:
    """Return ``pairs`` with their contexts `told`, in any order; as they are where ``favourite_parts`` is None.

    Args:
        connection: that of ``pairs``.
        pairs: relation with user_ctx and more.
        books: gives the books to find favourites among, see `rerank.data.favourites.catalogue`.
    """
    if favourite_parts is None:
        return pairs
    contexts = pairs.project("user_ctx").distinct().order("user_ctx").df()
    catalogue = catalogue_of(books(), title_pattern=title_pattern, favourite_parts=favourite_parts)
    contexts["told"] = told(contexts["user_ctx"].tolist(), catalogue)
    connection.register("told_contexts", contexts)
    both = pairs.set_alias("pairs").join(connection.table("told_contexts"), "user_ctx")
    return both.project(", ".join("told AS user_ctx" if name == "user_ctx" else f'"{name}"' for name in pairs.columns))


def _with(piece: str, part: str) -> str:
    """Return a piece of a context with a part in brackets, before the blanks and signs at its end."""
    end = len(piece.rstrip(" \t,:"))
    return f"{piece[:end]} ({part}){piece[end:]}"
