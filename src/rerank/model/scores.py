"""Raw scores of pairs of texts by a cross-encoder: the precision, batches of similar length, a batch a thread."""

import copy
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
import torch
from sentence_transformers import CrossEncoder
from torch import nn
from tqdm import tqdm

from rerank.model.batching import by_length
from rerank.model.tokens import OwnTokens, pair_tokens

# Gives the scores of a batch, shape (pairs,) or (pairs, 1), from its tensors, see `PairTokens.batch`.
Forward = Callable[[dict[str, torch.Tensor]], torch.Tensor]
# Tokens of a scoring batch, padding too: what stays in the caches of a processor, and what fills a GPU.
TOKENS_PER_BATCH = {"cpu": 2048, "cuda": 65536}
ONE_POOL = threading.Lock()


def resolve_precision(precision: str, device: str) -> str:
    """Return fp32 or bf16; ``auto`` takes bf16 where ``device`` is sooner in it.

    That needs AMX of a processor, or AVX512's products of bf16, with which an AMD EPYC scores and trains three times as
    fast as in fp32; emulated, they are slower.
    """
    if precision != "auto":
        return precision
    if device == "cuda":
        native = torch.cuda.get_device_capability() >= (8, 0)
    else:
        able = torch.cpu.get_capabilities()
        native = device == "cpu" and bool(able.get("amx_bf16") or able.get("avx512_bf16"))
    return "bf16" if native else "fp32"


@contextmanager
def a_batch_a_thread() -> Iterator[Executor]:
    """Run calls side by side, as many as torch has threads, each of them on one thread.

    Threads that share every operation wait for the slowest of them after each; and a batch on one thread has the same
    result on any number of processors. One pool at a time: torch has one number of threads for all.
    """
    with ONE_POOL:
        threads = torch.get_num_threads()
        try:
            with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
                yield pool
        finally:
            torch.set_num_threads(threads)


def score(
    model: CrossEncoder,
    contexts: Sequence[str],
    texts: Sequence[str],
    *,
    precision: str,
    symmetric: bool = False,
    progress: bool = True,
    forward: Forward | None = None,
) -> npt.NDArray[np.float32]:
    """Return one raw score (a logit) for each pair, float32, shape (pairs,), with a bar when ``progress``.

    Pairs of similar length share a batch, and each distinct text is tokenised once. When ``symmetric``, a score is the
    mean of those of (context, text) and (text, context). ``precision`` is that of `compiled`, unless ``forward``
    computes in its place.
    """
    if len(contexts) == 0:
        return np.zeros(0, dtype=np.float32)
    forward = forward or compiled(model, precision=precision)
    if symmetric:
        contexts, texts = [*contexts, *texts], [*texts, *contexts]
    device = model.device.type
    tokens = pair_tokens(model) or OwnTokens(model)
    tokens.add((*contexts, *texts), progress=progress)
    first, second = tokens.numbers_of(contexts), tokens.numbers_of(texts)
    batches = by_length(tokens.lengths(first, second), tokens=TOKENS_PER_BATCH.get(device, TOKENS_PER_BATCH["cuda"]))

    def scores_of(rows: npt.NDArray[np.int64]) -> torch.Tensor:
        features = tokens.batch(first[rows], second[rows], multiple=1 if device == "cpu" else 8)
        if device == "cuda":  # no copy and no result waits for the device before the end
            features = {name: value.pin_memory() for name, value in features.items()}
        features = {name: value.to(model.device, non_blocking=True) for name, value in features.items()}
        with torch.inference_mode():
            return forward(features).float().reshape(-1)

    scores = []
    workers = a_batch_a_thread() if device == "cpu" else ThreadPoolExecutor(1)
    with workers as pool, tqdm(total=len(first), desc="scoring", unit="pairs", disable=not progress) as bar:
        for values in pool.map(scores_of, batches):
            scores.append(values)
            bar.update(len(values))
    result = np.empty(len(first), dtype=np.float32)
    result[np.concatenate(batches)] = torch.cat(scores).cpu().numpy()
    return result.reshape(2, -1).mean(axis=0) if symmetric else result


def compiled(model: CrossEncoder, *, precision: str) -> Forward:
    """Return what scores batches with torch, on the device of ``model``, see `for_scoring`."""
    ready = for_scoring(model, precision=precision)
    return lambda features: ready(features)["scores"]


def for_scoring(model: CrossEncoder, *, precision: str) -> CrossEncoder:
    """Return the model in evaluation mode; for bf16 a copy.

    The last layer keeps its weights and computes in fp32: eight bits of mantissa would tie candidates that differ.

    Args:
        precision: auto, fp32 or bf16, see `resolve_precision`.
    """
    if resolve_precision(precision, model.device.type) == "fp32":
        return model.eval()
    ready = copy.deepcopy(model).to(torch.bfloat16).eval()
    last = [name for name, module in ready.named_modules() if isinstance(module, nn.Linear)][-1]
    ready.get_submodule(last).load_state_dict(model.get_submodule(last).state_dict(), assign=True)
    ready.set_keep_in_fp32_modules([last])
    return ready
