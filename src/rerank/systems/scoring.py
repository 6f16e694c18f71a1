"""Scoring candidate lists with the systems of the registry, each with what it needs."""

import time
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from rerank.model.collapse import BROKEN_WEIGHTS, COLLAPSED, COLLAPSED_BI_ENCODER, check_scores
from rerank.model.folder import SCORING
from rerank.systems.distinct import Scores
from rerank.systems.registry import FINE_TUNED, named, opener


def score(
    pairs: pd.DataFrame, systems: Mapping[str, Path | None], *, max_length: int, precision: str
) -> dict[str, Scores]:
    """Return each system's scores, one a row of ``pairs``, and print its speed; without those that do not exist here.

    Args:
        pairs: frame with `rerank.data.pairs.COLUMNS`.
        systems: from `rerank.systems.registry.sources`.
        max_length: tokens of a pair that a cross-encoder reads.
        precision: auto, fp32 or bf16, see `rerank.model.scores.resolve_precision`.

    Raises:
        UserError: when a model's scores rank nothing, see `check_scores`; and what a scorer raises.
    """
    scores: dict[str, Scores] = {}
    for name, source in systems.items():
        system = named(name, where="score")
        score_pairs = opener(system)(source, max_length=max_length, precision=precision)
        start = time.perf_counter()
        values = None if score_pairs is None else score_pairs(pairs)
        seconds = time.perf_counter() - start
        if values is None:
            print(f"{source}: is no {system.label}: left out")
            continue
        if not system.may_tie:
            check_scores(name, values, advice=_advice(name, source))
        queries, candidates = pairs["user_id"].nunique() / seconds, len(pairs) / seconds
        print(f"{system.label}: {queries:,.1f} queries and {candidates:,.0f} candidates a second")
        scores[name] = values
    return scores


def _advice(name: str, source: Path | None) -> str:
    """Return the likely cause of scores that rank nothing: the training where there was one, else the weights."""
    if name.startswith("bi_encoder_"):
        return COLLAPSED_BI_ENCODER
    trained = name == FINE_TUNED and source is not None and (source / SCORING).exists()
    return COLLAPSED if trained else BROKEN_WEIGHTS
