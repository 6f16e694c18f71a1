"""What params.yaml may hold, and the params that dvc.yaml declares for one stage.

A stage gets exactly the keys that dvc.yaml lists under its ``params:``, so a param that is read but not tracked
cannot happen. The whole file is checked before any work starts: unknown keys, types and ranges.
"""

import math
import re
from dataclasses import dataclass
from typing import Any

from rerank.errors import UserError

LOSSES = ("binary_cross_entropy", "lambda", "listnet")
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
        noun = {int: "a whole number", float: "a number", str: "a text"}[self.kind]
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
    "user_column": Param(str),
    "book_column": Param(str),
    "context_column": Param(str),
    "text_column": Param(str),
    "label_column": Param(str),
    "max_grade": Param(int, low=1),
    "title_pattern": Param(str, regex=True, one_group=True),
    "max_empty_share": Param(float, low=0, high=1),
    "max_source_gb": Param(float, above=0),
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
    "lr": Param(float, above=0, high=1),
    "head_lr": Param(float, above=0, high=1),
    "epochs": Param(float, above=0),
    "batch_size": Param(int, low=1),
    "warmup": Param(float, low=0, high=0.99),
    "dropout": Param(float, low=0, high=0.9),
    "weight_decay": Param(float, low=0),
    "max_length": Param(int, low=8, high=8192),
    "loss": Param(str, choices=LOSSES),
    "precision": Param(str, choices=PRECISIONS),
    "eval_every": Param(int, low=1),
    "patience": Param(int, low=1),
    "validation_users": Param(int, low=1, null=True),
    "favourite_pattern": Param(str, regex=True),
    "bootstrap_samples": Param(int, low=100),
}


def check(params: dict[str, Any]) -> None:
    """Check every key and value of params.yaml.

    Raises:
        UserError: for an unknown or missing key, or a value of the wrong type or range.
    """
    for key in params:
        if key not in SCHEMA:
            raise UserError(f"params.yaml: unknown key '{key}': remove it; the known keys are {', '.join(SCHEMA)}")
    for key, param in SCHEMA.items():
        if key not in params:
            raise UserError(f"params.yaml: '{key}' is missing: add it ({param.allowed()})")
        if not param.accepts(params[key]):
            raise UserError(f"params.yaml: {key} is {params[key]!r}: give {param.allowed()}")
    if params["validation_share"] + params["test_share"] >= 1:
        raise UserError("params.yaml: validation_share + test_share leave no training users: lower one of them")


def declared(stage: str) -> dict[str, Any]:
    """Return the params that ./dvc.yaml declares for ``stage``, after checking the whole params.yaml.

    Raises:
        UserError: see `check`.
    """
    from dvc.api import params_show
    from dvc.exceptions import DvcException

    check(params_show("params.yaml"))
    try:
        return params_show(stages=stage, deps=True)
    except (DvcException, ImportError) as error:  # an unknown remote, or an address that needs another dvc plugin
        words = " ".join(str(error).split())
        raise UserError(f"dvc.yaml: stage '{stage}' can't be read ({words}): correct `source` in params.yaml") from None
