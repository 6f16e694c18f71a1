"""The fine-tuned cross-encoder, and the base that it comes from where that is a cross-encoder already."""

from functools import partial
from pathlib import Path

import pandas as pd

from rerank.errors import UserError
from rerank.model import encoder
from rerank.systems.distinct import Scores, score_distinct


def score(pairs: pd.DataFrame, source: Path, *, max_length: int, precision: str) -> Scores:
    """Return the raw scores of the cross-encoder in ``source``.

    Raises:
        UserError: when the model gives no score for a pair, or several, or reads fewer than ``max_length`` tokens.
    """
    if not encoder.has_head(source):
        raise UserError(f"{source}: gives no score for a pair of texts: set base_model to a cross-encoder")
    model = encoder.build(source, max_length=max_length, dropout=0.0, seed=0)
    return score_distinct(pairs, partial(encoder.score, model, precision=precision), source=source)


def score_untuned(pairs: pd.DataFrame, source: Path, *, max_length: int, precision: str) -> Scores | None:
    """Return `score`, or None when the base model in ``source`` has no head yet."""
    if not encoder.has_head(source):
        return None
    return score(pairs, source, max_length=max_length, precision=precision)
