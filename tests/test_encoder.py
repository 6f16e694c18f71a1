"""What a model can't do is one line, for training, for scoring and for --model alike; what it can do works."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import StaticEmbedding
from transformers import (
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
    GPT2Config,
    GPT2ForSequenceClassification,
    RobertaConfig,
    RobertaModel,
)

from rerank.errors import UserError
from rerank.model.bi_encoder import train_bi_encoder
from rerank.model.encoder import build, open_bi_encoder
from rerank.model.fine_tuning import train
from rerank.model.lengths import check_words
from rerank.model.ranker import load
from rerank.systems.bi_encoder import opened as opened_bi_encoder
from rerank.systems.cross_encoder import opened_untuned

SIZES = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 16}
PAIRS = pd.DataFrame(
    {"user_id": "u", "book_id": ["a", "b"], "user_ctx": "reads tales", "book_text": ["word " * 300, "tale " * 300]}
)


@pytest.fixture
def tokenizer(tmp_path: Path, tiny_bert: Callable[..., Path]) -> Any:
    return AutoTokenizer.from_pretrained(tiny_bert(tmp_path / "source", words=["word", "tale"]))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "model"


def refused(words: str, *uses: Callable[[], Any]) -> None:
    for use in uses:
        with pytest.raises(UserError, match=words) as error:
            use()
        assert "\n" not in str(error.value) and len(str(error.value)) <= 300


def score_by_cosine(folder: Path) -> Any:
    return opened_bi_encoder(folder, max_length=32, precision="fp32")(PAIRS)


def uses_of_a_cross_encoder(folder: Path) -> tuple[Callable[[], Any], ...]:
    return (
        lambda: build(folder, max_length=32, dropout=0.0, seed=1),
        lambda: load(folder),
        lambda: opened_untuned(folder, max_length=32, precision="fp32"),
    )


def uses_of_a_bi_encoder(folder: Path) -> tuple[Callable[[], Any], ...]:
    return (
        lambda: open_bi_encoder(folder),
        lambda: score_by_cosine(folder),
    )


def test_a_model_that_gives_several_scores_is_one_line(folder: Path, tokenizer: Any) -> None:
    BertForSequenceClassification(BertConfig(**SIZES, vocab_size=len(tokenizer), num_labels=3)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    refused(r"gives 3 scores for a pair", *uses_of_a_cross_encoder(folder))


def test_a_tokenizer_without_a_padding_token_is_one_line(folder: Path, tokenizer: Any) -> None:
    config = GPT2Config(n_embd=16, n_layer=1, n_head=1, vocab_size=len(tokenizer), n_positions=128, num_labels=1)
    GPT2ForSequenceClassification(config).save_pretrained(folder)
    tokenizer.pad_token = None
    tokenizer.save_pretrained(folder)
    words = "its tokenizer has no padding token: take a model that has one"
    refused(words, *uses_of_a_cross_encoder(folder), *uses_of_a_bi_encoder(folder))


@pytest.mark.parametrize(
    ("vocabulary", "words"),
    [(40, "its tokenizer has .* tokens, its weights 40"), (None, "its tokenizer knows no words")],
)
def test_a_tokenizer_that_is_not_the_models_or_is_missing_is_one_line(
    folder: Path, tokenizer: Any, vocabulary: int | None, words: str
) -> None:
    config = BertConfig(**SIZES, vocab_size=vocabulary or len(tokenizer), num_labels=1)
    BertForSequenceClassification(config).save_pretrained(folder)
    if vocabulary:
        tokenizer.save_pretrained(folder)
    refused(words, *uses_of_a_cross_encoder(folder), *uses_of_a_bi_encoder(folder))


def test_a_bi_encoder_that_counts_positions_from_the_padding_on_reads_what_it_has_positions_for(
    folder: Path, tokenizer: Any
) -> None:
    config = RobertaConfig(**SIZES, vocab_size=len(tokenizer), max_position_embeddings=34, pad_token_id=1)
    RobertaModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    assert open_bi_encoder(folder).max_seq_length == 32
    assert np.isfinite(score_by_cosine(folder)).all()
    build(folder, max_length=32, dropout=0.0, seed=1).predict([("word " * 99, "tale " * 99)])
    refused("max_length is 33: .* reads 32 tokens at most", lambda: build(folder, max_length=33, dropout=0.0, seed=1))


def test_a_model_whose_layers_are_in_a_folder_of_their_own_is_a_base(tmp_path: Path, tokenizer: Any) -> None:
    """As sentence-transformers wrote it until 2020: the same model as with its layers in the folder itself."""
    old, new = tmp_path / "old", tmp_path / "source"
    shutil.copytree(new, old / "0_Transformer", ignore=shutil.ignore_patterns("modules.json", "1_Pooling"))
    shutil.copytree(new / "1_Pooling", old / "1_Pooling")
    modules = json.loads((new / "modules.json").read_text())
    modules[0]["path"] = "0_Transformer"
    (old / "modules.json").write_text(json.dumps(modules))
    pairs = list(zip(PAIRS["user_ctx"], PAIRS["book_text"], strict=True))
    one, other = (build(folder, max_length=32, dropout=0.0, seed=1).predict(pairs) for folder in (old, new))
    np.testing.assert_array_equal(one, other)
    assert opened_untuned(old, max_length=32, precision="fp32") is None
    refused("gives embeddings, not scores", lambda: load(old))


def test_a_table_of_words_is_a_bi_encoder_too(folder: Path, tokenizer: Any) -> None:
    table = StaticEmbedding(tokenizer.backend_tokenizer, embedding_dim=8)
    SentenceTransformer(modules=[table], device="cpu").save_pretrained(str(folder), create_model_card=False)
    assert np.isfinite(score_by_cosine(folder)).all()


@pytest.mark.parametrize("content", ["{}", '{"model_type": "nonsense"}', '{"model_type": "bert", "hidden_size": 5}'])
def test_a_folder_that_no_library_can_load_is_one_line(folder: Path, content: str) -> None:
    folder.mkdir()
    (folder / "config.json").write_text(content)
    refused(
        "can't be loaded as a", lambda: build(folder, max_length=32, dropout=0.0, seed=1), *uses_of_a_bi_encoder(folder)
    )


READS = pd.DataFrame({"user_ctx": [f"reads {n}" for n in range(20)], "book_text": [f"tale {n}" for n in range(20)]})
SIGNS = [chr(0x1F600 + number) for number in range(20)]


@pytest.mark.parametrize("column", ["user_ctx", "book_text"])
def test_texts_of_which_the_base_knows_no_word_are_one_line_before_training_and_many_a_warning(
    column: str, tmp_path: Path, tokenizer: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    base = tmp_path / "source"
    models = (build(base, max_length=32, dropout=0.0, seed=1), open_bi_encoder(base))
    for model in models:
        words = re.escape(f"knows no word in 20 of 20 texts of {column}, such as {SIGNS[0]!r}: take a base model for")
        refused(words, lambda model=model: check_words(model, READS.assign(**{column: SIGNS}), base=base))
        capsys.readouterr()
        for unread, lines in ((2, 0), (3, 1), (19, 1)):
            texts = [*SIGNS[:unread], *READS[column][unread:]]
            check_words(model, READS.assign(**{column: texts}), base=base)
            printed = capsys.readouterr().out
            assert printed.count("\n") == printed.count(f"no word in {unread} of 20 texts of {column}") == lines


def test_both_trainings_look_at_the_words_first(tmp_path: Path, tokenizer: Any) -> None:
    pairs = READS.assign(user_id="u", book_id=READS.index.astype(str), label=READS.index % 2, book_text=SIGNS)
    same = {"base": tmp_path / "source", "seed": 1, "warmup": 0.0, "precision": "fp32", "validation_metric": "ndcg@10"}
    bi = {"bi_encoder_lr": 1e-4, "bi_encoder_epochs": 1, "bi_encoder_batch_size": 2, "loss": "cosine"}
    cross = {
        "lr": 1e-4,
        "head_lr": 1e-4,
        "epochs": 1,
        "batch_size": 2,
        "dropout": 0.0,
        "max_length": 32,
        "max_grade": 1,
    }
    cross |= {"loss": "lambda", "teacher_weight": 0.0, "symmetric": False, "eval_every": 1, "patience": 1}
    seen: list[Any] = []
    refused(
        "knows no word in 20 of 20 texts of book_text",
        lambda: train(pairs, pairs, record=lambda *values: seen.append(values), **same, **cross),
        lambda: train_bi_encoder(pairs, pairs, record=lambda *values: seen.append(values), **same, **bi),
    )
    assert seen == []
