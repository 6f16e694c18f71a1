"""Candidate lists as they are ranked, all users in one set of arrays, for metrics that have no loop over users.

Tied scores are broken by a hash of (user, book), so neither the order of the rows nor the labels can help or hurt, and
a model that scores all candidates alike lands at chance.
"""

from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd

Numbers = npt.NDArray[np.float64]


class Rankings:
    """Each user's candidates, best score first, users in the order of their ids.

    Attributes:
        ids: of the users, shape (users,), sorted.
        size: candidates of each user, shape (users,).
        user: number of each row's user, shape (pairs,), ascending.
        rank: from 1 within each user, shape (pairs,).
        label: of the candidate at each rank, float, shape (pairs,).
        best_label: as ``label`` would be if the user's highest labels came first, shape (pairs,).
        positive: whether ``label`` is above 0, shape (pairs,).
        positives: of each user, shape (users,).
        found: positives of the user down to each rank, shape (pairs,).
    """

    def __init__(
        self, users: npt.ArrayLike, books: npt.ArrayLike, labels: npt.ArrayLike, scores: npt.ArrayLike
    ) -> None:
        """Rank the candidates.

        Args:
            users, books: ids of each pair, shape (pairs,); a (user, book) occurs once.
            labels: from 0, whole or not, shape (pairs,); above 0 is a positive.
            scores: higher is better, shape (pairs,).
        """
        self.ids, user = np.unique(np.asarray(users, dtype=str), return_inverse=True)
        label = np.asarray(labels, dtype=np.float64)
        self._score, self._user = np.asarray(scores, dtype=np.float64), user
        self.size = np.bincount(user, minlength=len(self.ids))
        self.user = np.sort(user)
        self.rank = 1 + np.arange(len(user)) - np.repeat(np.cumsum(self.size) - self.size, self.size)
        self._order = np.lexsort((_tie_breaker(users, books), -self._score, user))
        self.label = label[self._order]
        self.best_label = label[np.lexsort((-label, user))]
        self.positive = self.label > 0
        self.positives = self.total(self.positive)
        above = np.repeat(np.cumsum(self.positives) - self.positives, self.size)  # of the users above in the table
        self.found = np.cumsum(self.positive) - above

    def ranks(self) -> npt.NDArray[np.int64]:
        """Return the rank of each pair, in the order in which they were given."""
        found = np.empty(len(self.rank), dtype=np.int64)
        found[self._order] = self.rank
        return found

    def total(self, values: npt.ArrayLike) -> Numbers:
        """Return the sum over each user's rows of values of shape (pairs,), shape (users,)."""
        weights = np.asarray(values, dtype=np.float64)
        return np.bincount(self.user, weights=weights, minlength=len(self.ids)).astype(np.float64)

    @cached_property
    def shared_rank(self) -> Numbers:
        """Rank from the worst, 1, within each user, equal scores sharing the mean of theirs; rows as in ``label``."""
        return pd.Series(self._score).groupby(self._user).rank().to_numpy()[self._order]


def _tie_breaker(users: npt.ArrayLike, books: npt.ArrayLike) -> npt.NDArray[np.uint64]:
    pairs = pd.DataFrame({"user": np.asarray(users, dtype=object), "book": np.asarray(books, dtype=object)}, dtype=str)
    return pd.util.hash_pandas_object(pairs, index=False).to_numpy()
