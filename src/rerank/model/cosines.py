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
# Beyond one of these all texts are forgotten: 150 MB of vectors of 384 numbers.
REMEMBERED_TEXTS, REMEMBERED_CHARACTERS = 100_000, 50_000_000


class Cosines:
    """The cosines of one encoder, which embeds each distinct text once, and remembers it: a book is asked for often."""

    def __init__(self, encoder: SentenceTransformer, *, precision: str, progress: bool = True) -> None:
        """Embed in ``precision``, auto, fp32 or bf16, see `resolve_precision`; with a bar when ``progress``."""
        self.encoder, self.progress = encoder, progress
        self.bf16 = resolve_precision(precision, encoder.device.type) == "bf16"
        self.vectors: dict[str, npt.NDArray[np.float32]] = {}
        self.characters = 0

    def __call__(self, contexts: Sequence[str], texts: Sequence[str]) -> npt.NDArray[np.float64]:
        """Return the cosine of context and text, shape (pairs,)."""
        number, distinct = pd.factorize(np.asarray([*contexts, *texts], dtype=object))
        context, text = np.split(number, 2)
        vectors = self._embedded(list(distinct))
        starts = range(0, len(text), PAIRS_PER_BATCH)
        some = [(context[start : start + PAIRS_PER_BATCH], text[start : start + PAIRS_PER_BATCH]) for start in starts]
        return np.concatenate([(vectors[left] * vectors[right]).sum(axis=1, dtype=np.float64) for left, right in some])

    def _embedded(self, texts: list[str]) -> npt.NDArray[np.float32]:
        """Return vectors of length 1, shape (texts, dimensions)."""
        if len(self.vectors) > REMEMBERED_TEXTS or self.characters > REMEMBERED_CHARACTERS:
            self.vectors, self.characters = {}, 0
        new = [text for text in texts if text not in self.vectors]
        if new:
            with torch.autocast(self.encoder.device.type, dtype=torch.bfloat16, enabled=self.bf16):
                vectors = self.encoder.encode(new, batch_size=TEXTS_PER_BATCH, show_progress_bar=self.progress)
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
            self.vectors.update(zip(new, vectors, strict=True))
            self.characters += sum(map(len, new))
            if len(new) == len(texts):
                return vectors
        return np.stack([self.vectors[text] for text in texts])


def cosines(
    encoder: SentenceTransformer, contexts: Sequence[str], texts: Sequence[str], *, precision: str
) -> npt.NDArray[np.float64]:
    """Return the cosine of context and text, shape (pairs,), see `Cosines`."""
    return Cosines(encoder, precision=precision)(contexts, texts)
