"""Each text is tokenised once, and the pairs put together from the ids are those of the tokenizer itself."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sentence_transformers import CrossEncoder
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from tokenizers.processors import RobertaProcessing, TemplateProcessing
from transformers import PreTrainedTokenizerFast, RobertaConfig, RobertaForSequenceClassification

from rerank.model.encoder import build
from rerank.model.tokens import PairTokens, pair_tokens

TEXTS = st.one_of(
    st.text(max_size=60),
    st.text(alphabet="abc éßЖдм漢字かな한글عربהעב🙂 .,|", max_size=80),
    st.just(""),
    st.just("   "),
    st.integers(0, 90).map(lambda count: "book " * count),
)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, tiny_bert: Callable[..., Path]) -> CrossEncoder:
    return build(tiny_bert(tmp_path_factory.mktemp("bert")), max_length=32, dropout=0.0, seed=1)


@pytest.fixture(scope="module")
def roberta(tmp_path_factory: pytest.TempPathFactory) -> CrossEncoder:
    """Another family: bytes instead of words, two separators between the texts, no types."""
    folder = tmp_path_factory.mktemp("roberta")
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
        model_max_length=60,
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
    RobertaForSequenceClassification(config).save_pretrained(folder)
    return CrossEncoder(str(folder))


@pytest.mark.parametrize("family", ["model", "roberta"])
@settings(max_examples=150, deadline=None)
@given(pairs=st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=5), max_length=st.integers(5, 40))
def test_pairs_of_any_script_and_length_are_those_of_the_tokenizer(request, family, pairs, max_length):
    model = request.getfixturevalue(family)
    model.max_seq_length = max_length
    expected = model.preprocess(pairs)
    found = PairTokens(model).preprocess(pairs)
    assert {name for name, value in expected.items() if torch.is_tensor(value)} == set(found)
    for name, values in found.items():
        assert torch.equal(values, expected[name]), name


def test_lengths_are_those_of_the_batch_and_padding_is_masked(model):
    model.max_seq_length = 32
    tokens = PairTokens(model)
    tokens.add(["a", "a b c", "long " * 100])
    first, second = tokens.numbers_of(["a", "a b c"]), tokens.numbers_of(["a b c", "long " * 100])
    batch = tokens.batch(first, second, multiple=8)
    assert batch["input_ids"].shape[1] % 8 == 0
    assert batch["attention_mask"].sum(dim=1).tolist() == tokens.lengths(first, second).tolist() == [7, 32]


def test_a_text_is_tokenised_once(model):
    tokens = PairTokens(model)
    tokens.add(["one", "two"])
    before = len(tokens.ids)
    tokens.add(["two", "one", "two"])
    assert len(tokens.ids) == before


def test_a_tokenizer_that_joins_texts_in_its_own_way_is_left_to_itself(tmp_path, tiny_bert):
    model = build(tiny_bert(tmp_path), max_length=32, dropout=0.0, seed=1)
    assert pair_tokens(model) is not None
    model.tokenizer.padding_side = "left"
    assert pair_tokens(model) is None
    model.tokenizer.padding_side = "right"
    backend = model.tokenizer.backend_tokenizer
    backend.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $B [SEP] $A [SEP] $B [SEP]",
        special_tokens=[("[CLS]", 101), ("[SEP]", 102)],
    )
    assert pair_tokens(model) is None
