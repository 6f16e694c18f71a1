"""Scores that rank nothing, and what to do about them. No torch here."""

import numpy as np
import numpy.typing as npt

from rerank.errors import UserError

# Scores of a collapsed model differ in their last bits, with the shape of the batch that each was computed in.
SAME = 1e-6
COLLAPSED = "training collapsed or diverged: lower lr and head_lr, or train longer (epochs)"
COLLAPSED_BI_ENCODER = "training collapsed or diverged: lower bi_encoder_lr, or train longer (bi_encoder_epochs)"
BROKEN_WEIGHTS = "its weights are broken, or all texts are the same: check base_model, bi_encoder and text_column"


def check_scores(system: str, scores: npt.NDArray[np.floating], *, advice: str) -> None:
    """Refuse scores that rank nothing.

    Args:
        system: what made them, for the message.
        scores: one a pair, shape (pairs,).
        advice: the likely cause and what to do: `COLLAPSED`, `COLLAPSED_BI_ENCODER` or `BROKEN_WEIGHTS`.

    Raises:
        UserError: when a score is not finite, or all are the same.
    """
    broken = np.count_nonzero(~np.isfinite(scores))
    if broken:
        raise UserError(f"{system}: {broken:,} of {len(scores):,} scores are not finite numbers: {advice}")
    if np.ptp(scores) <= SAME * max(1.0, float(np.abs(scores).max())):
        raise UserError(f"{system}: all {len(scores):,} scores are {scores[0]:g}: {advice}")
