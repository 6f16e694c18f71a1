import math

import numpy as np
import pandas as pd
import pytest
from sentence_transformers import SentenceTransformer

from rerank.systems import baselines

BOOKS = [
    "Title: The Red Desert | Genres: western, adventure",
    "Title: The Deep Sea | Genres: adventure, science",
    "Title: A Quiet Kitchen | Genres: cooking",
    "Title: Stars and Ships | Genres: science, space",
]


def test_chance_is_uniform_and_depends_on_seed_user_and_book_alone():
    users, books = [f"u{n % 50}" for n in range(5000)], [f"b{n // 50}" for n in range(5000)]
    scores = baselines.chance(users, books, seed=1)
    assert np.histogram(scores, bins=10, range=(0, 1))[0].min() > 400
    assert np.array_equal(baselines.chance(users[::-1], books[::-1], seed=1)[::-1], scores)
    assert not np.array_equal(baselines.chance(users, books, seed=2), scores)
    assert len(set(scores)) == 5000


def test_chance_ranks_the_same_books_differently_for_two_users():
    books = [f"b{number}" for number in range(20)]
    one, other = (baselines.chance([user] * 20, books, seed=1) for user in ("u", "v"))
    assert np.argsort(one).tolist() != np.argsort(other).tolist()


def test_popularity_counts_training_positives_and_gives_unseen_books_0():
    positives = pd.Series({"a": 3, "b": 1})
    assert baselines.popularity(["b", "a", "unseen", "a"], positives).tolist() == [1, 3, 0, 3]


def test_bm25_ranks_the_book_that_shares_rare_words_first():
    contexts = ["Likes: deep sea stories"] * 4 + ["Likes: kitchen and cooking"] * 4
    scores = baselines.bm25(contexts, BOOKS * 2)
    assert scores[:4].argmax() == 1
    assert scores[4:].argmax() == 2


def test_bm25_ignores_case_and_stop_words():
    scores = baselines.bm25(["THE AND A KITCHEN"] * 4, BOOKS)
    assert np.flatnonzero(scores).tolist() == [2]


def test_bm25_of_a_context_without_a_known_word_is_0():
    assert baselines.bm25(["zzz"] * 4 + ["!"] * 4, BOOKS * 2).tolist() == [0] * 8


def test_bm25_does_not_depend_on_which_pairs_of_the_same_texts_are_asked():
    contexts = [context for context in ("deep science", "red western desert") for _ in BOOKS]
    scores = baselines.bm25(contexts, BOOKS * 2)
    order = np.random.default_rng(0).permutation(8)
    shuffled = baselines.bm25([contexts[i] for i in order], [(BOOKS * 2)[i] for i in order])
    assert shuffled.tolist() == scores[order].tolist()


def test_bm25_equals_its_formula():
    generator = np.random.default_rng(1)
    words = [f"word{number}" for number in range(30)]
    documents = [list(generator.choice(words, size=generator.integers(5, 15))) for _ in range(60)]
    mean_length = np.mean([len(document) for document in documents])
    query = words[:4]
    expected = []
    for document in documents:
        score = 0.0
        for word in query:
            holding = sum(word in other for other in documents)
            count = document.count(word)
            saturation = count + 1.5 * (1 - 0.75 + 0.75 * len(document) / mean_length)
            score += math.log(1 + (len(documents) - holding + 0.5) / (holding + 0.5)) * count / saturation
        expected.append(score)
    texts = [" ".join(document) for document in documents]
    assert baselines.bm25([" ".join(query)] * len(texts), texts) == pytest.approx(expected, rel=1e-5)


@pytest.fixture(scope="module")
def folder(tiny_bert, tmp_path_factory):
    return tiny_bert(tmp_path_factory.mktemp("bi-encoder"))


def test_the_bi_encoder_scores_by_the_cosine_of_both_texts(folder):
    contexts = ["likes the sea", "likes cooking", "likes the sea", "likes stars"]
    left, right = (SentenceTransformer(str(folder), device="cpu").encode(texts) for texts in (contexts, BOOKS))
    expected = (left * right).sum(1) / np.linalg.norm(left, axis=1) / np.linalg.norm(right, axis=1)
    scores = baselines.bi_encoder(folder, contexts, BOOKS, precision="fp32")
    assert scores == pytest.approx(expected, abs=1e-5)


def test_the_bi_encoder_embeds_each_distinct_text_once(folder, monkeypatch):
    embedded = []
    encode = SentenceTransformer.encode

    def listening(self, texts, **options):
        embedded.extend(texts)
        return encode(self, texts, **options)

    monkeypatch.setattr(SentenceTransformer, "encode", listening)
    baselines.bi_encoder(folder, ["one reader"] * 8, BOOKS * 2, precision="fp32")
    assert sorted(embedded) == sorted(["one reader", *BOOKS])


def test_the_bi_encoder_in_bf16_ranks_nearly_as_in_fp32(folder):
    generator = np.random.default_rng(2)
    texts = ["".join(generator.choice(list("abcdefgh "), size=generator.integers(3, 40))) for _ in range(100)]
    exact, coarse = (baselines.bi_encoder(folder, ["sea"] * 100, texts, precision=name) for name in ("fp32", "bf16"))
    assert np.corrcoef(exact, coarse)[0, 1] > 0.99


def test_cosines_do_not_depend_on_how_the_pairs_are_cut_into_batches(folder, monkeypatch):
    whole = baselines.bi_encoder(folder, ["a", "b", "c", "d"], BOOKS, precision="fp32")
    monkeypatch.setattr(baselines, "COSINE_BATCH", 3)
    assert np.array_equal(baselines.bi_encoder(folder, ["a", "b", "c", "d"], BOOKS, precision="fp32"), whole)
