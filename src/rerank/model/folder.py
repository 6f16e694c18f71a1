"""What a model folder holds besides its weights: whether it gives scores, and how they are made. No torch here.

A trained model is served as it was measured, so `train` writes scoring.json into its folder, and `rerank.model.ranker`
obeys it. A folder from elsewhere has none.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError

from rerank.errors import UserError
from rerank.files import replacing
from rerank.json_file import read_json, write_json
from rerank.tasks import TASKS

SCORING = "scoring.json"
# For its card: the params that a model was trained with, and the share of its pairs that were cut.
TRAINING = "training.json"
# Files of the folder that are words about the model: no score depends on them.
WORDS = ("README.md", TRAINING)


@dataclass(frozen=True)
class Scoring:
    """How a model scores a pair of texts.

    Attributes:
        symmetric: whether a score is the mean of those of both orders of the two texts.
        max_grade: the largest label.
        max_length: tokens of a pair; None: as many as the model reads.
        precision: auto, fp32 or bf16, see `rerank.model.scores.resolve_precision`.
        task: one of `rerank.tasks.TASKS`.
    """

    symmetric: bool = False
    max_grade: Annotated[int, Field(ge=1)] = 1
    max_length: Annotated[int, Field(ge=1)] | None = None
    precision: Annotated[str, Field(pattern="^(auto|fp32|bf16)$")] = "auto"
    task: Annotated[str, Field(pattern=f"^({'|'.join(TASKS)})$")] = "ranking"

    def write(self, folder: Path) -> None:
        """Write scoring.json into a model folder."""
        write_json(folder / SCORING, asdict(self), exact=True)


def write_model(folder: Path, model: Any, *, how: Scoring, params: Mapping[str, object], cut_pairs: float) -> None:
    """Write a trained cross-encoder: its weights, how it scores, and for its card what it was trained with.

    Args:
        cut_pairs: the share of the training pairs that were cut, 0 to 1.
    """
    with replacing(folder) as unfinished:
        model.save_pretrained(str(unfinished), create_model_card=False)
        how.write(unfinished)
        write_json(unfinished / TRAINING, {"params": params, "cut_pairs": cut_pairs}, exact=True)


def read_scoring(folder: Path, *, otherwise: Scoring | None = None) -> Scoring:
    """Return how the model in ``folder`` scores, or ``otherwise`` where it does not say so.

    Raises:
        UserError: when scoring.json is damaged.
    """
    path = folder / SCORING
    if not path.is_file():
        return otherwise or Scoring()
    content = json.dumps(read_json(path))
    try:
        return TypeAdapter(Scoring).validate_json(content, strict=True, extra="forbid")
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "its content"
        raise UserError(f"{path}: {where}: {first['msg']}: get the model again") from None


def favourite_parts(folder: Path) -> str | None:
    """Return the param of that name that a model was trained with; None: it says of none."""
    path = folder / TRAINING
    params = read_json(path).get("params") if path.is_file() else None
    found = params.get("favourite_parts") if isinstance(params, dict) else None
    return found if isinstance(found, str) else None


def has_head(folder: Path) -> bool:
    """Whether the model in ``folder`` (Hub layout) already gives a score for a pair of texts."""
    try:
        if (folder / "modules.json").exists():
            heads = [folder / module["path"] / "config.json" for module in read_json(folder / "modules.json")[1:]]
            if any(read_json(config).get("module_output_name") == "scores" for config in heads if config.exists()):
                return True
        if transformer_folder(folder) != folder:
            return False
        architectures = read_json(folder / "config.json").get("architectures") or []
        return any(name.endswith("ForSequenceClassification") for name in architectures)
    except (AttributeError, KeyError, TypeError):
        raise UserError(f"{folder}: modules.json or config.json is no model's: get the model again") from None


def transformer_folder(folder: Path) -> Path:
    """Return where the pretrained layers of a model folder are: of early sentence-transformers in one of their own."""
    try:
        if (folder / "modules.json").exists() and not (folder / "config.json").exists():
            return folder / read_json(folder / "modules.json")[0]["path"]
    except (IndexError, KeyError, TypeError):
        raise UserError(f"{folder}: modules.json is no model's: get the model again") from None
    return folder


def model_files(folder: Path) -> list[str]:
    """Return the relative paths of all that decides the scores of the cross-encoder in ``folder``, sorted.

    Raises:
        UserError: when there is no cross-encoder.
    """
    if not (folder / "config.json").is_file() and not (folder / "modules.json").is_file():
        raise UserError(f"{folder}: holds no model: run `dvc repro` to train one, or `dvc pull` to fetch one")
    if not has_head(folder):
        raise UserError(f"{folder}: gives embeddings, not scores: give a cross-encoder such as models/cross-encoder")
    files = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return sorted(file for file in files if file not in WORDS)
