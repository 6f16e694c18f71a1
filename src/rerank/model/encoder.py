"""Building, loading and running cross-encoders: the head, the device, the precision and the scores.

A base without a head (a bi-encoder) gets a new one in the shape of the ettin rerankers, Pooling, Dense, LayerNorm,
Dense to `scores`: stock sentence-transformers modules, so that the result loads with plain ``CrossEncoder(path)``.
"""

import copy
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sentence_transformers import CrossEncoder
from sentence_transformers.base.model import BaseModel
from sentence_transformers.base.modules import Dense, Transformer
from sentence_transformers.sentence_transformer.modules import LayerNorm, Pooling
from torch import nn
from tqdm import tqdm
from transformers import AutoConfig

from rerank.errors import UserError
from rerank.model.batching import by_length
from rerank.model.tokens import pair_tokens

# Gives the scores of a batch, shape (pairs,) or (pairs, 1), from its tensors, see `PairTokens.batch`.
Forward = Callable[[dict[str, torch.Tensor]], torch.Tensor]
# Tokens of a scoring batch, padding too: what stays in the caches of a processor, and what fills a GPU.
TOKENS_PER_BATCH = {"cpu": 2048, "cuda": 65536}
# Tokens up to which a processor trains sooner with attention by plain matrix products.
SHORT = 256
ONE_POOL = threading.Lock()
# Texts that a bi-encoder embeds at a time, and pairs that an unusual tokenizer gets.
SCORING_BATCH = 32


def has_head(folder: Path) -> bool:
    """Whether the model in ``folder`` (Hub layout) already gives a score for a pair of texts."""
    modules = folder / "modules.json"
    if modules.exists():
        heads = [folder / module["path"] / "config.json" for module in json.loads(modules.read_text())[1:]]
        if any(
            json.loads(config.read_text()).get("module_output_name") == "scores" for config in heads if config.exists()
        ):
            return True
    config = json.loads((folder / "config.json").read_text())
    return any(name.endswith("ForSequenceClassification") for name in config.get("architectures") or [])


def build(folder: Path, *, max_length: int, dropout: float, seed: int) -> CrossEncoder:
    """Load a base model for training, with a new head where it has none.

    Args:
        folder: base model in Hub layout.
        max_length: tokens of a pair; longer pairs are cut, the longer of the two texts first.
        dropout: rate for every dropout of the pretrained layers.
        seed: for the weights of a new head.

    Raises:
        UserError: when the model reads fewer than ``max_length`` tokens, or gives more than one score for a pair.
    """
    config = AutoConfig.from_pretrained(str(folder), local_files_only=True).to_dict()
    positions = config.get("max_position_embeddings") or max_length
    if max_length > positions:
        raise UserError(f"params.yaml: max_length is {max_length}: the base model reads {positions} tokens at most")
    dropouts = {key: dropout for key, value in config.items() if "dropout" in key and isinstance(value, (int, float))}
    if has_head(folder):
        model = CrossEncoder(str(folder), max_length=max_length, config_kwargs=dropouts, local_files_only=True)
        if model.num_labels != 1:
            raise UserError(
                f"{folder}: gives {model.num_labels} scores for a pair: set base_model to one that gives a single score"
            )
        attend_fast(model)
        return model
    transformer = Transformer(
        str(folder),
        config_kwargs={**dropouts, "local_files_only": True},
        processor_kwargs={"model_max_length": max_length},
    )
    transformer.max_seq_length = max_length
    size = transformer.get_embedding_dimension()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = [
            Dense(size, size, activation_function=nn.GELU()),
            LayerNorm(size),
            Dense(size, 1, activation_function=nn.Identity(), module_output_name="scores"),
        ]
    model = CrossEncoder(modules=[transformer, Pooling(size, "mean"), *head])
    attend_fast(model)
    return model


def attend_fast(model: BaseModel) -> None:
    """Choose the attention that trains fast on short texts on a processor; a GPU keeps torch's fused kernel.

    On a processor the backward pass of that kernel is several times slower than plain matrix products, but it needs no
    memory for the square of the length.
    """
    if model.device.type == "cpu" and (model.max_seq_length or SHORT + 1) <= SHORT:
        transformer: Any = model[0]
        transformer.model.set_attn_implementation("eager")


