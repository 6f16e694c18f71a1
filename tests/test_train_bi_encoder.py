"""Each loss of a bi-encoder gets its own labels, learns, and repeats."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from sentence_transformers import SentenceTransformer
from transformers import BertModel

from rerank.errors import UserError
from rerank.model.bi_encoder import LOSSES, train_bi_encoder
from stages.train_bi_encoder import main

WORDS = ("bread", "kite", "soap", "jam", "boat", "robot", "scarf", "pond")


def toy_pairs(copies: int) -> pd.DataFrame:
    """Two questions mean the same when they name the same thing."""
    rows = []
    for number, word in enumerate(WORDS):
        for copy in range(copies):
            other = WORDS[(number + 1 + copy) % len(WORDS)]
            rows += [(f"make {word} {copy}", f"build a {word}", 1), (f"make {word} {copy}", f"build a {other}", 0)]
    table = pd.DataFrame(rows, columns=["user_ctx", "book_text", "label"])
    return table.assign(user_id=table["user_ctx"], book_id=table["book_text"])


@pytest.fixture(scope="module")
def run_train(tmp_path_factory: pytest.TempPathFactory, tiny_bert: Callable[..., Path]) -> Callable[..., Any]:
    base = tiny_bert(tmp_path_factory.mktemp("base"), words=[*WORDS, "make", "build", "a"])

    def run(loss: str, **changes: Any) -> Any:
        history: list[tuple[str, float, int]] = []
        params: dict[str, Any] = {
            "seed": 1,
            "bi_encoder_lr": 2e-3,
            "bi_encoder_epochs": 6,
            "bi_encoder_batch_size": 8,
            "warmup": 0.1,
            "precision": "fp32",
            "validation_metric": "average_precision",
            "record": lambda name, value, step: history.append((name, value, step)),
            **changes,
        }
        return *train_bi_encoder(toy_pairs(4), toy_pairs(2), base=base, loss=loss, **params), history

    return run


def test_every_loss_gets_the_labels_that_it_needs_and_changes_none_of_the_next() -> None:
    pairs = toy_pairs(2)
    before = pairs.copy()
    found = {name: loss.examples(pairs) for name, loss in [*LOSSES.items(), *LOSSES.items()]}
    pd.testing.assert_frame_equal(pairs, before)
    assert set(found["cosine"]["label"]) == {0.0, 1.0} and found["cosine"].features["label"].dtype == "float64"
    assert set(found["contrastive"]["label"]) == {0, 1} and found["contrastive"].features["label"].dtype == "int64"
    assert found["ranking"].column_names == ["user_ctx", "book_text"]
    positives = pairs[pairs["label"] == 1]
    assert list(zip(found["ranking"]["user_ctx"], found["ranking"]["book_text"], strict=True)) == list(
        zip(positives["user_ctx"], positives["book_text"], strict=True)
    )


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_ranks_duplicates_better_than_before(run_train: Callable[..., Any], loss: str) -> None:
    _, validation, history = run_train(loss)
    values = [value for name, value, _ in history if name == "average_precision"]
    assert len(values) == 7 and validation.best == max(values) > values[0] + 0.1


def test_params_reach_the_trainer_and_the_same_run_gives_the_same_weights(run_train: Callable[..., Any]) -> None:
    model, _, history = run_train("cosine", bi_encoder_epochs=1)
    again, _, _ = run_train("cosine", bi_encoder_epochs=1)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))
    assert history[-1][2] == 8
    assert run_train("cosine", bi_encoder_epochs=1, bi_encoder_batch_size=16)[2][-1][2] == 4
    slow = [value for _, value, _ in run_train("cosine", bi_encoder_epochs=1, bi_encoder_lr=1e-12)[2]]
    assert slow[0] == slow[-1] != history[-1][1]


def test_an_unknown_loss_is_one_clear_error(run_train: Callable[..., Any]) -> None:
    with pytest.raises(UserError, match="'triplet': give one of cosine, contrastive, ranking"):
        run_train("triplet")


def test_a_collapsed_run_names_the_params_of_a_bi_encoder(run_train: Callable[..., Any]) -> None:
    with pytest.raises(UserError, match=r"^bi_encoder_cosine: .*lower bi_encoder_lr, or train longer") as error:
        run_train("cosine", bi_encoder_lr=1.0, warmup=0.0)
    assert "\n" not in str(error.value) and "cross_encoder" not in str(error.value)


def test_the_stage_writes_a_bi_encoder_in_fp32_one_metric_and_the_curves(
    tmp_path: Path, tiny_bert: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    base = tiny_bert(tmp_path / "base", words=WORDS)
    BertModel.from_pretrained(base).to(torch.bfloat16).save_pretrained(base)
    keys = {"training_seed": 1, "bi_encoder_lr": 2e-3, "bi_encoder_epochs": 1, "bi_encoder_batch_size": 8}
    keys |= {"warmup": 0.1, "precision": "fp32", "task": "duplicates"}
    (tmp_path / "params.yaml").write_text(json.dumps(keys))
    (tmp_path / "dvc.yaml").write_text(json.dumps({"stages": {"train_bi_encoder": {"params": list(keys)}}}))
    (tmp_path / "split").mkdir()
    toy_pairs(4).to_parquet(tmp_path / "split/train.parquet")
    toy_pairs(2).to_parquet(tmp_path / "split/validation.parquet")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_STAGE", raising=False)
    made = []
    for name in ("one", "two"):
        paths = {"model": Path(name), "metrics": Path(f"{name}.json"), "curves": Path(f"{name}-curves")}
        main(loss_name="cosine", split=Path("split"), base=base, **paths)
        files = [path for path in tmp_path.rglob("*") if path.is_file() and f"/{name}" in str(path)]
        made.append({str(file).replace(name, ""): file.read_bytes() for file in files})
    assert made[0] == made[1] and len(made[0]) > 5
    assert list(json.loads(Path("one.json").read_text())) == ["validation_average_precision"]
    assert pd.read_csv("one-curves/loss.csv").columns.tolist() == ["step", "loss"]
    curve = pd.read_csv("one-curves/validation.csv")
    assert curve.columns.tolist() == ["step", "metric", "value"] and curve["step"].tolist() == [0, 8]
    assert {weight.dtype for weight in SentenceTransformer("one", device="cpu").parameters()} == {torch.float32}
