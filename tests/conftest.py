"""What several test files share: a base model that is real in every respect but its size.

torch is imported by the fixtures that need it, so that a file without a model starts at once.
"""

import os
import string
from collections.abc import Callable, Iterable
from pathlib import Path

# Workers of one thread each, also in the commands that they start: more threads than cores wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest


def _write_tiny_bert(folder: Path, words: Iterable[str] = ()) -> Path:
    """Write a randomly initialised bi-encoder (32 dimensions, 2 layers) in Hub layout and return ``folder``.

    Any text can be tokenised: ``words`` (lower case) are single tokens, all others fall into letters.
    """
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling
    from transformers import BertConfig, BertModel, BertTokenizer

    letters = string.ascii_lowercase + string.digits
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *string.punctuation, *letters, *(f"##{c}" for c in letters)]
    vocabulary = {piece: number for number, piece in enumerate(dict.fromkeys([*pieces, *words]))}
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=128,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        BertModel(config).save_pretrained(folder)
    BertTokenizer(vocab=vocabulary, do_lower_case=True, model_max_length=128).save_pretrained(folder)
    transformer = Transformer(str(folder))
    pooling = Pooling(transformer.get_embedding_dimension(), "mean")
    encoder = SentenceTransformer(modules=[transformer, pooling], device="cpu")
    encoder.save_pretrained(str(folder), create_model_card=False)
    return folder


def _write_tiny_roberta(folder: Path) -> Path:
    """Write a cross-encoder of another family in Hub layout: bytes instead of words, two separators, no types.

    It has 64 positions, of which the padding takes two; its tokenizer knows no limit.
    """
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from tokenizers.processors import RobertaProcessing
    from transformers import PreTrainedTokenizerFast, RobertaConfig, RobertaForSequenceClassification

    special = {"<s>": 0, "<pad>": 1, "</s>": 2}
    letters = {letter: number + 3 for number, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    backend = Tokenizer(models.BPE(vocab={**special, **letters}, merges=[]))
    backend.pre_tokenizer, backend.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    backend.post_processor = RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        model_input_names=["input_ids", "attention_mask"],
    ).save_pretrained(folder)
    config = RobertaConfig(
        vocab_size=len(special) + len(letters),
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        intermediate_size=8,
        max_position_embeddings=64,
        num_labels=1,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        RobertaForSequenceClassification(config).save_pretrained(folder)
    return folder


# The files with the longest tests come first, so that no worker is left alone with one at the end.
LONGEST = ("test_repro.py", "test_task_pairs.py", "test_pipeline.py", "test_task_movies.py", "test_s3.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.name, len(LONGEST)))


@pytest.fixture(scope="session")
def tiny_bert() -> Callable[..., Path]:
    """Give the function ``tiny_bert(folder, words=()) -> folder``, see `_write_tiny_bert`."""
    return _write_tiny_bert


@pytest.fixture(scope="session")
def tiny_roberta() -> Callable[[Path], Path]:
    """Give the function ``tiny_roberta(folder) -> folder``, see `_write_tiny_roberta`."""
    return _write_tiny_roberta


@pytest.fixture(scope="session")
def cross_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the folder of a cross-encoder of that size, with all that the train stage writes."""
    from rerank.model.encoder import build
    from rerank.model.folder import Scoring, write_model

    folder = tmp_path_factory.mktemp("tiny") / "cross-encoder"
    model = build(_write_tiny_bert(folder.parent / "base"), max_length=64, dropout=0.0, seed=1)
    how = Scoring(max_length=64, precision="fp32")
    write_model(folder, model, how=how, params={"max_length": 64, "precision": "fp32"}, cut_pairs=0.0)
    return folder
