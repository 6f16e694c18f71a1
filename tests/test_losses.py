"""A loss is one entry of the registry: what is added there is what trains, in steps that hold what they may."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from sentence_transformers import CrossEncoder
from sentence_transformers.cross_encoder import losses
from torch import nn

from rerank.errors import UserError
from rerank.model.encoder import build
from rerank.model.fine_tuning import train
from rerank.model.listwise import Listwise
from rerank.model.losses import LOSSES, loss_named, single_pairs, whole_lists

TRAINING: dict[str, Any] = {
    "seed": 1,
    "max_grade": 1,
    "lr": 1e-3,
    "head_lr": 1e-3,
    "epochs": 2,
    "batch_size": 12,
    "warmup": 0.0,
    "dropout": 0.0,
    "max_length": 24,
    "teacher_weight": 0.0,
    "symmetric": False,
    "validation_metric": "ndcg@10",
    "precision": "fp32",
    "eval_every": 50,
    "patience": 9,
    "record": lambda *_: None,
    "loss": "lambda",
}


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

    def make(model: CrossEncoder, teacher_weight: float) -> nn.Module:
        return Listwise(model, teacher_weight, loss=Watched)

    monkeypatch.setitem(LOSSES, "watched", replace(LOSSES["listnet"], make=make))
    pairs = uneven_lists()
    train(pairs, pairs, base=base, **{**TRAINING, "loss": "watched"})
    sizes = sorted(pairs.groupby("user_id").size())
    first = steps[: len(steps) // 2]
    assert len(steps) % 2 == 0 and sorted(size for step in first for size in step) == sizes
    assert all(sum(step) <= 12 or step == [20] for step in steps)
    assert max(len(step) for step in steps) > 1


@pytest.fixture(scope="module")
def model(base: Path) -> CrossEncoder:
    return build(base, max_length=24, dropout=0.0, seed=1)


def step(pairs: pd.DataFrame) -> tuple[tuple[list, list], list[torch.Tensor]]:
    rows = whole_lists(pairs, max_grade=1, symmetric=False)
    return (rows["user_ctx"], rows["texts"]), [torch.tensor(labels) for labels in rows["label"]]


@pytest.mark.parametrize("name", ["lambda", "listnet"])
def test_a_teacher_adds_the_cross_entropy_with_its_softmax_where_it_says_something(
    model: CrossEncoder, name: str
) -> None:
    pairs = uneven_lists()
    teacher = pairs["book_id"].str[1:].astype(float) - 1
    plain = LOSSES[name].make(model, 0.0)(*step(pairs))
    silent = LOSSES[name].make(model, 0.5)(*step(pairs.assign(teacher=0.0)))
    assert silent.item() == pytest.approx(plain.item(), rel=1e-6)
    some = pairs["user_id"] < "u03"
    taught = LOSSES[name].make(model, 0.5)(*step(pairs.assign(teacher=teacher.where(some, 0.0))))
    terms = []
    for _, rows in pairs[some].groupby("user_id"):
        texts = list(zip(rows["user_ctx"], rows["book_text"], strict=True))
        logits = torch.tensor(model.predict(texts, activation_fn=nn.Identity()))
        said = torch.softmax(2 * torch.tensor(teacher[rows.index].to_numpy(), dtype=torch.float32), dim=0)
        terms.append(-(said * torch.log_softmax(logits, dim=0)).sum().item())
    assert taught.item() == pytest.approx(plain.item() + 0.5 * sum(terms) / len(terms), rel=1e-4)


def own_contexts(pairs: pd.DataFrame) -> pd.DataFrame:
    """Give every row a context of its own, as where a reader's history grows."""
    return pairs.assign(user_ctx=pairs["user_ctx"] + " a" * 3 + pairs.index.astype(str))


def test_a_list_is_the_users_and_rows_are_the_same_where_each_has_one_context() -> None:
    pairs = uneven_lists()
    rows = whole_lists(pairs, max_grade=1, symmetric=False)
    assert rows.column_names == ["user_ctx", "texts", "label"]
    assert rows["user_ctx"][:2] == ["reads 0", "reads 1"] and list(map(len, rows["texts"]))[:3] == [2, 9, 3]
    own = whole_lists(own_contexts(pairs), max_grade=1, symmetric=False)
    assert (list(own["texts"]), list(own["label"])) == (list(rows["texts"]), list(rows["label"]))
    assert [context for contexts in own["user_ctx"] for context in contexts] == own_contexts(pairs)["user_ctx"].tolist()


