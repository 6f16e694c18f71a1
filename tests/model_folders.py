"""Copies of a model folder that score in other ways."""

import shutil
from pathlib import Path
from typing import Any

from rerank.model.folder import Scoring


def scoring_as(folder: Path, target: Path, **how: Any) -> Path:
    """Copy a cross-encoder to ``target``, which scores as ``how`` says (see `Scoring`), else in fp32 up to 64."""
    shutil.copytree(folder, target)
    Scoring(**{"max_length": 64, "precision": "fp32", **how}).write(target)
    return target
