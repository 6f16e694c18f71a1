"""Scoring each pair of texts once, however many rows share it."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pandas as pd

Scores = npt.NDArray[np.floating]
# A system that is ready to score: from a frame with `rerank.data.pairs.COLUMNS` one score a row, higher is better, or
# None where it knows nothing of any row.
Scorer = Callable[[pd.DataFrame], Scores | None]


def distinct(texts_scorer: Callable[[list[str], list[str]], Scores]) -> Scorer:
    """Return the scorer of pairs by ``texts_scorer(contexts, texts)``, which sees each (context, text) once."""

    def score(pairs: pd.DataFrame) -> Scores:
        texts = ["user_ctx", "book_text"]
        row = pairs.groupby(texts, sort=False).ngroup().to_numpy()
        some = pairs.drop_duplicates(texts)
        return texts_scorer(some["user_ctx"].tolist(), some["book_text"].tolist())[row]

    return score
