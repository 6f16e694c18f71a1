"""Ranking one reader's candidates with all that the fusion weighs: a folder of systems, as they were measured.

ranker.json names each system's file or folder beside it, its weight, and where the catalogue is. A candidate that is
not in the catalogue, or is cold, and a reader without a known favourite are judged by what is left: the texts.
"""

import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from rerank.data import favourites
from rerank.errors import UserError
from rerank.json_file import read_json
from rerank.systems.fusion import standardised
from rerank.systems.registry import SYSTEMS, named, scorer

RANKER = "ranker.json"


@dataclass(frozen=True)
class Fused:
    """The ranking of one reader's candidates.

    Attributes:
        scores: weighted sums of standardised scores: comparable within this list alone, shape (candidates,).
        words: what a person should know: which systems were weighed, and what they did not know.
    """

    scores: npt.NDArray[np.float64]
    words: list[str]


def is_fused(folder: Path) -> bool:
    """Whether the folder has what the fusion weighs."""
    return (folder / RANKER).is_file()


def system_folder(folder: Path, system: str) -> Path:
    """Return where one system of a ranker is.

    Raises:
        UserError: when the ranker does not have it.
    """
    sources = read_json(folder / RANKER)["systems"]
    if system not in sources:
        raise UserError(f"--only {system}: {folder} has no such system: give one of {', '.join(sources)}")
    return folder / sources[system]


def rank(folder: Path, context: str, texts: Sequence[str]) -> Fused:
    """Score the candidates of one reader.

    Args:
        folder: as the stage ranker writes it.
        context: the reader's text.
        texts: the candidates'.
    """
    content = read_json(folder / RANKER)
    catalogue = pd.read_parquet(folder / content["coreading"] / "catalogue.parquet")
    books = favourites.books_of(texts, catalogue, title_pattern=content["title_pattern"])
    warm = np.isin(books, catalogue.loc[~catalogue["cold"].to_numpy(dtype=bool), "book_id"].to_numpy(dtype=object))
    pairs = pd.DataFrame({"user_id": "reader", "book_id": books, "user_ctx": context, "book_text": list(texts)})
    scores = _scored(pairs, folder, content["systems"])
    used = {name: weight for name, weight in content["weights"].items() if name in scores}
    lists = np.zeros(len(texts), dtype=int)
    total = np.zeros(len(texts))
    for name, weight in used.items():
        total += weight * standardised(scores[name], lists, known=warm if SYSTEMS[name].knows_warm_only else None)
    words = ["scores: " + ", ".join(f"{weight:.2f} {SYSTEMS[name].label}" for name, weight in used.items())]
    missing = [SYSTEMS[name].label for name in content["weights"] if name not in used]
    if missing:
        words.append(f"no favourite of the reader is in the catalogue: without {', '.join(missing)}")
    if not warm.all():
        words.append(
            f"{np.count_nonzero(~warm):,} of {len(texts):,} candidates have no readers yet: judged by their texts"
        )
    return Fused(total, words)


def _scored(pairs: pd.DataFrame, folder: Path, sources: Mapping[str, str]) -> dict[str, npt.NDArray[np.float64]]:
    """Return the scores of each system that has any here; what they print is no part of the ranking."""
    found = {}
    with redirect_stdout(sys.stderr):
        for name, source in sources.items():
            # A model in the folder says itself how it scores.
            values = scorer(named(name, where=RANKER))(pairs, folder / source, max_length=512, precision="auto")
            if values is not None:
                found[name] = np.asarray(values, dtype=np.float64)
    return found
