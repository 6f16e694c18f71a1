"""Each text is tokenised once, and the pairs put together from the ids are those of the tokenizer itself."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sentence_transformers import CrossEncoder
from tokenizers.processors import TemplateProcessing
from torch import nn

from rerank.model.encoder import build
from rerank.model.scores import score
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
def roberta(tmp_path_factory: pytest.TempPathFactory, tiny_roberta: Callable[..., Path]) -> CrossEncoder:
    return CrossEncoder(str(tiny_roberta(tmp_path_factory.mktemp("roberta"))))


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
    before = tokens.ids.size
    tokens.add(["two", "one", "two"])
    assert tokens.ids.size == before


def test_room_doubles_so_that_new_texts_are_not_paid_for_by_the_old_ones(model):
    tokens = PairTokens(model)
    rooms = []
    for number in range(3000):
        tokens.add([f"new text {number}"])
        rooms.append(tokens.ids.room)
    assert len({id(room) for room in rooms}) < 10
    assert len(tokens.ids.values) == tokens.ids.size <= len(tokens.ids.room) <= 2 * tokens.ids.size
    pairs = [("new text 7", "new text 2999"), ("new text 0", "new text 1500")]
    for name, values in tokens.preprocess(pairs).items():
        assert torch.equal(values, model.preprocess(pairs)[name]), name


def test_a_tokenizer_that_joins_texts_in_its_own_way_is_left_to_itself(tmp_path, tiny_bert):
    model = build(tiny_bert(tmp_path), max_length=32, dropout=0.0, seed=1)
    assert pair_tokens(model) is not None
    for side in ("padding_side", "truncation_side"):
        setattr(model.tokenizer, side, "left")
        assert pair_tokens(model) is None
        setattr(model.tokenizer, side, "right")
    assert pair_tokens(model) is not None
    backend = model.tokenizer.backend_tokenizer
    backend.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $B [SEP] $A [SEP] $B [SEP]",
        special_tokens=[("[CLS]", 101), ("[SEP]", 102)],
    )
    assert pair_tokens(model) is None


@pytest.mark.parametrize("strategy", ["only_first", "only_second"])
def test_a_model_that_cuts_one_text_alone_is_left_to_its_tokenizer(tmp_path, tiny_bert, strategy):
    model = build(tiny_bert(tmp_path), max_length=32, dropout=0.0, seed=1)
    own = model.preprocess
    model.preprocess = partial(own, processing_kwargs={"text": {"truncation": strategy}})
    cut = [("alpha " * 40, "beta"), ("alpha", "beta " * 40)][strategy == "only_second"]
    assert not torch.equal(model.preprocess([cut])["input_ids"], own([("alpha", "gamma")])["input_ids"])
    assert pair_tokens(model) is None


@pytest.mark.parametrize("side", ["padding_side", "truncation_side"])
def test_a_model_whose_tokenizer_works_from_the_left_scores_as_it_does_itself(tmp_path, tiny_bert, side):
    model = build(tiny_bert(tmp_path), max_length=24, dropout=0.0, seed=1)
    setattr(model.tokenizer, side, "left")
    contexts = ["one two three", "four " * 40, "five", "six seven"]
    texts = ["alpha beta " * 20, "gamma", "delta", " ".join("abcdefghijklmnop")]
    expected = model.predict(list(zip(contexts, texts, strict=True)), activation_fn=nn.Identity())
    found = score(model, contexts, texts, precision="fp32", progress=False)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    both = score(model, contexts, texts, precision="fp32", progress=False, symmetric=True)
    back = score(model, texts, contexts, precision="fp32", progress=False)
    np.testing.assert_allclose(both, (found + back) / 2, atol=1e-5)
