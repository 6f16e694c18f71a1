"""How many pairs are longer than what a model reads, measured with the model's own tokenizer."""

from pathlib import Path

import duckdb
import pyarrow as pa
from tokenizers import Tokenizer
from tqdm import tqdm

from rerank.errors import UserError

TEXTS_PER_BATCH = 1000


def load_tokenizer(base: Path) -> Tokenizer:
    """Load the tokenizer of a base model.

    Raises:
        UserError: when the folder has no readable tokenizer.json.
    """
    path = base / "tokenizer.json"
    if not path.is_file():
        raise UserError(f"{path}: missing: set base_model in params.yaml to a model that has one, and `dvc repro base`")
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # the only class that tokenizers raises
        raise UserError(
            f"{path}: not a readable tokenizer ({error}): `dvc repro --force base` writes it again"
        ) from None


def share_longer(connection: duckdb.DuckDBPyConnection, table: str, tokenizer: Tokenizer, *, max_length: int) -> float:
    """Return the share, 0 to 1, of the pairs in ``table`` with more than ``max_length`` tokens, special ones too.

    Each distinct text is tokenised once.
    """
    tokenizer.no_truncation()
    tokenizer.no_padding()
    for column in ("user_ctx", "book_text"):
        texts = [text for (text,) in connection.execute(f"SELECT DISTINCT {column} FROM {table}").fetchall()]
        tokens: list[int] = []
        for start in tqdm(range(0, len(texts), TEXTS_PER_BATCH), f"measuring {column}", unit="k texts", leave=False):
            batch = tokenizer.encode_batch_fast(texts[start : start + TEXTS_PER_BATCH], add_special_tokens=False)
            tokens.extend(len(encoding) for encoding in batch)
        connection.register(f"{column}_lengths", pa.table({column: texts, f"{column}_tokens": tokens}))
    special = tokenizer.num_special_tokens_to_add(is_pair=True)
    ((share,),) = connection.execute(
        f"SELECT round(avg((user_ctx_tokens + book_text_tokens + {special} > {max_length})::INT), 6) FROM {table} "
        "JOIN user_ctx_lengths USING (user_ctx) JOIN book_text_lengths USING (book_text)"
    ).fetchall()
    return float(share)
