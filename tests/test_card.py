"""The model card says what a model is and how well it does, and holds no text of a reader."""

import json
from pathlib import Path

import pandas as pd
import pytest
from checkout import ROOT

from rerank.errors import UserError
from rerank.model.card import EXAMPLES
from rerank.model.folder import Scoring
from rerank.tasks import TASKS
from stages.card import SPLITS, main

READER = "Favorite books: The Diary That Only I Know by Somebody Private"
BOOK = "Title: A Book That No Card May Name | Genres: secret"


def write_card(folder: Path, *, how: Scoring, systems: dict[str, dict[str, object]], cut_pairs: float = 0.25) -> str:
    """Write what the other stages leave, run the stage, and return the card."""
    for number, name in enumerate(SPLITS):
        rows = [(f"u{user}", f"b{book}", READER, BOOK, book % 2) for user in range(3 - number) for book in range(4)]
        columns = ["user_id", "book_id", "user_ctx", "book_text", "label"]
        (folder / "split").mkdir(exist_ok=True)
        pd.DataFrame(rows, columns=columns).to_parquet(folder / f"split/{name}.parquet")
    (folder / "model").mkdir(exist_ok=True)
    how.write(folder / "model")
    params = {"lr": 0.001, "loss": "lambda", "validation_users": None}
    (folder / "model/training.json").write_text(json.dumps({"params": params, "cut_pairs": cut_pairs}))
    (folder / "training.json").write_text(json.dumps({"validation_ndcg@10": 0.51234}))
    (folder / "evaluation.json").write_text(json.dumps({"systems": systems}))
    (folder / "weights.json").write_text(json.dumps({"weights": {"item_knn": 1.304, "cross_encoder": 0.62}}))
    paths = {name: folder / f"{name}.json" for name in ("training", "evaluation", "weights")}
    main(split=folder / "split", model=folder / "model", card=folder / "card.md", **paths)
    return (folder / "card.md").read_text(encoding="utf-8")


def test_the_card_tells_counts_params_metrics_use_and_limits(tmp_path: Path) -> None:
    ranked = {"cross_encoder": {"ndcg@10": {"mean": 0.5, "low": 0.4, "high": 0.6}}, "bm25": {"ndcg@10": {"mean": 0.2}}}
    card = write_card(tmp_path, how=Scoring(max_length=24), systems=ranked)
    for words in (
        "| train | 3 | 4 | 12 | 6 |",
        "| test | 1 | 4 | 4 | 2 |",
        "| lr | 0.001 |",
        "Best on validation: ndcg@10 0.5123.",
        "| cross_encoder | 0.500 (0.400 to 0.600) |",
        "| bm25 | 0.200 |",
        "| item_knn | 1.30 |",
        "longer than 24 tokens are cut (25.0% of the training pairs)",
        "## Intended use",
        "## Limits",
    ):
        assert words in card
    assert card == write_card(tmp_path, how=Scoring(max_length=24), systems=ranked)


@pytest.mark.parametrize("task", TASKS)
def test_its_example_is_made_up_and_no_text_of_a_pair_is_in_it(tmp_path: Path, task: str) -> None:
    card = write_card(tmp_path, how=Scoring(max_length=24, task=task), systems={})
    assert all(text in card for text in EXAMPLES[task])
    assert READER not in card and BOOK not in card and "Somebody Private" not in card


def test_its_example_has_the_form_of_the_demo_and_is_none_of_its_readers() -> None:
    pairs = pd.read_parquet(ROOT / "data/demo/pairs.parquet")
    context, text = EXAMPLES["ranking"]
    assert context not in set(pairs["user_ctx"])
    assert text not in set(pairs["book_text"])
    for made_up, real in ((context, pairs["user_ctx"]), (text, pairs["book_text"])):
        start = made_up.partition(":")[0] + ":"
        assert real.str.startswith(start).mean() > 0.99


def test_a_symmetric_model_says_what_its_score_means(tmp_path: Path) -> None:
    value = {"cross_encoder": {"spearman": {"value": 0.7, "low": 0.6, "high": 0.8}}}
    card = write_card(tmp_path, how=Scoring(True, 5, 24, "fp32", "similarity"), systems=value)
    assert "estimate of label /\n5, best as the mean of the scores of both orders" in card
    assert "| cross_encoder | 0.700 (0.600 to 0.800) |" in card


def test_a_damaged_or_missing_file_is_one_line(tmp_path: Path) -> None:
    write_card(tmp_path, how=Scoring(max_length=24), systems={})
    paths = {name: tmp_path / f"{name}.json" for name in ("training", "evaluation")}
    changes = {"model/scoring.json": ["{", '{"symetric": true}'], "model/training.json": ["{", None]}
    for name, contents in changes.items():
        before = (tmp_path / name).read_text()
        for content in contents:
            (tmp_path / name).unlink() if content is None else (tmp_path / name).write_text(content)
            with pytest.raises(UserError, match=name) as error:
                main(split=tmp_path / "split", model=tmp_path / "model", card=tmp_path / "card.md", **paths)
            assert "\n" not in str(error.value)
            (tmp_path / name).write_text(before)
