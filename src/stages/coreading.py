"""Fit item-kNN and EASE to what training readers liked: seconds of work that a text model has to be better than."""

from pathlib import Path

import pandas as pd

from rerank.command import run
from rerank.files import replacing
from rerank.json_file import write_json
from rerank.params import CoReading
from rerank.params_file import declared
from rerank.systems import neighbours
from rerank.systems.fitting import fit


def main(*, split: Path, sampled: Path, coreading: Path, teacher: Path) -> None:
    """Read the training and validation readers, interactions.parquet and SAMPLED/books.parquet; write COREADING.

    Its chosen.json says which setting was best on validation. TEACHER gets what item-kNN says of each training pair
    without its reader.
    """
    params = declared(CoReading, "coreading")
    train, validation, interactions = (
        pd.read_parquet(split / f"{name}.parquet") for name in ("train", "validation", "interactions")
    )
    fitted = fit(train, validation, interactions, pd.read_parquet(sampled / "books.parquet"), **params.model_dump())
    with replacing(coreading) as partial:
        partial.mkdir()
        neighbours.write(partial, books=fitted.books, catalogue=fitted.catalogue, neighbours=fitted.neighbours)
        write_json(partial / "chosen.json", fitted.chosen)
    with replacing(teacher) as partial:
        fitted.teacher.to_parquet(partial, index=False)


if __name__ == "__main__":
    run(main)
