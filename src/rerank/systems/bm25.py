"""BM25: which candidates share rare words with the context."""

from collections.abc import Sequence

import bm25s
import numpy as np
import numpy.typing as npt
import pandas as pd
from tqdm import tqdm

from rerank.systems.distinct import Scorer


def bm25(contexts: Sequence[str], texts: Sequence[str]) -> npt.NDArray[np.float64]:
    """Return Okapi BM25 (Robertson et al. 1995; Lucene's form, k1 1.5, b 0.75) with the context as the query.

    The corpus is the distinct ``texts``. Words are lower-cased and English stop words are dropped; what has no word
    left scores 0.
    """
    document, documents = pd.factorize(np.asarray(texts, dtype=object))
    query, queries = pd.factorize(np.asarray(contexts, dtype=object))
    corpus = bm25s.tokenize(list(documents), stopwords="en", return_ids=False, show_progress=False)
    scores = np.zeros(len(document))
    if not any(corpus):
        return scores
    index = bm25s.BM25(method="lucene", k1=1.5, b=0.75, backend="numpy")
    index.index(corpus, show_progress=False)
    words = bm25s.tokenize(list(queries), stopwords="en", return_ids=False, show_progress=False)
    rows_of_query = pd.Series(query).groupby(query).indices
    for number, rows in tqdm(rows_of_query.items(), desc="bm25", unit="user"):
        scores[rows] = index.get_scores_from_ids(index.get_tokens_ids(words[number]))[document[rows]]
    return scores


def opened(source: None, *, max_length: int, precision: str, progress: bool = True) -> Scorer:
    """Return what scores each pair with its `bm25` among the pairs."""
    return lambda pairs: bm25(pairs["user_ctx"].tolist(), pairs["book_text"].tolist())