@pytest.mark.parametrize("name", ["lambda", "listnet"])
def test_each_text_of_a_list_is_read_with_its_own_context(model: CrossEncoder, name: str) -> None:
    """The loss is that of the logits of each pair, and not that of one context for all of them."""
    pairs = own_contexts(uneven_lists())
    found = LOSSES[name].make(model, 0.0)(*step(pairs))
    texts = list(zip(pairs["user_ctx"], pairs["book_text"], strict=True))
    logits = torch.tensor(model.predict(texts, activation_fn=nn.Identity()))
    listwise = Listwise(model, 0.0, loss={"lambda": losses.LambdaLoss, "listnet": losses.ListNetLoss}[name])
    listwise.given.logits = logits
    assert found.item() == pytest.approx(listwise.listwise(*step(pairs)).item(), rel=1e-4)
    swapped = pairs.assign(user_ctx=pairs.groupby("user_id")["user_ctx"].transform("first"))
    assert found.item() != pytest.approx(LOSSES[name].make(model, 0.0)(*step(swapped)).item(), rel=1e-4)


@pytest.mark.parametrize("name", ["lambda", "listnet"])
def test_training_learns_where_every_row_has_its_own_context(base: Path, name: str) -> None:
    pairs = own_contexts(uneven_lists())
    seen: list[tuple[str, float, int]] = []
    record = lambda *values: seen.append(values)  # noqa: E731
    train(pairs, pairs, base=base, **{**TRAINING, "loss": name, "epochs": 6, "lr": 5e-3, "record": record})
    measured = [value for key, value, _ in seen if key == "ndcg@10"]
    assert min(value for key, value, _ in seen if key == "loss") > 0
    assert measured[-1] > measured[0] + 0.1


@pytest.mark.parametrize("label", [0, 1])
@pytest.mark.parametrize("name", list(LOSSES))
def test_labels_that_teach_nothing_are_one_line_before_the_first_step(base: Path, name: str, label: int) -> None:
    pairs = uneven_lists().assign(label=label)
    with pytest.raises(UserError) as error:
        train(pairs, uneven_lists(), base=base, **{**TRAINING, "loss": name})
    words = {"binary_cross_entropy": f"the label of all 69 training pairs is {label}"}
    assert words.get(name, "no list of the 11 users has both a positive and a negative") in str(error.value)
    assert "\n" not in str(error.value) and len(str(error.value)) <= 300


def test_lists_of_which_each_has_one_label_are_refused_though_both_labels_occur() -> None:
    pairs = uneven_lists()
    with pytest.raises(UserError, match="both a positive and a negative"):
        whole_lists(pairs.assign(label=(pairs["user_id"] > "u05").astype(int)), max_grade=1, symmetric=False)
    assert len(single_pairs(pairs, max_grade=1, symmetric=False)) == len(pairs)


def test_many_lists_that_teach_nothing_are_one_line_with_their_number(capsys: pytest.CaptureFixture[str]) -> None:
    pairs = uneven_lists()
    whole_lists(pairs.assign(label=pairs["label"].where(pairs["user_id"] > "u00", 1)), max_grade=1, symmetric=False)
    assert capsys.readouterr().out == ""
    whole_lists(pairs.assign(label=pairs["label"].where(pairs["user_id"] > "u03", 1)), max_grade=1, symmetric=False)
    printed = capsys.readouterr().out
    assert (
        printed.startswith("warning: 4 of 11 users have training pairs of a single label") and printed.count("\n") == 1
    )


def test_labels_that_say_nothing_are_no_hindrance_to_a_teacher(base: Path) -> None:
    """Labels at random, and a teacher who always prefers even books: that is what the model learns."""
    pairs = uneven_lists()
    even = pairs["book_id"].str[1:].astype(int) % 2 == 0
    pairs = pairs.assign(label=(pairs.index * 7 % 3 == 0).astype(int), teacher=even.map({True: 1.0, False: -1.0}))
    trained, _ = train(pairs, pairs, base=base, **{**TRAINING, "epochs": 40, "lr": 5e-3, "teacher_weight": 9.0})
    texts = list(zip(pairs["user_ctx"], pairs["book_text"], strict=True))
    scores = pd.Series(trained.predict(texts))
    assert scores[even].mean() > scores[~even].mean()


def names(known: Iterable[str]) -> str:
    return ", ".join(known)


def test_an_unknown_loss_is_one_line_that_names_all_that_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LOSSES, "hinge", LOSSES["listnet"])
    assert loss_named("hinge", symmetric=False) is LOSSES["listnet"]
    with pytest.raises(UserError) as error:
        loss_named("hing", symmetric=False)
    assert str(error.value) == f"params.yaml: loss is 'hing': give one of {names(LOSSES)}"
    assert "hinge" in str(error.value) and "\n" not in str(error.value)
