"""What computes the scores: one entry an engine, for the pipeline and the command line alike.

A leaf without torch: what an engine needs is imported when it is used.
"""

import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rerank.errors import UserError


@dataclass(frozen=True)
class Engine:
    """An engine.

    Attributes:
        compiler: ``module:function`` of ``compiled(model, *, precision) -> forward``, which gives the scores of a
            batch from its tensors.
        device: where the model has to be; None: a GPU where there is one.
        words: what it is good for, after its name in the help.
    """

    compiler: str
    device: str | None
    words: str

    def compiled(self, model: Any, *, precision: str) -> Callable[..., Any]:
        """Return what scores batches for ``model``.

        Raises:
            UserError: when the engine is not installed or can't compute the model.
        """
        return pkgutil.resolve_name(self.compiler)(model, precision=precision)


ENGINES = {
    "torch": Engine("rerank.model.scores:compiled", None, "on a GPU where there is one"),
    "openvino": Engine(
        "rerank.model.openvino:compiled",
        "cpu",
        "an extra: sooner for many pairs on a processor with bf16, and never on a GPU",
    ),
}


def engine_named(name: str) -> Engine:
    """Return the engine of that name.

    Raises:
        UserError: when there is none.
    """
    if name not in ENGINES:
        raise UserError(f"--engine: no engine is called '{name}': give one of {', '.join(ENGINES)}")
    return ENGINES[name]
