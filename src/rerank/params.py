"""What params.yaml may hold, and the params that dvc.yaml declares for one stage.

A stage gets exactly the keys that dvc.yaml lists under its ``params:``, so a param that is read but not tracked
cannot happen. All of the project's and the task's params.yaml are checked before any work starts: unknown keys, types
and ranges. A task's file holds what differs; its dvc.yaml takes the other keys from the project's.
"""

import math
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rerank.errors import UserError

LOSSES = ("binary_cross_entropy", "lambda", "listnet")
VALIDATION_METRICS = ("ndcg@10", "spearman", "average_precision")
PRECISIONS = ("auto", "fp32", "bf16")


@dataclass(frozen=True)
class Param:
    """What one key may hold: a type, an inclusive range (``above`` excludes the lower end), choices, null."""

    kind: type
    low: float | None = None
    high: float | None = None
    above: float | None = None
    choices: tuple[str, ...] = ()
    null: bool = False
    regex: bool = False
    one_group: bool = False

    def allowed(self) -> str:
        """Say in words what the key may hold."""
        noun = {
            int: "a whole number",
            float: "a number",
            str: "a text",
            bool: "true or false",
            list: "a list of texts",
        }[self.kind]
        if self.choices:
            noun = "one of " + ", ".join(self.choices)
        if self.regex:
            noun = "a regular expression" + (" with one group" if self.one_group else "")
        limits = [
            f"{word} {limit:g}"
            for word, limit in (("above", self.above), ("at least", self.low), ("at most", self.high))
            if limit is not None
        ]
        return " ".join([noun, " and ".join(limits)]).strip() + (", or null" if self.null else "")

    def accepts(self, value: object) -> bool:
        """Whether ``value`` has the right type and lies in the range."""
        if value is None:
            return self.null
        if self.kind is str:
            return isinstance(value, str) and value != "" and self._accepts_text(value)
        if self.kind is bool:
            return isinstance(value, bool)
        if self.kind is list:
            return isinstance(value, list) and value != [] and all(isinstance(item, str) and item for item in value)
        if isinstance(value, bool) or not isinstance(value, (int, float) if self.kind is float else int):
            return False
        return (
            math.isfinite(value)
            and (self.low is None or value >= self.low)
            and (self.high is None or value <= self.high)
            and (self.above is None or value > self.above)
        )

    def _accepts_text(self, value: str) -> bool:
        if self.regex:
            try:
                return re.compile(value).groups == 1 or not self.one_group
            except re.error:
                return False
        return not self.choices or value in self.choices


SCHEMA: dict[str, Param] = {
    "source": Param(str),
    "user_column": Param(str, null=True),
    "book_column": Param(str, null=True),
    "context_column": Param(str),
    "text_column": Param(str),
    "label_column": Param(str),
    "max_grade": Param(int, low=1),
    "whole_labels": Param(bool),
    "title_pattern": Param(str, regex=True, one_group=True),
    "max_empty_share": Param(float, low=0, high=1),
    "max_source_gb": Param(float, above=0),
    "csv_quote": Param(str, null=True),
    "documents": Param(str),
    "document_id_column": Param(str),
    "text_columns": Param(list),
    "split_column": Param(str, null=True),
    "max_pairs": Param(int, low=1, null=True),
    "base_model": Param(str),
    "base_revision": Param(str, null=True),
    "bi_encoder": Param(str),
    "bi_encoder_revision": Param(str, null=True),
    "seed": Param(int, low=0, high=2**32 - 1),
    "max_users": Param(int, low=1, null=True),
    "min_positives": Param(int, low=1),
    "positives_per_user": Param(int, low=1, high=9_999),
    "negatives_per_positive": Param(int, low=1, high=99),
    "eval_positives": Param(int, low=1, high=999_999),
    "eval_negatives": Param(int, low=1, high=999_999),
    "validation_share": Param(float, above=0, high=0.5),
    "test_share": Param(float, above=0, high=0.5),
    "launcher": Param(str),
    "lr": Param(float, above=0, high=1),
    "head_lr": Param(float, above=0, high=1),
    "epochs": Param(float, above=0),
    "batch_size": Param(int, low=1),
    "warmup": Param(float, low=0, high=0.99),
    "dropout": Param(float, low=0, high=0.9),
    "weight_decay": Param(float, low=0),
    "max_length": Param(int, low=8, high=8192),
    "loss": Param(str, choices=LOSSES),
    "symmetric": Param(bool),
    "validation_metric": Param(str, choices=VALIDATION_METRICS),
    "precision": Param(str, choices=PRECISIONS),
    "eval_every": Param(int, low=1),
    "patience": Param(int, low=1),
    "validation_users": Param(int, low=1, null=True),
    "bi_encoder_lr": Param(float, above=0, high=1),
    "bi_encoder_epochs": Param(float, above=0),
    "bi_encoder_batch_size": Param(int, low=2),
    "favourite_pattern": Param(str, regex=True, null=True),
    "example_query": Param(str, null=True),
    "bootstrap_samples": Param(int, low=100),
}


def check(params: dict[str, Any], *, file: str = "params.yaml") -> None:
    """Check every key and value of a params.yaml; ``file`` is its name for the messages.

    A key that a stage needs and that is missing is DVC's to refuse.

    Raises:
        UserError: for an unknown key, or a value of the wrong type or range.
    """
    for key, value in params.items():
        if key not in SCHEMA:
            raise UserError(f"{file}: unknown key '{key}': remove it; the known keys are {', '.join(SCHEMA)}")
        if not SCHEMA[key].accepts(value):
            raise UserError(f"{file}: {key} is {value!r}: give {SCHEMA[key].allowed()}")
    if params.get("validation_share", 0) + params.get("test_share", 0) >= 1:
        raise UserError(f"{file}: validation_share + test_share leave nothing to train on: lower one of them")


def declared(stage: str) -> dict[str, Any]:
    """Return the params that ./dvc.yaml declares for a stage, after checking all of params.yaml.

    Args:
        stage: the stage's name where DVC does not tell it: when the module is run by hand.

    Raises:
        UserError: see `check`.
    """
    from dvc.api import params_show
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    stage = os.environ.get("DVC_STAGE", stage).rpartition(":")[2]
    here = Path.cwd().relative_to(Repo.find_root())
    for folder in dict.fromkeys((Path(), here)):
        file = (folder / "params.yaml").as_posix()
        check(params_show(file), file=file)
    try:
        return params_show(stages=stage, deps=True)
    except (DvcException, ImportError) as error:  # an unknown remote, or an address that needs another dvc plugin
        words = " ".join(str(error).split())
        raise UserError(f"dvc.yaml: stage '{stage}' can't be read ({words}): correct `source` in params.yaml") from None
