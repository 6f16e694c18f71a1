"""A bi-encoder, tuned or not: the cosine of two texts, each embedded alone."""

from pathlib import Path

from rerank.model.cosines import Cosines
from rerank.model.encoder import open_bi_encoder
from rerank.systems.distinct import Scorer, distinct


def opened(source: Path, *, max_length: int, precision: str, progress: bool = True) -> Scorer:
    """Return what scores with the `Cosines` by the model in ``source``, see `open_bi_encoder`."""
    return distinct(Cosines(open_bi_encoder(source), precision=precision, progress=progress))
