"""A bi-encoder, tuned or not: the cosine of two texts, each embedded alone."""

from functools import partial
from pathlib import Path

import pandas as pd

from rerank.model.cosines import cosines
from rerank.model.encoder import open_bi_encoder
from rerank.systems.distinct import Scores, score_distinct


def score(pairs: pd.DataFrame, source: Path, *, max_length: int, precision: str) -> Scores:
    """Return the `cosines` by the model in ``source``, one a row, see `open_bi_encoder`."""
    return score_distinct(pairs, partial(cosines, open_bi_encoder(source), precision=precision), source=source)
