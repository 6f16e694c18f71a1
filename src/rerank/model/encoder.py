"""Encoders as modules: building a cross-encoder on a base model, opening what a folder holds, and what they can't do.

A base without a head (a bi-encoder) gets a new one in the shape of the ettin rerankers, Pooling, Dense, LayerNorm,
Dense to `scores`: stock sentence-transformers modules, so that the result loads with plain ``CrossEncoder(path)``.
Weights are fp32 in memory, whatever the precision of their file.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from sentence_transformers import CrossEncoder, SentenceTransformer
from sentence_transformers.base.model import BaseModel
from sentence_transformers.base.modules import Dense, Transformer
from sentence_transformers.sentence_transformer.modules import LayerNorm, Pooling
from torch import nn
from transformers import AutoConfig

from rerank.errors import UserError
from rerank.model.folder import has_head, transformer_folder

# Tokens up to which a processor trains sooner with attention by plain matrix products.
SHORT = 256


def readable_tokens(model: BaseModel) -> int | None:
    """Return how many tokens the pretrained layers of a model have positions for; None when they say nothing of it.

    RoBERTa and its like count positions from the padding's id + 1 on, so that they read fewer than their config says.
    """
    transformer: Any = model[0]
    config = transformer.model.config
    told = getattr(config, "max_position_embeddings", None)
    found = [told] if told and told > 0 else []  # -1 where there is no limit
    for name, module in transformer.model.named_modules():
        if isinstance(module, nn.Embedding) and name.endswith("position_embeddings"):
            found.append(module.num_embeddings - (0 if module.padding_idx is None else module.padding_idx + 1))
    return min(found, default=None)


def _check_tokenizer(model: BaseModel, folder: Path) -> None:
    """Refuse a model whose tokenizer has no padding token, knows no words, or more than the weights do."""
    tokenizer: Any = model.tokenizer
    transformer: Any = model[0]
    rows = transformer.model.get_input_embeddings().num_embeddings
    if tokenizer.vocab_size <= len(tokenizer.all_special_tokens):
        raise UserError(f"{folder}: its tokenizer knows no words: get the model again, with the tokenizer's files")
    if tokenizer.vocab_size > rows:
        raise UserError(
            f"{folder}: its tokenizer has {tokenizer.vocab_size:,} tokens, its weights {rows:,}: get the model again"
        )
    if tokenizer.pad_token is None:
        raise UserError(f"{folder}: its tokenizer has no padding token: take a model that has one")


def _checked(model: CrossEncoder, folder: Path, *, max_length: int | None, asker: str) -> CrossEncoder:
    """Return ``model`` if it can score pairs of ``max_length`` tokens, or for None those of as many as it reads."""
    if model.num_labels != 1:
        raise UserError(
            f"{folder}: gives {model.num_labels} scores for a pair: take a cross-encoder that gives a single score"
        )
    _check_tokenizer(model, folder)
    readable = readable_tokens(model)
    if max_length is None:
        model.max_seq_length = min(filter(None, (model.max_seq_length, readable)), default=None)
    elif readable is not None and max_length > readable:
        raise UserError(f"{asker}: max_length is {max_length}: {folder} reads {readable} tokens at most")
    return model.float()


@contextmanager
def _loading(folder: Path, kind: str) -> Iterator[None]:
    """Turn what a damaged or foreign model folder raises into one line."""
    try:
        yield
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        words = " ".join(str(error).split())[:150]
        raise UserError(f"{folder}: can't be loaded as a {kind} ({words}): get the model again") from None


def open_cross_encoder(
    folder: Path,
    *,
    max_length: int | None,
    asker: str,
    device: str | None = None,
    config: dict[str, Any] | None = None,
) -> CrossEncoder:
    """Open the cross-encoder in ``folder``.

    Args:
        max_length: tokens of a pair; longer pairs are cut; None: as many as it reads.
        asker: what wants ``max_length``, for the message.
        device: None: a GPU where there is one.
        config: values in the place of those in config.json.

    Raises:
        UserError: when it can't be loaded, reads fewer than ``max_length`` tokens, gives more than one score for a
            pair, or its tokenizer has no padding token or does not fit.
    """
    with _loading(folder, "cross-encoder"):
        model = CrossEncoder(
            str(folder), max_length=max_length, device=device, config_kwargs=config or {}, local_files_only=True
        )
    return _checked(model, folder, max_length=max_length, asker=asker)


def open_bi_encoder(folder: Path) -> SentenceTransformer:
    """Open the bi-encoder in ``folder``; texts are cut at its own maximum length, or what it has positions for.

    Raises:
        UserError: when it can't be loaded, or its tokenizer has no padding token or does not fit.
    """
    with _loading(folder, "bi-encoder"):
        model = SentenceTransformer(str(folder), local_files_only=True)
    if isinstance(model[0], Transformer):  # else a table of words, which reads any length
        _check_tokenizer(model, folder)
        model.max_seq_length = min(filter(None, (model.max_seq_length, readable_tokens(model))), default=None)
    return model.float()


def build(folder: Path, *, max_length: int, dropout: float, seed: int) -> CrossEncoder:
    """Load a base model for training, with a new head where it has none.

    Args:
        folder: base model in Hub layout.
        max_length: tokens of a pair; longer pairs are cut, the longer of the two texts first.
        dropout: rate for every dropout of the pretrained layers.
        seed: for the weights of a new head.

    Raises:
        UserError: see `open_cross_encoder`.
    """
    headed, pretrained = has_head(folder), str(transformer_folder(folder))
    with _loading(folder, "base model"):
        config = AutoConfig.from_pretrained(pretrained, local_files_only=True).to_dict()
    dropouts = {key: dropout for key, value in config.items() if "dropout" in key and isinstance(value, (int, float))}
    if headed:
        model = open_cross_encoder(folder, max_length=max_length, config=dropouts, asker="params.yaml")
        attend_fast(model)
        return model
    with _loading(folder, "base model"):
        transformer = Transformer(
            pretrained,
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
    model = _checked(model, folder, max_length=max_length, asker="params.yaml")
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
