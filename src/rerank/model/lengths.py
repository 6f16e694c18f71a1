"""What of the pairs a model does not read, by its own tokenizer: what is too long, and words that it does not know."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sentence_transformers import CrossEncoder
from sentence_transformers.base.model import BaseModel
from sentence_transformers.base.modules import Transformer

from rerank.errors import UserError
from rerank.model.training import is_writer

TEXTS_PER_BATCH = 1000
# So many texts of a column tell whether a tokenizer knows its words; a larger share that it does not is a warning.
TEXTS_LOOKED_AT = 10_000
MANY = 0.1


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


def check_words(model: BaseModel, pairs: pd.DataFrame, *, base: Path) -> None:
    """Look whether the tokenizer of the model from ``base`` knows a word in the texts of each column.

    Raises:
        UserError: when it knows none in any text, as in emoji or another script; many such texts are a printed warning.
    """
    tokenizer: Any = model.tokenizer
    if not isinstance(model[0], Transformer):
        return
    for column in ("user_ctx", "book_text"):
        texts = pairs[column].drop_duplicates().head(TEXTS_LOOKED_AT).tolist()
        ids = tokenizer(texts, add_special_tokens=False, truncation=False, verbose=False)["input_ids"]
        unread = [text for text, found in zip(texts, ids, strict=True) if set(found) <= {tokenizer.unk_token_id}]
        told = f"the tokenizer of {base} knows no word in {len(unread):,} of {len(texts):,} texts of {column}"
        if texts and len(unread) == len(texts):
            raise UserError(f"{told}, such as {unread[0][:40]!r}: take a base model for their language or script")
        if len(unread) > MANY * len(texts) and is_writer():
            print(f"warning: {told}, such as {unread[0][:40]!r}: take a base model for their language or script")
