"""A bi-encoder, tuned or not: the cosine of two texts, each embedded alone."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from sentence_transformers import SentenceTransformer

from rerank.model import encoder as model
from rerank.systems.distinct import Scores, score_distinct

# Pairs whose two vectors are held in memory at a time.
COSINE_BATCH = 8192


def cosines(
    encoder: SentenceTransformer, contexts: Sequence[str], texts: Sequence[str], *, precision: str
) -> npt.NDArray[np.float64]:
    """Return the cosine of context and text, shape (pairs,), each distinct text embedded once, with a progress bar.

    Args:
        precision: auto, fp32 or bf16, see `rerank.model.encoder.resolve_precision`.
    """
    number, distinct = pd.factorize(np.asarray([*contexts, *texts], dtype=object))
    context, text = np.split(number, 2)
    device = encoder.device.type
    bf16 = model.resolve_precision(precision, device) == "bf16"
    with torch.autocast(device_type=device, dtype=torch.bfloat16, enabled=bf16):
        vectors = encoder.encode(list(distinct), batch_size=model.SCORING_BATCH, show_progress_bar=True)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    starts = range(0, len(text), COSINE_BATCH)
    batches = [(context[start : start + COSINE_BATCH], text[start : start + COSINE_BATCH]) for start in starts]
    return np.concatenate([(vectors[left] * vectors[right]).sum(axis=1, dtype=np.float64) for left, right in batches])


def score(pairs: pd.DataFrame, source: Path, *, max_length: int, precision: str) -> Scores:
    """Return the `cosines` by the model in ``source``, one a row; texts are cut at its own maximum length."""
    encoder = SentenceTransformer(str(source), local_files_only=True)
    return score_distinct(pairs, partial(cosines, encoder, precision=precision), source=source)
