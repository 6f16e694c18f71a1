"""The forward pass of a cross-encoder on OpenVINO: an extra, sooner than torch on a processor with bf16."""

import queue
import sys
import warnings
from typing import Any

import numpy as np
import torch
from sentence_transformers import CrossEncoder
from torch import nn

from rerank.errors import UserError
from rerank.model.scores import Forward, for_scoring, resolve_precision
from rerank.model.tokens import pair_tokens

# What the graph is traced from, and what proves it: another number of pairs, of other lengths, together with the
# longest, so that most of a row is padding.
TRACED = [("one two three", "four"), ("one", "two")]
PROBES = [("one two", "three four five six seven eight nine ten"), ("one", "two"), ("", "three four")]
LONGEST = 1024
# In fp32, where a right graph differs from torch by rounding alone.
TOLERANCE = 1e-3
PRECISIONS = {"bf16": "bf16", "fp32": "f32"}


class _Scores(nn.Module):
    """A cross-encoder with its inputs one by one, as OpenVINO names them."""

    def __init__(self, model: CrossEncoder, names: list[str]) -> None:
        super().__init__()
        self.model, self.names = model, names

    def forward(self, *values: torch.Tensor) -> torch.Tensor:
        return self.model(dict(zip(self.names, values, strict=True)))["scores"]


def compiled(model: CrossEncoder, *, precision: str) -> Forward:
    """Return what scores batches in the place of ``model``, which must be on a CPU, for as many threads as torch has.

    Args:
        precision: auto, fp32 or bf16, see `rerank.model.scores.resolve_precision`.

    Raises:
        UserError: when OpenVINO is not installed, can't compute the model, or does not give its scores. The function
            raises it for scores that are not finite.
    """
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # else the import reports to its makers
    try:
        import openvino
        from openvino.frontend import FrontEndManager, OpConversionFailure
        from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder
    except ImportError:
        raise UserError("OpenVINO is not installed: pip install -r requirements-extras.txt") from None
    tokens = pair_tokens(model)
    if tokens is None:
        raise UserError("OpenVINO can't score this model: its tokenizer joins texts in its own way: use torch")
    example = tokens.preprocess(TRACED)
    words = min(model.max_seq_length or LONGEST, LONGEST)
    probes = tokens.preprocess([*PROBES, ("one " * words, "two " * words)])
    names = list(example)
    threads = torch.get_num_threads()
    options = {
        "INFERENCE_PRECISION_HINT": PRECISIONS[resolve_precision(precision, "cpu")],
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": threads,
        "ENABLE_CPU_PINNING": False,  # every process would begin with the first processor
    }
    with torch.inference_mode():
        expected = for_scoring(model, precision="fp32")(probes)["scores"].reshape(-1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of each branch that depends on a shape
            traced = torch.jit.trace(_Scores(for_scoring(model, precision="fp32"), names), tuple(example.values()))
        frontend = FrontEndManager().load_by_framework("pytorch")
        decoder = TorchScriptPythonDecoder(traced)  # the graph is read from it until it is converted
        graph = frontend.convert(frontend.load(decoder))
        core = openvino.Core()
        exact = core.compile_model(graph, "CPU", {**options, "INFERENCE_PRECISION_HINT": "f32"})
        (found,) = exact([probes[name].numpy() for name in names]).values()
        ready = core.compile_model(graph, "CPU", options)
    except (RuntimeError, OpConversionFailure) as error:
        raise UserError(f"OpenVINO can't score this model ({' '.join(str(error).split())[:200]}): use torch") from None
    if not torch.allclose(torch.from_numpy(found).reshape(-1), expected, rtol=TOLERANCE, atol=TOLERANCE):
        raise UserError("OpenVINO can't score this model: its graph gives other scores: use torch")
    requests: queue.SimpleQueue[Any] = queue.SimpleQueue()
    for _ in range(threads):
        requests.put(ready.create_infer_request())

    def forward(features: dict[str, torch.Tensor]) -> torch.Tensor:
        request = requests.get()
        try:
            (scores,) = request.infer([features[name].numpy() for name in names]).values()
            if not np.isfinite(scores).all():
                raise UserError("OpenVINO gives scores that are no numbers with this model: use torch")
            return torch.from_numpy(scores.copy())
        finally:
            requests.put(request)

    return forward
