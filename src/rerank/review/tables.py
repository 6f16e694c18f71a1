"""The tables that a revision holds, read from bytes: what is damaged or lacks something is a ValueError that says so.

None for a file that is not there stays None, or is empty.
"""

import io
import json
from collections.abc import Sequence

import numpy as np
import pandas as pd

from rerank.measure.ranking import MAIN
from rerank.measure.scores import KEYS, PREFIX


def _parquet(content: bytes | None) -> pd.DataFrame | None:
    try:
        return None if content is None else pd.read_parquet(io.BytesIO(content))
    except OSError as error:  # damaged inside
        raise ValueError(str(error)) from None


def _check_columns(table: pd.DataFrame, names: Sequence[str]) -> None:
    if missing := [name for name in names if name not in table]:
        raise ValueError(f"it has no column '{missing[0]}'")


def score_table(content: bytes | None) -> pd.DataFrame | None:
    """Return a score table, see `rerank.measure.scores`, ids as texts and labels as numbers, whatever wrote them."""
    table = _parquet(content)
    if table is None:
        return None
    _check_columns(table, KEYS)
    numbers = table[["label", *(name for name in table if name.startswith(PREFIX))]]
    if not np.isfinite(numbers.to_numpy(dtype=np.float64)).all():
        raise ValueError("it holds labels or scores that are no finite numbers")
    if table.duplicated(["user_id", "book_id"]).any():
        raise ValueError("it has a user and book twice")
    return table.astype({"user_id": str, "book_id": str, "label": float})


def texts(content: bytes | None) -> pd.DataFrame | None:
    """Return pairs with their texts, ids as texts."""
    table = _parquet(content)
    if table is None:
        return None
    _check_columns(table, (*KEYS, "user_ctx", "book_text"))
    return table.astype({"user_id": str, "book_id": str}).fillna({"user_ctx": "", "book_text": ""})


def points(content: bytes | None) -> pd.DataFrame | None:
    """Return the points of a plot."""
    return None if content is None else pd.read_csv(io.BytesIO(content))


def seeds(content: bytes | None) -> dict[str, list[float]]:
    """Return nDCG@10 of each system by seed, of what `rerank.measure.seeds` writes."""
    try:
        found = json.loads(content)[MAIN] if content else {}
        return {system: [float(value) for value in values] for system, values in found.items()}
    except (KeyError, TypeError, AttributeError):
        raise ValueError(f"it holds no {MAIN} of systems by seed") from None
