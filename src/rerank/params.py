"""What params.yaml may hold: types and limits of every key, a model a stage."""

import re
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator
from pydantic.fields import FieldInfo


class Params(BaseModel):
    """What one stage reads. A type, limits and null stand in each field; `rerank.params_file` puts them into words."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)


class Pull(Params):
    shape: str = Field("pairs", min_length=1)
    source: str = Field("", min_length=1)
    documents: str = Field("", min_length=1)
    max_source_gb: float = Field(gt=0)


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


class Titles(Params):
    title_pattern: str | None = Field(None, description="a regular expression with one group")

    @field_validator("title_pattern")
    @classmethod
    def _has_one_group(cls, value: str | None) -> str | None:
        return _regex(value, groups=1)


class Convert(Titles):
    """How tables are read; and how they become pairs, which a pipeline without such sources leaves out."""

    csv_quote: str | None = Field(min_length=1)
    tsv_quote: str | None = Field(min_length=1)
    shape: str = Field("pairs", min_length=1)
    user_column: str | None = Field("user_id", min_length=1)
    book_column: str | None = Field("book_id", min_length=1)
    context_column: str = Field("user_ctx", min_length=1)
    text_column: str = Field("book_text", min_length=1)
    label_column: str = Field("label", min_length=1)
    positive_column: str = Field("positive", min_length=1)
    negative_column: str = Field("negative", min_length=1)
    positive_from: float | None = None
    sampled_negatives: int = Field(0, ge=0, le=999_999)
    context_favourites: int = Field(5, ge=1, le=999)
    max_empty_share: float = Field(0.01, ge=0, le=1)
    seed: int = Field(42, ge=0, le=2**32 - 1)


class Sample(Columns, Split, Titles):
    cold_books_share: float = Field(ge=0, le=0.5)
    max_users: int | None = Field(ge=1)
    min_positives: int = Field(ge=1)
    positives_per_user: int = Field(ge=1, le=9_999)
    negatives_per_positive: int = Field(ge=1, le=99)
    eval_positives: int = Field(ge=1, le=999_999)
    eval_negatives: int = Field(ge=1, le=999_999)


class Told(Params):
    favourite_parts: str | None = Field(None, description="a regular expression with one group")

    @field_validator("favourite_parts")
    @classmethod
    def _parts_have_one_group(cls, value: str | None) -> str | None:
        return _regex(value, groups=1)


class Contexts(Titles, Told):
    """Where the favourites of a context are found, and what is told of each."""


class SplitReaders(Split, Contexts):
    pass


class CoReading(Contexts):
    item_knn_exponents: list[float] = Field(min_length=1, description="a list of numbers from 0 to 1")
    item_knn_shrinkages: list[float] = Field(min_length=1, description="a list of numbers, at least 0")
    ease_regularisations: list[float] = Field(min_length=1, description="a list of numbers above 0")

    @field_validator("item_knn_exponents", "item_knn_shrinkages")
    @classmethod
    def _keep_similarities_finite(cls, values: list[float], info: ValidationInfo) -> list[float]:
        if min(values) < 0 or (info.field_name == "item_knn_exponents" and max(values) > 1):
            raise ValueError("a similarity could be infinite")
        return values

    @field_validator("ease_regularisations")
    @classmethod
    def _are_positive(cls, values: list[float]) -> list[float]:
        if min(values) <= 0:
            raise ValueError("without it the matrix may have no inverse")
        return values


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


class Train(Told):
    launcher: str = Field("python", min_length=1)
    seed: int = Field(ge=0, le=2**32 - 1)
    training_seed: int = Field(ge=0, le=2**32 - 1)
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
    teacher_weight: float = Field(0.0, ge=0)
    precision: Literal["auto", "fp32", "bf16"]
    eval_every: int = Field(ge=1)
    patience: int = Field(ge=1)
    validation_users: int | None = Field(ge=1)


class TrainBiEncoder(Params):
    training_seed: int = Field(ge=0, le=2**32 - 1)
    task: Literal["ranking", "similarity", "duplicates"]
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


MODELS: tuple[type[Params], ...] = (
    Pull,
    Convert,
    Base,
    Columns,
    Split,
    Sample,
    SplitReaders,
    CoReading,
    Group,
    Join,
    Train,
    TrainBiEncoder,
    Score,
    Evaluate,
    Plot,
    Show,
)
KEYS: dict[str, FieldInfo] = {key: field for model in MODELS for key, field in model.model_fields.items()}


def _regex(value: str | None, *, groups: int | None = None) -> str | None:
    try:
        if value is not None and (value == "" or re.compile(value).groups != (groups or re.compile(value).groups)):
            raise ValueError("another number of groups")
    except re.error as error:
        raise ValueError(str(error)) from None
    return value
