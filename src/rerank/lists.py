"""The two candidate lists of a user: warm books, and cold ones, which training has never seen.

A table of pairs or scores says in its column ``cold`` which list a row belongs to; without one all are warm. A leaf:
every room may import it.
"""

import numpy as np
import numpy.typing as npt
import pandas as pd

COLD = "cold"


def is_cold(pairs: pd.DataFrame) -> npt.NDArray[np.bool_]:
    """Return whether each row belongs to a cold list, shape (pairs,)."""
    return pairs[COLD].to_numpy(dtype=bool) if COLD in pairs else np.zeros(len(pairs), dtype=bool)


def warm(pairs: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the warm lists."""
    return pairs[~is_cold(pairs)]


def cold(pairs: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the cold lists."""
    return pairs[is_cold(pairs)]


def numbers(pairs: pd.DataFrame) -> npt.NDArray[np.intp]:
    """Return the number of each row's list, from 0, shape (pairs,)."""
    return pairs["user_id"].groupby([pairs["user_id"], is_cold(pairs)]).ngroup().to_numpy()
