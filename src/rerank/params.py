"""What params.yaml may hold, a model a stage, and the params that dvc.yaml declares for the stage that runs.

A stage gets exactly the keys that dvc.yaml lists under its ``params:``, so a param that is read but not tracked
cannot happen. Every file that it lists keys of is checked whole before any work starts: unknown keys, types and ranges.
A task's own file holds what differs; its dvc.yaml takes the other keys from the project's.
"""

import os
import re
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model, field_validator, model_validator
from pydantic.fields import FieldInfo
from ruamel.yaml import YAML, YAMLError

from rerank.errors import UserError

FILE = "params.yaml"


class Params(BaseModel):
    """What one stage reads. A type, limits and null stand in each field; `allowed` puts them into words."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)


class Pull(Params):
    source: str = Field("", min_length=1)
    documents: str = Field("", min_length=1)
    max_source_gb: float = Field(gt=0)


class Convert(Params):
    csv_quote: str | None = Field(min_length=1)


class Base(Params):
    base_model: str = Field(min_length=1)
    bi_encoder: str = Field(min_length=1)


class Columns(Params):
    """The names that a source uses for the five columns of a pair, and what its labels are."""

    user_column: str | None = Field(min_length=1)
    book_column: str | None = Field(min_length=1)
    context_column: str = Field(min_length=1)
    text_column: str = Field(min_length=1)
    label_column: str = Field(min_length=1)
    task: Literal["ranking", "similarity", "duplicates"]
    max_grade: int = Field(ge=1, le=30)
    max_empty_share: float = Field(ge=0, le=1)


class Split(Params):
    seed: int = Field(ge=0, le=2**32 - 1)
    validation_share: float = Field(gt=0, le=0.5)
    test_share: float = Field(gt=0, le=0.5)

    @model_validator(mode="after")
    def _leaves_something(self) -> Self:
        if self.validation_share + self.test_share >= 1:
            raise ValueError("validation_share + test_share leave nothing to train on: lower one of them")
        return self


class Sample(Columns, Split):
    title_pattern: str | None = Field(description="a regular expression with one group")
    max_users: int | None = Field(ge=1)
    min_positives: int = Field(ge=1)
    positives_per_user: int = Field(ge=1, le=9_999)
    negatives_per_positive: int = Field(ge=1, le=99)
    eval_positives: int = Field(ge=1, le=999_999)
    eval_negatives: int = Field(ge=1, le=999_999)

    @field_validator("title_pattern")
    @classmethod
    def _has_one_group(cls, value: str | None) -> str | None:
        return _regex(value, groups=1)


class Group(Columns):
    seed: int = Field(ge=0, le=2**32 - 1)
    split_column: str | None = Field(min_length=1)
    max_pairs: int | None = Field(ge=1)


class Join(Params):
    user_column: str | None = Field(min_length=1)
    context_column: str = Field(min_length=1)
    book_column: str | None = Field(min_length=1)
    label_column: str = Field(min_length=1)
    max_grade: int = Field(ge=1, le=30)
    document_id_column: str = Field(min_length=1)
    text_columns: list[str] = Field(min_length=1)


class Train(Params):
    seed: int = Field(ge=0, le=2**32 - 1)
    task: Literal["ranking", "similarity", "duplicates"]
    max_grade: int = Field(ge=1, le=30)
    lr: float = Field(gt=0, le=1)
    head_lr: float = Field(gt=0, le=1)
    epochs: float = Field(gt=0)
    batch_size: int = Field(ge=1)
    warmup: float = Field(ge=0, le=0.99)
    dropout: float = Field(ge=0, le=0.9)
    max_length: int = Field(ge=8, le=8192)
    loss: str = Field(min_length=1)
    precision: Literal["auto", "fp32", "bf16"]
    eval_every: int = Field(ge=1)
    patience: int = Field(ge=1)
    validation_users: int | None = Field(ge=1)


class TrainBiEncoder(Params):
    seed: int = Field(ge=0, le=2**32 - 1)
    bi_encoder_lr: float = Field(gt=0, le=1)
    bi_encoder_epochs: float = Field(gt=0)
    bi_encoder_batch_size: int = Field(ge=2)
    warmup: float = Field(ge=0, le=0.99)
    precision: Literal["auto", "fp32", "bf16"]


class Score(Params):
    max_length: int = Field(ge=8, le=8192)
    precision: Literal["auto", "fp32", "bf16"]


class Evaluate(Params):
    seed: int = Field(ge=0, le=2**32 - 1)
    task: Literal["ranking", "similarity", "duplicates"]
    max_grade: int = Field(ge=1, le=30)


class Plot(Params):
    task: Literal["ranking", "similarity", "duplicates"]
    favourite_pattern: str = Field("", description="a regular expression")

    @field_validator("favourite_pattern")
    @classmethod
    def _is_regex(cls, value: str) -> str | None:
        return _regex(value)


class Show(Params):
    example_query: str | None = Field(min_length=1)


class Command(Params):
    """What dvc.yaml itself reads, in a command."""

    launcher: str = Field(min_length=1)


MODELS: tuple[type[Params], ...] = (
    Pull,
    Convert,
    Base,
    Columns,
    Split,
    Sample,
    Group,
    Join,
    Command,
    Train,
    TrainBiEncoder,
    Score,
    Evaluate,
    Plot,
    Show,
)
KEYS: dict[str, FieldInfo] = {key: field for model in MODELS for key, field in model.model_fields.items()}
SomeParams = TypeVar("SomeParams", bound=Params)


def _regex(value: str | None, *, groups: int | None = None) -> str | None:
    try:
        if value is not None and (value == "" or re.compile(value).groups != (groups or re.compile(value).groups)):
            raise ValueError("another number of groups")
    except re.error as error:
        raise ValueError(str(error)) from None
    return value


def allowed(key: str) -> str:
    """Say in words what a key may hold."""
    field = KEYS[key]
    kinds = getattr(field.annotation, "__args__", (field.annotation,))
    null = ", or null" if type(None) in kinds else ""
    if field.description:
        return field.description + null
    if all(isinstance(kind, str) for kind in kinds):
        return "one of " + ", ".join(map(str, kinds))
    nouns = {int: "a whole number", float: "a number", str: "a text"}
    noun = next((nouns[kind] for kind in kinds if kind in nouns), "a list of texts")
    if field.annotation == list[str]:
        noun = "a list of texts"
    words = {"gt": "above", "ge": "at least", "le": "at most"}
    limits = [
        f"{word} {getattr(limit, name):g}"
        for limit in field.metadata
        for name, word in words.items()
        if hasattr(limit, name)
    ]
    return " ".join([noun, " and ".join(limits)]).strip() + null


def check(params: dict[str, Any], *, file: str = FILE) -> None:
    """Check every key and value of a params.yaml; ``file`` is its name for the messages.

    A key that a stage needs and that is missing is DVC's to refuse.

    Raises:
        UserError: for an unknown key, or a value of the wrong type or range.
    """
    for key in params:
        if key not in KEYS:
            raise UserError(f"{file}: unknown key '{key}': remove it; the known keys are {', '.join(KEYS)}")
    for model in MODELS:
        present = {key: params[key] for key in model.model_fields if key in params}
        fields: dict[str, Any] = {key: (KEYS[key].annotation, KEYS[key]) for key in present}
        part = model if len(present) == len(model.model_fields) else create_model("Part", __base__=Params, **fields)
        try:
            part(**present)
        except ValidationError as error:
            raise _explained(error, file) from None


def _explained(error: ValidationError, file: str) -> UserError:
    first = error.errors()[0]
    if not first["loc"]:
        return UserError(f"{file}: {first['ctx']['error']}")
    key = str(first["loc"][0])
    value = first["input"] if len(first["loc"]) == 1 else "a list with another thing in it"
    return UserError(f"{file}: {key} is {value!r}: give {allowed(key)}")


def _read(file: Path) -> dict[str, Any]:
    """Read YAML 1.2, in which 3e-05 is a number."""
    try:
        content = YAML(typ="safe").load(file)
    except FileNotFoundError:
        raise UserError(f"{file}: no such file: run the stage in a folder that has it") from None
    except (YAMLError, UnicodeDecodeError) as error:
        words = " ".join(str(error).split())
        raise UserError(f"{file}: can't be read ({words}): correct it") from None
    if not isinstance(content, dict):
        raise UserError(f"{file}: holds no keys: write `key: value` on each line")
    return content


def declared(model: type[SomeParams], stage: str) -> SomeParams:
    """Return the params that ./dvc.yaml declares for a stage, after checking every file that it names.

    Args:
        model: what the stage reads.
        stage: the stage's name where DVC does not tell it: when the module is run by hand.

    Raises:
        UserError: see `check`; also for a stage that ./dvc.yaml does not have, or a declared key that no file has.
    """
    name = os.environ.get("DVC_STAGE", stage).rpartition(":")[2].partition("@")[0]
    stages = _read(Path("dvc.yaml")).get("stages") or {}
    if name not in stages:
        raise UserError(f"dvc.yaml: has no stage '{name}': run the module in a folder whose dvc.yaml has it")
    wanted: dict[str, list[str]] = {FILE: []}
    for entry in stages[name].get("params") or []:
        for file, keys in entry.items() if isinstance(entry, dict) else ((FILE, [entry]),):
            wanted.setdefault(file, []).extend(keys)
    found: dict[str, Any] = {}
    for file, keys in wanted.items():
        params = _read(Path(file))
        check(params, file=file)
        for key in keys:
            if key not in params:
                raise UserError(f"{file}: key '{key}' is missing: add it, see the comments in the project's {FILE}")
            found[key] = params[key]
    try:
        return model(**found)
    except ValidationError as error:
        missing = ", ".join(str(part["loc"][0]) for part in error.errors() if part["loc"])
        raise UserError(
            f"dvc.yaml: stage '{name}' does not fit its params ({missing}): declare what it reads"
        ) from None
