"""A loss is one entry of the registry: what is added there is what trains, in steps that hold what they may."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from sentence_transformers import CrossEncoder
from sentence_transformers.cross_encoder import losses
from torch import nn

from rerank.errors import UserError
from rerank.model.fine_tuning import train
from rerank.model.losses import LOSSES, loss_named


def uneven_lists() -> pd.DataFrame:
    """Lists of 2 to 9 pairs, and one of 20."""
    rows = [
        (f"u{user:02d}", f"b{book}", f"reads {user}", f"a tale {book}", int(book % 2 == 0))
        for user, size in enumerate([2, 9, 3, 8, 4, 20, 5, 7, 6, 2, 3])
        for book in range(size)
    ]
    return pd.DataFrame(rows, columns=["user_id", "book_id", "user_ctx", "book_text", "label"])


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, tiny_bert: Callable[..., Path]) -> Path:
    return tiny_bert(tmp_path_factory.mktemp("base"), words=["reads", "a", "tale"])


def test_an_added_loss_trains_and_no_step_of_lists_holds_more_than_batch_size(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unless one list alone is longer."""
    steps: list[list[int]] = []

    class Watched(losses.ListNetLoss):
        def forward(self, inputs: list[list[str]], labels: list[torch.Tensor], **more: object) -> torch.Tensor:
            steps.append([len(one) for one in labels])
            return super().forward(inputs, labels, **more)

    def make(model: CrossEncoder) -> nn.Module:
        return Watched(model, mini_batch_size=-1)

    monkeypatch.setitem(LOSSES, "watched", replace(LOSSES["listnet"], make=make))
    pairs = uneven_lists()
    train(
        pairs,
        pairs,
        base=base,
        seed=1,
        max_grade=1,
        lr=1e-3,
        head_lr=1e-3,
        epochs=2,
        batch_size=12,
        warmup=0.0,
        dropout=0.0,
        max_length=24,
        loss="watched",
        symmetric=False,
        validation_metric="ndcg@10",
        precision="fp32",
        eval_every=50,
        patience=9,
        record=lambda *_: None,
    )
    sizes = sorted(pairs.groupby("user_id").size())
    first = steps[: len(steps) // 2]
    assert len(steps) % 2 == 0 and sorted(size for step in first for size in step) == sizes
    assert all(sum(step) <= 12 or step == [20] for step in steps)
    assert max(len(step) for step in steps) > 1


def names(known: Iterable[str]) -> str:
    return ", ".join(known)


def test_an_unknown_loss_is_one_line_that_names_all_that_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LOSSES, "hinge", LOSSES["listnet"])
    assert loss_named("hinge", symmetric=False) is LOSSES["listnet"]
    with pytest.raises(UserError) as error:
        loss_named("hing", symmetric=False)
    assert str(error.value) == f"params.yaml: loss is 'hing': give one of {names(LOSSES)}"
    assert "hinge" in str(error.value) and "\n" not in str(error.value)
