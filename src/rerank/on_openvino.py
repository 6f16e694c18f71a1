"""The forward pass of a cross-encoder on OpenVINO: the kernels of an extra, faster than torch's on many processors."""

import queue
import warnings
from typing import Any

import torch
from sentence_transformers import CrossEncoder
from torch import nn

from rerank.errors import UserError
from rerank.model import Forward, for_scoring, resolve_precision
from rerank.tokens import pair_tokens

# What the graph is traced from, and what proves it: another number of pairs, of other lengths, which differ too.
TRACED = [("one two three", "four"), ("one", "two")]
PROBES = [("one two", "three four five six seven eight nine ten"), ("one", "two"), ("", "three four")]
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
        precision: auto, fp32 or bf16, see `rerank.model.resolve_precision`.

    Raises:
        UserError: when OpenVINO is not installed, or its graph does not give the scores of the model.
    """
    try:
        import openvino
        from openvino.frontend import FrontEndManager
        from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder
    except ImportError:
        raise UserError("OpenVINO is not installed: pip install -r requirements-extras.txt") from None
    tokens = pair_tokens(model)
    if tokens is None:
        raise UserError("OpenVINO can't score this model: its tokenizer joins texts in its own way: use torch")
    example = tokens.preprocess(TRACED)
    names = list(example)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of each branch that depends on a shape
        traced = torch.jit.trace(_Scores(for_scoring(model, precision="fp32"), names), tuple(example.values()))
    # Not openvino.convert_model, which reports to its makers.
    frontend = FrontEndManager().load_by_framework("pytorch")
    decoder = TorchScriptPythonDecoder(traced)  # the graph is read from it until it is converted
    graph = frontend.convert(frontend.load(decoder))
    core = openvino.Core()
    probes = tokens.preprocess(PROBES)
    with torch.inference_mode():
        expected = for_scoring(model, precision="fp32")(probes)["scores"].reshape(-1)
    exact = core.compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    (found,) = exact([probes[name].numpy() for name in names]).values()
    if not torch.allclose(torch.from_numpy(found).reshape(-1), expected, rtol=TOLERANCE, atol=TOLERANCE):
        raise UserError("OpenVINO can't score this model: its graph gives other scores: use torch")
    threads = torch.get_num_threads()
    options = {
        "INFERENCE_PRECISION_HINT": PRECISIONS[resolve_precision(precision, "cpu")],
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": threads,
    }
    ready = core.compile_model(graph, "CPU", options)
    requests: queue.SimpleQueue[Any] = queue.SimpleQueue()
    for _ in range(threads):
        requests.put(ready.create_infer_request())

    def forward(features: dict[str, torch.Tensor]) -> torch.Tensor:
        request = requests.get()
        try:
            (scores,) = request.infer([features[name].numpy() for name in names]).values()
            return torch.from_numpy(scores.copy())
        finally:
            requests.put(request)

    return forward
