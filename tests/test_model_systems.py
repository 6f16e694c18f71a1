"""The systems that are models, against their parts: cosines, both orders, equal pairs scored once, speeds, refusals."""

import re

import numpy as np
import pandas as pd
import pytest
import torch
from sentence_transformers import SentenceTransformer

from rerank.errors import UserError
from rerank.model import cosines as cosines_module
from rerank.model.cosines import cosines
from rerank.model.encoder import build
from rerank.model.folder import Scoring
from rerank.systems.scoring import score

BOOKS = [
    "Title: The Red Desert | Genres: western, adventure",
    "Title: The Deep Sea | Genres: adventure, science",
    "Title: A Quiet Kitchen | Genres: cooking",
    "Title: Stars and Ships | Genres: science, space",
]


def pairs_of(contexts, texts, users=None):
    return pd.DataFrame(
        {
            "user_id": users or [f"u{context}" for context in contexts],
            "book_id": [f"b{text}" for text in texts],
            "user_ctx": contexts,
            "book_text": texts,
            "label": 0,
        }
    )


@pytest.fixture(scope="module")
def folder(tiny_bert, tmp_path_factory):
    """A bi-encoder."""
    return tiny_bert(tmp_path_factory.mktemp("bi-encoder"))


@pytest.fixture(scope="module")
def cross_encoder(folder, tmp_path_factory):
    """A cross-encoder that nobody here has trained."""
    target = tmp_path_factory.mktemp("cross-encoder")
    build(folder, max_length=64, dropout=0.0, seed=1).save_pretrained(str(target))
    return target


def encoder_scores(folder, contexts, texts, precision="fp32"):
    """The scores of the bi-encoder in ``folder``, by the registry."""
    found = score(pairs_of(contexts, texts), {"bi_encoder": folder}, max_length=64, precision=precision)
    return found["bi_encoder"]


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
def test_a_bi_encoder_stored_in_half_precision_computes_in_fp32(folder, tmp_path, kind):
    SentenceTransformer(str(folder)).to(kind).save_pretrained(str(tmp_path / "half"), create_model_card=False)
    SentenceTransformer(str(tmp_path / "half")).float().save_pretrained(str(tmp_path / "single"))
    half, single = (encoder_scores(tmp_path / name, BOOKS, BOOKS[::-1]) for name in ("half", "single"))
    np.testing.assert_array_equal(half, single)


def test_the_bi_encoder_scores_by_the_cosine_of_both_texts(folder):
    contexts = ["likes the sea", "likes cooking", "likes the sea", "likes stars"]
    left, right = (SentenceTransformer(str(folder), device="cpu").encode(texts) for texts in (contexts, BOOKS))
    expected = (left * right).sum(1) / np.linalg.norm(left, axis=1) / np.linalg.norm(right, axis=1)
    assert encoder_scores(folder, contexts, BOOKS) == pytest.approx(expected, abs=1e-5)


def test_the_bi_encoder_embeds_each_distinct_text_once(folder, monkeypatch):
    embedded = []
    encode = SentenceTransformer.encode

    def listening(self, texts, **options):
        embedded.extend(texts)
        return encode(self, texts, **options)

    monkeypatch.setattr(SentenceTransformer, "encode", listening)
    encoder_scores(folder, ["one reader"] * 8, BOOKS * 2)
    assert sorted(embedded) == sorted(["one reader", *BOOKS])


def test_the_bi_encoder_in_bf16_ranks_nearly_as_in_fp32(folder):
    generator = np.random.default_rng(2)
    texts = ["".join(generator.choice(list("abcdefgh "), size=generator.integers(3, 40))) for _ in range(100)]
    exact, coarse = (encoder_scores(folder, ["sea"] * 100, texts, precision=name) for name in ("fp32", "bf16"))
    assert np.corrcoef(exact, coarse)[0, 1] > 0.99


def test_cosines_do_not_depend_on_how_the_pairs_are_cut_into_batches(folder, monkeypatch):
    encoder = SentenceTransformer(str(folder), device="cpu")
    whole = cosines(encoder, ["a", "b", "c", "d"], BOOKS, precision="fp32")
    monkeypatch.setattr(cosines_module, "PAIRS_PER_BATCH", 3)
    assert np.array_equal(cosines(encoder, ["a", "b", "c", "d"], BOOKS, precision="fp32"), whole)


