"""The fine-tuned cross-encoder, and the base that it comes from where that is a cross-encoder already."""

from pathlib import Path

from rerank.model.folder import Scoring, has_head
from rerank.model.ranker import load
from rerank.systems.distinct import Scorer, distinct


def opened(source: Path, *, max_length: int, precision: str, progress: bool = True) -> Scorer:
    """Return what gives the raw scores of the cross-encoder in ``source``, as its folder says, or the arguments do.

    Raises:
        UserError: see `rerank.model.ranker.load`.
    """
    how = Scoring(max_length=max_length, precision=precision)
    return distinct(load(source, otherwise=how, progress=progress).score)


def opened_untuned(source: Path, *, max_length: int, precision: str, progress: bool = True) -> Scorer | None:
    """Return `opened`, or None when the base model in ``source`` has no head yet."""
    if not has_head(source):
        return None
    return opened(source, max_length=max_length, precision=precision, progress=progress)
