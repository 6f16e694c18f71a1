"""Ranking one reader's candidates with all that the fusion weighs: a folder of systems, as they were measured.

ranker.json names each system's file or folder beside it, its weight, and where the catalogue is. A candidate that is
not in the catalogue, or is cold, and a reader without a known favourite are judged by what is left: the texts.
"""

import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from rerank.data import contexts, favourites
from rerank.errors import UserError
from rerank.json_file import read_json
from rerank.systems.fusion import fused, standardised, words
from rerank.systems.registry import SYSTEMS, named, scorer

RANKER = "ranker.json"
CATALOGUE = "catalogue.parquet"


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


def told(folder: Path, context: str) -> str:
    """Return a reader's text as the systems of a ranker were trained to read it, see `rerank.data.contexts`."""
    catalogue = pd.read_parquet(folder / read_json(folder / RANKER)["coreading"] / CATALOGUE)
    return contexts.told([context], catalogue)[0]


def rank(folder: Path, context: str, texts: Sequence[str]) -> Fused:
    """Score the candidates of one reader.

    Args:
        folder: as the stage ranker writes it.
        context: the reader's text.
        texts: the candidates'.
    """
    content = read_json(folder / RANKER)
    catalogue = pd.read_parquet(folder / content["coreading"] / CATALOGUE)
    context = contexts.told([context], catalogue)[0]
    books = favourites.books_of(texts, catalogue, title_pattern=content["title_pattern"])
    warm = np.isin(books, catalogue.loc[~catalogue["cold"].to_numpy(dtype=bool), "book_id"].to_numpy(dtype=object))
    pairs = pd.DataFrame({"user_id": "reader", "book_id": books, "user_ctx": context, "book_text": list(texts)})
    scores = _scored(pairs, folder, content)
    lists = np.zeros(len(texts), dtype=int)
    features = {
        name: standardised(values, lists, known=warm if SYSTEMS[name].knows_warm_only else None)
        for name, values in scores.items()
    }
    weights, text_weights = content["weights"], content["text_weights"]
    total = fused(features, weights=weights, text_weights=text_weights, lists=lists, cold=~warm)
    said = ["scores: " + words(weights)]
    missing = [SYSTEMS[name].label for name in weights if name not in scores]
    if missing:
        said.append(f"no favourite of the reader is in the catalogue: {', '.join(missing)} say nothing")
    if not warm.all():
        unread = np.count_nonzero(~warm)
        said.append(f"{unread:,} of {len(texts):,} candidates have no known readers: {words(text_weights)}")
    return Fused(total, said)


def _scored(pairs: pd.DataFrame, folder: Path, content: Mapping[str, Any]) -> dict[str, npt.NDArray[np.float64]]:
    """Return the scores of each system that has any here; what they print is no part of the ranking."""
    found = {}
    how = {"max_length": content["max_length"], "precision": content["precision"]}
    with redirect_stdout(sys.stderr):
        for name, source in content["systems"].items():
            values = scorer(named(name, where=RANKER))(pairs, folder / source, **how)
            if values is not None:
                found[name] = np.asarray(values, dtype=np.float64)
    return found
