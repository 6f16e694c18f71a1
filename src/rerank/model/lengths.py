"""How many pairs are longer than what a model reads, measured with the model's own tokenizer."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from sentence_transformers import CrossEncoder

TEXTS_PER_BATCH = 1000


def _tokens(model: CrossEncoder, texts: Sequence[str]) -> npt.NDArray[np.int64]:
    """Return the number of tokens of each text, without special ones; each distinct text is tokenised once."""
    number, distinct = pd.factorize(np.asarray(texts, dtype=object))
    counts: list[int] = []
    for start in range(0, len(distinct), TEXTS_PER_BATCH):
        batch = list(distinct[start : start + TEXTS_PER_BATCH])
        found = model.tokenizer(batch, add_special_tokens=False, truncation=False, verbose=False)
        counts.extend(map(len, found["input_ids"]))
    return np.array(counts, dtype=np.int64)[number]


def share_longer(model: CrossEncoder, pairs: pd.DataFrame, *, max_length: int) -> float:
    """Return the share, 0 to 1, of the pairs with more than ``max_length`` tokens, special ones too."""
    special = model.tokenizer.num_special_tokens_to_add(pair=True)
    tokens = _tokens(model, pairs["user_ctx"].tolist()) + _tokens(model, pairs["book_text"].tolist()) + special
    return float(np.mean(tokens > max_length))
