"""Scores by a bi-encoder: the cosine of two texts, each embedded alone."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from sentence_transformers import SentenceTransformer

from rerank.model.scores import resolve_precision

# Texts that are embedded at a time, and pairs whose two vectors are held in memory at a time.
TEXTS_PER_BATCH = 32
PAIRS_PER_BATCH = 8192


def cosines(
    encoder: SentenceTransformer, contexts: Sequence[str], texts: Sequence[str], *, precision: str
) -> npt.NDArray[np.float64]:
    """Return the cosine of context and text, shape (pairs,), each distinct text embedded once, with a progress bar.

    Args:
        precision: auto, fp32 or bf16, see `resolve_precision`.
    """
    number, distinct = pd.factorize(np.asarray([*contexts, *texts], dtype=object))
    context, text = np.split(number, 2)
    device = encoder.device.type
    bf16 = resolve_precision(precision, device) == "bf16"
    with torch.autocast(device_type=device, dtype=torch.bfloat16, enabled=bf16):
        vectors = encoder.encode(list(distinct), batch_size=TEXTS_PER_BATCH, show_progress_bar=True)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    starts = range(0, len(text), PAIRS_PER_BATCH)
    batches = [(context[start : start + PAIRS_PER_BATCH], text[start : start + PAIRS_PER_BATCH]) for start in starts]
    return np.concatenate([(vectors[left] * vectors[right]).sum(axis=1, dtype=np.float64) for left, right in batches])
