"""Score the validation and test pairs with the cross-encoder and every bi-encoder that it is compared with.

One table a split, one column a system: whatever is measured, compared or drawn later needs no model.
"""

import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from rerank.errors import run
from rerank.files import replacing
from rerank.measure.metrics import check_scores
from rerank.model import encoder as model
from rerank.params import declared
from rerank.systems import baselines

SPLITS = ("validation", "test")
KEYS = ("user_id", "book_id", "label")


def score(
    pairs: pd.DataFrame,
    *,
    cross_encoder: Path,
    bi_encoders: dict[str, Path],
    max_length: int,
    precision: str,
    symmetric: bool,
) -> dict[str, npt.NDArray[np.floating]]:
    """Return each system's scores: ``bi_encoders`` by their names (cosines), then ``cross_encoder`` (logits).

    Args:
        pairs: frame with the columns of `rerank.data.pairs`; every array has one score a row.
    """
    contexts, texts = pairs["user_ctx"].tolist(), pairs["book_text"].tolist()
    scores: dict[str, npt.NDArray[np.floating]] = {
        name: baselines.bi_encoder(folder, contexts, texts, precision=precision) for name, folder in bi_encoders.items()
    }
    loaded = model.load(cross_encoder, max_length=max_length)
    scores["cross_encoder"] = model.score(loaded, contexts, texts, precision=precision, symmetric=symmetric)
    return scores


def main(split: Path, scores: Path, cross_encoder: Path, *bi_encoders: Path) -> None:
    """Write validation.parquet and test.parquet to ``scores``: ids, labels, a column for each model folder's name."""
    params = declared("score")
    with replacing(scores) as partial:
        partial.mkdir()
        for name in SPLITS:
            pairs = pd.read_parquet(split / f"{name}.parquet")
            systems = score(
                pairs,
                cross_encoder=cross_encoder,
                bi_encoders={folder.name.replace("-", "_"): folder for folder in bi_encoders},
                **params,
            )
            for system, values in systems.items():
                check_scores(system, values)
            pairs[list(KEYS)].assign(**systems).to_parquet(partial / f"{name}.parquet", index=False)


if __name__ == "__main__":
    run(main, *map(Path, sys.argv[1:]))
