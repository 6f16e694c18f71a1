"""Loading a cross-encoder so that it scores as its folder says: for the pipeline and the command line alike."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from scipy.special import expit
from sentence_transformers import CrossEncoder

from rerank.model.encoder import open_cross_encoder
from rerank.model.engines import engine_named
from rerank.model.folder import SCORING, Scoring, model_files, read_scoring
from rerank.model.scores import Forward, score
from rerank.model.tokens import OwnTokens, pair_tokens


@dataclass(frozen=True)
class Ranker:
    """A cross-encoder that is ready to score.

    Attributes:
        how: how it scores.
        forward: gives the scores of a batch, see `rerank.model.scores.score`.
        progress: whether it shows a bar.
    """

    model: CrossEncoder
    how: Scoring
    forward: Forward
    progress: bool

    def score(self, contexts: Sequence[str], texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Return one raw score (a logit) for each pair, shape (pairs,)."""
        return score(
            self.model,
            contexts,
            texts,
            precision=self.how.precision,
            symmetric=self.how.symmetric,
            progress=self.progress,
            forward=self.forward,
        )

    def tokens(self, contexts: Sequence[str], texts: Sequence[str]) -> npt.NDArray[np.int64]:
        """Return how many tokens the model reads of each pair, shape (pairs,), or a bound where it can't be told."""
        found = pair_tokens(self.model) or OwnTokens(self.model)
        found.add((*contexts, *texts))
        return found.lengths(found.numbers_of(contexts), found.numbers_of(texts))

    def shown(self, scores: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        """Return what a person gets to see of raw scores: similarities from 0 to max_grade where that is the task.

        Else what ``CrossEncoder.rank`` gives, which is the sigmoid unless the model says otherwise.
        """
        values = np.asarray(scores, dtype=np.float64)
        if self.how.task == "similarity":
            return self.how.max_grade * expit(values)
        activation: torch.nn.Module = self.model.activation_fn  # type: ignore[assignment]
        return activation(torch.from_numpy(values)).numpy()


def load(
    folder: Path,
    *,
    engine: str = "torch",
    otherwise: Scoring | None = None,
    precision: str | None = None,
    progress: bool = True,
) -> Ranker:
    """Load the cross-encoder in ``folder``, which scores as its scoring.json says.

    Args:
        engine: one of `rerank.model.engines.ENGINES`.
        otherwise: how it scores when its folder does not say so, as one from the Hub; from params.yaml.
        precision: in the place of the folder's ``auto``, for processes that have to agree.
        progress: whether scoring shows a bar.

    Raises:
        UserError: when there is no cross-encoder, it can't score as it is asked to, or the engine is not installed or
            can't run it.
    """
    model_files(folder)
    chosen = engine_named(engine)
    how = read_scoring(folder, otherwise=otherwise)
    asker = str(folder / SCORING) if (folder / SCORING).is_file() else "params.yaml"
    model = open_cross_encoder(folder, max_length=how.max_length, device=chosen.device, asker=asker)
    return Ranker(model, how, chosen.compiled(model, precision=precision or how.precision), progress)
