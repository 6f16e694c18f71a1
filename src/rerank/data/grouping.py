"""Groups of pairs that share a text, directly or through others, and what is cleaned away before."""

import hashlib
from typing import Any

import numpy as np
import pandas as pd
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from rerank.data.pairs import COLUMNS
from rerank.errors import UserError

REASONS = ("empty_texts", "contradictions", "duplicates", "leaked", "beyond_max_pairs")
SPLIT_NAMES = {"train": "train", "validation": "validation", "valid": "validation", "dev": "validation", "test": "test"}
ALL = "all"


def connected(left: pd.Series, right: pd.Series) -> pd.Series:
    """Return each pair's group: the lowest text id of all pairs that share a text with it, directly or through others.

    Args:
        left, right: ids of the two texts, shape (pairs,).
    """
    number, ids = pd.factorize(np.concatenate([left, right]), sort=True)
    ends = np.split(number, 2)
    graph = coo_matrix((np.ones(len(left), dtype=bool), ends), shape=(len(ids), len(ids)))
    component = connected_components(graph, directed=False)[1]
    lowest = pd.Series(ids).groupby(component).first()  # ids are sorted
    return pd.Series(lowest.loc[component[ends[0]]].to_numpy(), index=left.index)


def _clean(pairs: pd.DataFrame, *, given: bool) -> pd.Series:
    """Return why each row goes, one of `REASONS`, or None; rows that the source put outside training stay."""
    key = ["left", "right"]
    changeable = pairs["split"].isin(["train", ALL])
    filled = (pairs["user_ctx"].fillna("").str.strip() != "") & (pairs["book_text"].fillna("").str.strip() != "")
    reason = pd.Series(None, index=pairs.index, dtype=object)
    reason[~filled] = "empty_texts"
    rest = pairs[filled & changeable]
    labels = rest.groupby(key)["label"].transform("nunique")
    reason[rest.index[labels > 1]] = "contradictions"
    rest = rest[labels == 1]
    reason[rest.index[rest.duplicated(key)]] = "duplicates"
    if given:
        held_out = pd.MultiIndex.from_frame(pairs.loc[~changeable, key])
        reason[rest.index[pd.MultiIndex.from_frame(rest[key]).isin(held_out)]] = "leaked"
    return reason


def _fitting(sizes: dict[str, int], *, seed: int, max_pairs: int) -> set[str]:
    """Return the groups that stay: by hash order, each that leaves their pairs at ``max_pairs`` or fewer."""
    left, fitting = max_pairs, set()
    for name in sorted(sizes, key=lambda name: hashlib.md5(f"group|{seed}|{name}".encode()).hexdigest()):
        if sizes[name] <= left:
            fitting.add(name)
            left -= sizes[name]
    return fitting


def group(pairs: pd.DataFrame, *, seed: int, max_pairs: int | None) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Return the pairs that stay, with their group as user_id and both ids as book_id, and the counts.

    A pair is the same in both orders. The reasons in ``dropped`` are tried in this order: empty_texts, contradictions
    (all rows of a pair with different labels), duplicates (further rows of a pair), leaked (training pairs that the
    source has in its validation or test set too), beyond_max_pairs (whole groups by hash order,
    each one that still fits).

    Args:
        pairs: columns of `rerank.data.pairs`; with a column ``split`` (train, validation or dev, test) where the source
            gives it.

    Raises:
        UserError: for a split of another name, or when no pair is left.
    """
    given = "split" in pairs
    pairs = pairs.sort_values(["user_id", "book_id", "label", "user_ctx", "book_text"], ignore_index=True)
    names = pairs["split"].map(SPLIT_NAMES) if given else pd.Series(ALL, index=pairs.index)
    if names.isna().any():
        wrong = pairs.loc[names.isna(), "split"].iloc[0]
        raise UserError(f"split_column: holds {wrong!r}: each pair's must be one of {', '.join(SPLIT_NAMES)}")
    pairs = pairs.assign(
        split=names, left=pairs[["user_id", "book_id"]].min(axis=1), right=pairs[["user_id", "book_id"]].max(axis=1)
    )
    reason = _clean(pairs, given=given)
    kept = pairs[reason.isna()].copy()
    kept["user_id"] = kept["split"] + ":" if given else ""
    for _, part in kept.groupby("split"):
        kept.loc[part.index, "user_id"] += connected(part["left"], part["right"])
    kept["book_id"] = kept["left"] + "|" + kept["right"]
    if given:  # a held-out set may hold a pair twice
        copy = kept.groupby(["user_id", "book_id"]).cumcount()
        kept["book_id"] += np.where(copy > 0, "|" + copy.astype(str), "")
    if max_pairs is not None and not given:
        sizes = kept["user_id"].value_counts()
        beyond = ~kept["user_id"].isin(_fitting(sizes.to_dict(), seed=seed, max_pairs=max_pairs))
        reason[kept.index[beyond]] = "beyond_max_pairs"
        kept = kept[~beyond]
    counts = reason.value_counts()
    if kept.empty:
        dropped = ", ".join(f"{counts.get(name, 0):,} {name}" for name in REASONS)
        raise UserError(f"group: none of {len(pairs):,} pairs is left ({dropped}): correct the pairs or max_pairs")
    sizes = kept["user_id"].value_counts()
    return kept[[*COLUMNS, *(["split"] if given else [])]], {
        "raw": {"rows": len(pairs)},
        "dropped": {name: int(counts.get(name, 0)) for name in REASONS},
        "sampled": {
            "rows": len(kept),
            "texts": len(np.unique(kept[["user_ctx", "book_text"]].to_numpy(dtype=object).astype(str))),
            "groups": len(sizes),
            "largest_group": int(sizes.max()),
            "mean_label": round(float(kept["label"].mean()), 6),
        },
    }


def summary(counts: dict[str, Any], *, left_out: int) -> dict[str, int]:
    """Return the few counts that are compared between runs; of the files left out only where there are any."""
    return {
        "rows": counts["sampled"]["rows"],
        "groups": counts["sampled"]["groups"],
        **({"left_out": left_out} if left_out else {}),
    }
