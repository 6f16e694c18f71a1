"""A bi-encoder, tuned or not: the cosine of two texts, each embedded alone."""

from functools import partial
from pathlib import Path

import pandas as pd
from sentence_transformers import SentenceTransformer

from rerank.model.cosines import cosines
from rerank.systems.distinct import Scores, score_distinct


def score(pairs: pd.DataFrame, source: Path, *, max_length: int, precision: str) -> Scores:
    """Return the `cosines` by the model in ``source``, one a row; texts are cut at its own maximum length."""
    encoder = SentenceTransformer(str(source), local_files_only=True).float()
    return score_distinct(pairs, partial(cosines, encoder, precision=precision), source=source)
