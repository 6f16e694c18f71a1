"""Write the model card from what the other stages left: splits, the model's folder, and what was measured."""

from pathlib import Path

import pandas as pd

from rerank.command import run
from rerank.files import replacing
from rerank.json_file import read_json
from rerank.model.card import model_card
from rerank.model.folder import TRAINING, read_scoring

SPLITS = ("train", "validation", "test")


def main(
    *, split: Path, model: Path, training: Path, evaluation: Path, card: Path, weights: Path | None = None
) -> None:
    """Write CARD; WEIGHTS is the file of a fusion that the model is part of."""
    words = model_card(
        {name: pd.read_parquet(split / f"{name}.parquet") for name in SPLITS},
        scoring=read_scoring(model),
        **read_json(model / TRAINING),
        validation=read_json(training),
        evaluation=read_json(evaluation),
        weights=read_json(weights)["weights"] if weights is not None else {},
    )
    with replacing(card) as partial:
        partial.write_text(words, encoding="utf-8")


if __name__ == "__main__":
    run(main)
