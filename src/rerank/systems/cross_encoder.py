"""The fine-tuned cross-encoder, and the base that it comes from where that is a cross-encoder already."""

from pathlib import Path

import pandas as pd

from rerank.model.folder import Scoring, has_head
from rerank.model.ranker import load
from rerank.systems.distinct import Scores, score_distinct


def score(pairs: pd.DataFrame, source: Path, *, max_length: int, precision: str) -> Scores:
    """Return the raw scores of the cross-encoder in ``source``, as its folder says, or else as the arguments do.

    Raises:
        UserError: see `rerank.model.ranker.load`.
    """
    ranker = load(source, otherwise=Scoring(max_length=max_length, precision=precision))
    return score_distinct(pairs, ranker.score, source=source)


def score_untuned(pairs: pd.DataFrame, source: Path, *, max_length: int, precision: str) -> Scores | None:
    """Return `score`, or None when the base model in ``source`` has no head yet."""
    if not has_head(source):
        return None
    return score(pairs, source, max_length=max_length, precision=precision)