def head_parameters(model: CrossEncoder) -> list[str]:
    """Return the names of the parameters outside the pretrained layers."""
    transformer: Any = model[0].model
    pretrained = {id(parameter) for parameter in transformer.base_model.parameters()}
    return [name for name, parameter in model.named_parameters() if id(parameter) not in pretrained]


def load(folder: Path, *, max_length: int | None = None, device: str | None = None) -> CrossEncoder:
    """Load a cross-encoder for scoring, cut at ``max_length`` tokens (its own maximum when None)."""
    return CrossEncoder(str(folder), max_length=max_length, device=device, local_files_only=True)


def resolve_precision(precision: str, device: str) -> str:
    """Return fp32 or bf16; ``auto`` takes bf16 where ``device`` computes in it rather than emulating it."""
    if precision != "auto":
        return precision
    if device == "cuda":
        native = torch.cuda.get_device_capability() >= (8, 0)
    else:
        native = device == "cpu" and bool(torch.cpu.get_capabilities().get("avx512_bf16"))
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
) -> np.ndarray:
    """Return one raw score (a logit) for each pair, float32, shape (pairs,), with a bar when ``progress``.

    Pairs of similar length share a batch, and each distinct text is tokenised once. When ``symmetric``, a score is the
    mean of those of (context, text) and (text, context). ``precision`` is that of `for_scoring`; ``forward`` computes
    in the model's place.
    """
    if symmetric:
        both = score(
            model, [*contexts, *texts], [*texts, *contexts], precision=precision, progress=progress, forward=forward
        )
        return both.reshape(2, -1).mean(axis=0)
    if len(contexts) == 0:
        return np.zeros(0, dtype=np.float32)
    device = model.device.type
    ready = for_scoring(model, precision=precision)
    tokens = pair_tokens(model)
    if tokens is None:
        pairs = list(zip(contexts, texts, strict=True))
        return ready.predict(pairs, batch_size=SCORING_BATCH, activation_fn=nn.Identity(), show_progress_bar=progress)
    tokens.add((*contexts, *texts), progress=progress)
    first, second = tokens.numbers_of(contexts), tokens.numbers_of(texts)
    batches = by_length(tokens.lengths(first, second), tokens=TOKENS_PER_BATCH.get(device, TOKENS_PER_BATCH["cuda"]))

    def scores_of(rows: np.ndarray) -> torch.Tensor:
        features = tokens.batch(first[rows], second[rows], multiple=1 if device == "cpu" else 8)
        if device == "cuda":  # no copy and no result waits for the device before the end
            features = {name: value.pin_memory() for name, value in features.items()}
        features = {name: value.to(model.device, non_blocking=True) for name, value in features.items()}
        with torch.inference_mode():
            return (forward(features) if forward else ready(features)["scores"]).float().reshape(-1)

    scores = []
    workers = a_batch_a_thread() if device == "cpu" else ThreadPoolExecutor(1)
    with workers as pool, tqdm(total=len(first), desc="scoring", unit="pairs", disable=not progress) as bar:
        for values in pool.map(scores_of, batches):
            scores.append(values)
            bar.update(len(values))
    result = np.empty(len(first), dtype=np.float32)
    result[np.concatenate(batches)] = torch.cat(scores).cpu().numpy()
    return result


def for_scoring(model: CrossEncoder, *, precision: str) -> CrossEncoder:
    """Return the model in evaluation mode; for bf16 a copy, unless it is such a copy already.

    The last layer still computes in fp32: eight bits of mantissa would tie candidates that differ.

    Args:
        precision: auto, fp32 or bf16, see `resolve_precision`.
    """
    converted = next(model.parameters()).dtype == torch.bfloat16
    if converted or resolve_precision(precision, model.device.type) == "fp32":
        return model.eval()
    ready = copy.deepcopy(model).to(torch.bfloat16).eval()
    last = [name for name, module in ready.named_modules() if isinstance(module, nn.Linear)][-1]
    ready.set_keep_in_fp32_modules([last])
    return ready
