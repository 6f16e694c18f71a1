"""Ranking one reader's candidates with all that the fusion weighs: a folder of systems, as they were measured.

ranker.json names each system's file or folder beside it, its weight, and where the catalogue is. A candidate that is
not in the catalogue, or is cold, and a reader without a known favourite are judged by what is left: the texts.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from rerank.data import contexts, favourites
from rerank.errors import UserError
from rerank.json_file import read_json
from rerank.systems.distinct import Scorer, Scores
from rerank.systems.fusion import fused, standardised, words
from rerank.systems.registry import SYSTEMS, named, opener

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


class FusedRanker:
    """The systems of a ranker's folder, opened once: each call ranks one reader's candidates.

    Attributes:
        systems: name → what scores pairs, see `rerank.systems.distinct.Scorer`, of those that are weighed.
    """

    def __init__(self, folder: Path, *, without: Collection[str] = (), progress: bool = True) -> None:
        """Open the folder as the stage ranker writes it, but for the systems ``without``, which somebody else asks."""
        self.content = read_json(folder / RANKER)
        self.catalogue = pd.read_parquet(folder / self.content["coreading"] / CATALOGUE)
        cold = self.catalogue["cold"].to_numpy(dtype=bool)
        self.warm = self.catalogue.loc[~cold, "book_id"].to_numpy(dtype=object)
        how = {"max_length": self.content["max_length"], "precision": self.content["precision"], "progress": progress}
        self.systems: dict[str, Scorer] = {
            name: opener(named(name, where=RANKER))(folder / source, **how)
            for name, source in self.content["systems"].items()
            if name not in without
        }

    def told(self, context: str) -> str:
        """Return a reader's text as the systems were trained to read it, see `rerank.data.contexts`."""
        return contexts.told([context], self.catalogue)[0]

    def books_of(self, texts: Sequence[str]) -> npt.NDArray[np.object_]:
        """Return the id of the book that each text is, see `rerank.data.favourites.books_of`."""
        return favourites.books_of(texts, self.catalogue, title_pattern=self.content["title_pattern"])

    def pairs(self, told: str, texts: Sequence[str], *, books: Sequence[str]) -> pd.DataFrame:
        """Return the reader's candidates as `systems` score them, one a row, from `told` and `books_of`."""
        return pd.DataFrame({"user_id": "reader", "book_id": books, "user_ctx": told, "book_text": list(texts)})

    def rank(self, context: str, texts: Sequence[str]) -> Fused:
        """Score the candidates of one reader with all systems.

        Args:
            context: the reader's text.
            texts: the candidates'.
        """
        pairs = self.pairs(self.told(context), texts, books=self.books_of(texts).tolist())
        return self.weighed(pairs, {name: score(pairs) for name, score in self.systems.items()})

    def weighed(self, pairs: pd.DataFrame, scores: Mapping[str, Scores | None]) -> Fused:
        """Weigh what the systems say of the `pairs` of one reader; None: it knows nothing of any."""
        warm = np.isin(pairs["book_id"].to_numpy(dtype=object), self.warm)
        lists = np.zeros(len(pairs), dtype=int)
        features = {
            name: standardised(values, lists, known=warm if SYSTEMS[name].knows_warm_only else None)
            for name, values in scores.items()
            if values is not None
        }
        weights, text_weights = self.content["weights"], self.content["text_weights"]
        total = fused(features, weights=weights, text_weights=text_weights, lists=lists, cold=~warm)
        said = ["scores: " + words(weights)]
        missing = [SYSTEMS[name].label for name in weights if name not in features]
        if missing:
            said.append(f"no favourite of the reader is in the catalogue: {', '.join(missing)} say nothing")
        if not warm.all():
            unread = np.count_nonzero(~warm)
            said.append(f"{unread:,} of {len(pairs):,} candidates have no known readers: {words(text_weights)}")
        return Fused(total, said)