def test_every_row_gets_the_score_of_its_own_pair(cross_encoder):
    contexts, texts = ["sea", "kitchen", "sea", "sea"], [BOOKS[0], BOOKS[1], BOOKS[2], BOOKS[0]]
    together = score(pairs_of(contexts, texts), {"cross_encoder": cross_encoder}, max_length=64, precision="fp32")
    scores = together["cross_encoder"]
    assert scores[0] == scores[3] and len(set(scores)) == 3
    for row in range(3):
        two = pairs_of([contexts[row], "other"], [texts[row], "other"])
        alone = score(two, {"cross_encoder": cross_encoder}, max_length=64, precision="fp32")["cross_encoder"]
        assert alone[0] == pytest.approx(scores[row], abs=1e-5)


def test_the_speed_of_a_system_is_printed_by_all_its_pairs(cross_encoder, capsys):
    pairs = pairs_of(["sea"] * 4, BOOKS)
    score(pairs, {"bm25": None, "cross_encoder": cross_encoder}, max_length=64, precision="fp32")
    lines = capsys.readouterr().out.splitlines()
    for label, line in zip(("BM25", "cross-encoder"), lines, strict=True):
        assert re.fullmatch(rf"{label}: [\d,.]+ queries and [\d,]+ candidates a second", line)


def test_a_base_without_a_head_is_no_untuned_cross_encoder_and_one_with_a_head_is(folder, cross_encoder, capsys):
    pairs = pairs_of(["sea"] * 4, BOOKS)
    assert score(pairs, {"untuned_cross_encoder": folder}, max_length=64, precision="fp32") == {}
    assert f"{folder}: is no untuned cross-encoder: left out" in capsys.readouterr().out
    found = score(
        pairs, {"untuned_cross_encoder": cross_encoder, "cross_encoder": cross_encoder}, max_length=64, precision="fp32"
    )
    assert np.array_equal(found["untuned_cross_encoder"], found["cross_encoder"])


def test_a_bi_encoder_is_no_cross_encoder(folder):
    with pytest.raises(UserError, match=rf"{folder}: gives embeddings, not scores"):
        score(pairs_of(["sea"] * 4, BOOKS), {"cross_encoder": folder}, max_length=64, precision="fp32")


def test_a_base_that_reads_less_than_max_length_is_refused(cross_encoder):
    with pytest.raises(UserError, match=r"params\.yaml: max_length is 512"):
        score(pairs_of(["sea"] * 4, BOOKS), {"cross_encoder": cross_encoder}, max_length=512, precision="fp32")


def test_a_symmetric_model_scores_both_orders_alike(folder, tmp_path):
    build(folder, max_length=64, dropout=0.0, seed=1).save_pretrained(str(tmp_path))
    contexts, texts = ["make bread", "fly a kite"], ["buy bread", "eat bread"]
    scores = {}
    for symmetric in (False, True):
        Scoring(symmetric=symmetric, max_length=64, precision="fp32", task="duplicates").write(tmp_path)
        scores[symmetric] = [
            score(pairs_of(*order), {"cross_encoder": tmp_path}, max_length=64, precision="fp32")["cross_encoder"]
            for order in ((contexts, texts), (texts, contexts))
        ]
    assert scores[True][0] == pytest.approx(scores[True][1], abs=1e-5)
    assert np.abs(scores[False][0] - scores[False][1]).max() > 1e-4


@pytest.mark.parametrize(("trained", "cause"), [(True, "lower lr and head_lr"), (False, "its weights are broken")])
def test_a_model_that_scores_all_pairs_alike_is_refused_with_its_likely_cause(folder, tmp_path, trained, cause):
    built = build(folder, max_length=64, dropout=0.0, seed=1)
    built[-1].linear.weight.data.zero_()
    built.save_pretrained(str(tmp_path))
    if trained:
        Scoring(max_length=64, precision="fp32").write(tmp_path)
    with pytest.raises(UserError, match=rf"^cross_encoder: all 4 scores are .*: .*{cause}"):
        score(pairs_of(["sea"] * 4, BOOKS), {"cross_encoder": tmp_path}, max_length=64, precision="fp32")
