"""Every system of the registry, against its formula or its parts, and how dvc.yaml names them."""

import math
import re
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rerank.errors import UserError
from rerank.systems.bm25 import bm25
from rerank.systems.popularity import popularity
from rerank.systems.registry import CHANCE, FUSED, SYSTEMS, opener, sources
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


def test_every_system_has_a_label_and_a_colour_of_its_own_and_a_scorer_that_is_there():
    for one, other in combinations(SYSTEMS.values(), 2):
        assert one.label != other.label and one.colour != other.colour
    for name, system in SYSTEMS.items():
        assert name == system.name and re.fullmatch("#[0-9A-Fa-f]{6}", system.colour)
        assert system.colour.upper() != "#D55E00"
        assert name in (CHANCE, FUSED) or callable(opener(system))


def test_popularity_counts_training_positives_and_gives_unseen_books_0():
    positives = pd.Series({"a": 3, "b": 1})
    assert popularity(pd.Series(["b", "a", "unseen", "a"]), positives).tolist() == [1, 3, 0, 3]


def test_bm25_ranks_the_book_that_shares_rare_words_first():
    contexts = ["Likes: deep sea stories"] * 4 + ["Likes: kitchen and cooking"] * 4
    scores = bm25(contexts, BOOKS * 2)
    assert scores[:4].argmax() == 1
    assert scores[4:].argmax() == 2


def test_bm25_ignores_case_and_stop_words():
    scores = bm25(["THE AND A KITCHEN"] * 4, BOOKS)
    assert np.flatnonzero(scores).tolist() == [2]


def test_bm25_of_a_context_without_a_known_word_is_0():
    assert bm25(["zzz"] * 4 + ["!"] * 4, BOOKS * 2).tolist() == [0] * 8


@pytest.mark.parametrize(
    "texts", [["!", "?", "..."], ["the", "a", "of"], ["\u4e00", "\u4e8c", "\u4e09"], ["a", "b", "c"]]
)
def test_bm25_of_texts_without_a_word_is_0(texts):
    assert bm25(["deep sea", "deep sea", "!"], texts).tolist() == [0, 0, 0]


def test_bm25_of_contexts_without_a_word_is_0():
    assert bm25(["!", "the", "?", "..."], BOOKS).tolist() == [0, 0, 0, 0]


def test_bm25_of_one_text_without_a_word_leaves_the_others_alone():
    scores = bm25(["deep sea"] * 5, [*BOOKS, "!"])
    assert scores.argmax() == 1 and scores[-1] == 0 and np.isfinite(scores).all()


def test_bm25_does_not_depend_on_which_pairs_of_the_same_texts_are_asked():
    contexts = [context for context in ("deep science", "red western desert") for _ in BOOKS]
    scores = bm25(contexts, BOOKS * 2)
    order = np.random.default_rng(0).permutation(8)
    shuffled = bm25([contexts[i] for i in order], [(BOOKS * 2)[i] for i in order])
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
    assert bm25([" ".join(query)] * len(texts), texts) == pytest.approx(expected, rel=1e-5)


def test_counts_and_words_may_rank_nothing(tmp_path):
    pd.DataFrame({"book_id": ["unseen"], "positives": [3]}).to_parquet(tmp_path / "popularity.parquet")
    found = score(
        pairs_of(["zzz"] * 4, BOOKS),
        {"popularity": tmp_path / "popularity.parquet", "bm25": None},
        max_length=64,
        precision="fp32",
    )
    assert {name: values.tolist() for name, values in found.items()} == {"popularity": [0] * 4, "bm25": [0] * 4}


def test_systems_are_named_with_the_path_that_they_score_with(tmp_path):
    assert sources(["bm25", f"bi_encoder={tmp_path}"]) == {"bm25": None, "bi_encoder": Path(tmp_path)}


@pytest.mark.parametrize(
    ("systems", "words"),
    [
        (["bm26"], "--systems bm26: no system is called 'bm26': the systems are chance, popularity, item_knn"),
        (["chance"], "--systems chance: chance is computed"),
        (["fused"], "--systems fused: fused is computed"),
        (["item_knn"], "--systems item_knn: item_knn needs a folder of neighbours: write item_knn=PATH"),
        (["bm25", "bm25"], "--systems bm25: bm25 is named twice"),
        (["bm25=models"], "--systems bm25=models: bm25 scores with the pairs alone"),
        (["bi_encoder"], "--systems bi_encoder: bi_encoder needs a model folder: write bi_encoder=PATH"),
        (["bi_encoder=gone"], "--systems bi_encoder=gone: gone does not exist: run `dvc repro`"),
    ],
)
def test_a_system_that_cannot_score_is_one_line(systems, words):
    with pytest.raises(UserError, match=re.escape(words)):
        sources(systems)
