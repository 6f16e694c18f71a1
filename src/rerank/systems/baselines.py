"""The systems that a fine-tuned re-ranker has to beat: chance, popularity, BM25 and the untuned bi-encoder.

Each takes the same pairs, row by row, and returns one score a pair, higher for a better candidate.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import bm25s
import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from sentence_transformers import SentenceTransformer
from tqdm import tqdm

from rerank.model import encoder as model

Scores = npt.NDArray[np.float64]
# Pairs whose two vectors are held in memory at a time.
COSINE_BATCH = 8192


def chance(users: Sequence[str], books: Sequence[str], *, seed: int) -> Scores:
    """Return a uniform number in 0..1 for each (user, book), which depends on nothing else but ``seed``."""
    digests = (
        hashlib.blake2b(f"{seed}\0{user}\0{book}".encode(), digest_size=8).digest()
        for user, book in zip(users, books, strict=True)
    )
    return np.frombuffer(b"".join(digests), dtype="<u8") / 2.0**64


def popularity(books: Sequence[str], positives: pd.Series) -> Scores:
    """Return how many training positives each book has, 0 when it has none.

    Args:
        books: ids, shape (pairs,).
        positives: counts, indexed by book_id.
    """
    return pd.Series(books).map(positives).fillna(0).to_numpy(dtype=np.float64)


def bm25(contexts: Sequence[str], texts: Sequence[str]) -> Scores:
    """Return Okapi BM25 (Robertson et al. 1995; Lucene's form, k1 1.5, b 0.75) with the context as the query.

    The corpus is the distinct ``texts``. Words are lower-cased and English stop words are dropped.
    """
    document, documents = pd.factorize(np.asarray(texts, dtype=object))
    query, queries = pd.factorize(np.asarray(contexts, dtype=object))
    index = bm25s.BM25(method="lucene", k1=1.5, b=0.75, backend="numpy")
    index.index(bm25s.tokenize(list(documents), stopwords="en", show_progress=False), show_progress=False)
    words = bm25s.tokenize(list(queries), stopwords="en", return_ids=False, show_progress=False)
    scores = np.empty(len(document))
    rows_of_query = pd.Series(query).groupby(query).indices
    for number, rows in tqdm(rows_of_query.items(), desc="bm25", unit="user"):
        scores[rows] = index.get_scores_from_ids(index.get_tokens_ids(words[number]))[document[rows]]
    return scores


def cosines(encoder: SentenceTransformer, contexts: Sequence[str], texts: Sequence[str], *, precision: str) -> Scores:
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


def bi_encoder(folder: Path, contexts: Sequence[str], texts: Sequence[str], *, precision: str) -> Scores:
    """Return `cosines` by the sentence-transformers model in ``folder``; texts are cut at its own maximum length."""
    return cosines(SentenceTransformer(str(folder), local_files_only=True), contexts, texts, precision=precision)
