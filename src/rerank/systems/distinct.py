"""Scoring each pair of texts once, however many rows share it, and saying how fast that was."""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

Scores = npt.NDArray[np.floating]


def score_distinct(
    pairs: pd.DataFrame, scorer: Callable[[list[str], list[str]], Scores], *, source: Path | None
) -> Scores:
    """Return one score a row of ``pairs`` from ``scorer(contexts, texts)``, which sees each (context, text) once.

    Args:
        pairs: frame with `rerank.data.pairs.COLUMNS`.
        source: the model's folder, for the printed speed; the loading of the model is not in it.
    """
    texts = ["user_ctx", "book_text"]
    row = pairs.groupby(texts, sort=False).ngroup().to_numpy()
    distinct = pairs.drop_duplicates(texts)
    start = time.perf_counter()
    scores = scorer(distinct["user_ctx"].tolist(), distinct["book_text"].tolist())
    seconds = time.perf_counter() - start
    queries, candidates = pairs["user_id"].nunique() / seconds, len(pairs) / seconds
    print(f"{source}: {queries:,.1f} queries and {candidates:,.0f} candidates a second")
    return scores[row]
