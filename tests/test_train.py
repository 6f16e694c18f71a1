"""Training does what params.yaml says, keeps the best weights, and repeats to the byte."""

import hashlib
import json
import shutil
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from checkout import ROOT, command
from ruamel.yaml import YAML
from safetensors import safe_open
from scipy.stats import spearmanr
from sentence_transformers import CrossEncoder
from sklearn.metrics import average_precision_score
from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification, BertModel

from rerank.errors import UserError
from rerank.launching import launch
from rerank.model import training
from rerank.model.encoder import build, head_parameters
from rerank.model.fine_tuning import train
from rerank.model.folder import Scoring, has_head, read_scoring
from rerank.model.lengths import share_longer
from rerank.model.losses import LOSSES, loss_named
from rerank.model.ranker import load
from rerank.model.scores import for_scoring, resolve_precision, score
from rerank.model.training import Validation, some_users
from stages.train import main

GENRES = ("space", "crime", "love", "myth")
PARAMS: dict[str, Any] = {
    "seed": 1,
    "max_grade": 1,
    "lr": 1e-3,
    "head_lr": 1e-3,
    "epochs": 1,
    "batch_size": 8,
    "warmup": 0.1,
    "dropout": 0.0,
    "max_length": 24,
    "loss": "binary_cross_entropy",
    "teacher_weight": 0.0,
    "symmetric": False,
    "validation_metric": "ndcg@10",
    "precision": "fp32",
    "eval_every": 3,
    "patience": 99,
}


def toy_pairs(users: int, *, offset: int = 0) -> pd.DataFrame:
    """Readers who all like one genre, which even two random layers can learn: two positives, six negatives each."""
    rows = []
    for user in range(offset, offset + users):
        likes = GENRES[0]
        for book in range(8):
            genre = GENRES[book % 4]
            text = f"a {genre} tale number {book} with a longer text that is cut"
            rows.append((f"u{user:03d}", f"b{book}", f"reads {likes}", text, int(genre == likes)))
    return pd.DataFrame(rows, columns=["user_id", "book_id", "user_ctx", "book_text", "label"])


Trained = tuple[CrossEncoder, Validation, list[tuple[str, float, int]]]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, tiny_bert: Callable[..., Path]) -> Path:
    return tiny_bert(tmp_path_factory.mktemp("base"), words=[*GENRES, "reads", "tale", "number", "a"])


@pytest.fixture(scope="module")
def run_train(base: Path) -> Callable[..., Trained]:
    def run(**changes: Any) -> Trained:
        history: list[tuple[str, float, int]] = []
        model, validation = train(
            toy_pairs(12),
            toy_pairs(4, offset=100),
            base=base,
            record=lambda name, value, step: history.append((name, value, step)),
            **{**PARAMS, **changes},
        )
        return model, validation, history

    return run


@pytest.fixture(scope="module")
def reference(run_train: Callable[..., Trained]) -> Trained:
    return run_train()


def measured_steps(history: list[tuple[str, float, int]]) -> list[int]:
    return [step for name, _, step in history if name == "ndcg@10"]


def losses_of(history: list[tuple[str, float, int]]) -> list[float]:
    return [value for name, value, _ in history if name == "loss"]


def moved(model: CrossEncoder, start: CrossEncoder, *, head: bool) -> float:
    """Return the largest change of a weight in the head, or in the pretrained layers."""
    pairs = zip(model.named_parameters(), start.parameters(), strict=True)
    return max(float((a - b).detach().abs().max()) for (name, a), b in pairs if (not name.startswith("0.")) == head)


def test_validation_is_measured_before_the_first_step_at_every_interval_and_at_the_end(reference: Trained) -> None:
    assert measured_steps(reference[2]) == [0, 3, 6, 9, 12]


def test_eval_every_reaches_the_trainer(run_train: Callable[..., Trained]) -> None:
    assert measured_steps(run_train(eval_every=5)[2]) == [0, 5, 10, 12]


def test_epochs_and_batch_size_reach_the_trainer(run_train: Callable[..., Trained]) -> None:
    assert measured_steps(run_train(epochs=0.5)[2])[-1] == 6
    assert measured_steps(run_train(batch_size=16)[2])[-1] == 6


def test_lr_and_head_lr_reach_their_own_layers(run_train: Callable[..., Trained], base: Path) -> None:
    start = build(base, max_length=24, dropout=0.0, seed=1)
    only_head, *head_history = run_train(lr=1e-12, head_lr=1e-2, epochs=4)
    only_body, *body_history = run_train(lr=1e-2, head_lr=1e-12, epochs=4)
    assert head_history[0].best_step > 0 and body_history[0].best_step > 0, "the weights before the first step won"
    assert moved(only_head, start, head=False) < 1e-7 < 1e-4 < moved(only_head, start, head=True)
    assert moved(only_body, start, head=True) < 1e-7 < 1e-4 < moved(only_body, start, head=False)


def test_warmup_is_a_share_of_the_steps_and_slows_the_start(run_train: Callable[..., Trained]) -> None:
    slow, fast = (losses_of(run_train(warmup=share)[2]) for share in (0.9, 0.0))
    assert slow[0] == fast[0]
    assert min(fast[:6]) < min(slow[:6])


def test_dropout_reaches_every_layer_and_only_training(run_train: Callable[..., Trained], reference: Trained) -> None:
    model, _, history = run_train(dropout=0.4)
    assert model[0].model.config.hidden_dropout_prob == model[0].model.config.attention_probs_dropout_prob == 0.4
    assert {module.p for module in model.modules() if isinstance(module, torch.nn.Dropout)} == {0.4}
    assert losses_of(history) != losses_of(reference[2])
    texts = ["reads space"] * 2, ["a space tale"] * 2
    assert np.ptp(score(model, *texts, precision="fp32")) < 1e-5


def test_weight_decay_shrinks_the_weights(run_train: Callable[..., Trained], monkeypatch: pytest.MonkeyPatch) -> None:
    def size(model: CrossEncoder) -> float:
        return sum(
            float((p**2).sum().detach()) for name, p in model.named_parameters() if name.endswith("linear.weight")
        )

    usual = size(run_train(epochs=4)[0])
    monkeypatch.setattr(training, "WEIGHT_DECAY", 50.0)
    assert size(run_train(epochs=4)[0]) < 0.9 * usual


def test_max_length_cuts_what_the_model_reads(run_train: Callable[..., Trained], reference: Trained) -> None:
    model = run_train(max_length=10)[0]
    assert (model.max_seq_length, reference[0].max_seq_length) == (10, 24)
    assert model.preprocess([("reads space", "a tale " * 50)])["input_ids"].shape[1] == 10


def test_every_loss_learns_from_the_same_pairs(run_train: Callable[..., Trained]) -> None:
    first = {}
    for name in LOSSES:
        _, validation, history = run_train(loss=name, epochs=8, eval_every=12)
        assert validation.best > 0.9, (name, validation.best)
        first[name] = losses_of(history)[0]
    assert len(set(first.values())) == len(LOSSES) == 3


def test_a_listwise_step_holds_as_many_pairs_as_a_pairwise_one() -> None:
    pairs = toy_pairs(12)
    lists = LOSSES["lambda"].rows(pairs, max_grade=1, symmetric=False)
    assert len(lists) == 12 and [len(labels) for labels in lists["label"]] == [8] * 12
    assert LOSSES["lambda"].steps(lists, 16)[0] == LOSSES["listnet"].steps(lists, 16)[0] == 2
    rows = LOSSES["binary_cross_entropy"].rows(pairs, max_grade=1, symmetric=False)
    assert (len(rows), LOSSES["binary_cross_entropy"].steps(rows, 16)[0]) == (96, 16)
    in_lists = [(row["user_ctx"], text) for row in lists for text in row["texts"]]
    assert sorted(in_lists) == sorted(zip(rows["user_ctx"], rows["book_text"], strict=True))


def test_grades_are_scaled_to_one_for_cross_entropy_and_kept_as_gains_in_lists() -> None:
    pairs = toy_pairs(1).assign(label=[0, 1, 2, 3, 0, 1, 2, 3])
    data = LOSSES["binary_cross_entropy"].rows(pairs, max_grade=3, symmetric=False)
    assert data["label"] == [0, 1 / 3, 2 / 3, 1, 0, 1 / 3, 2 / 3, 1]
    data = LOSSES["lambda"].rows(pairs, max_grade=3, symmetric=False)
    assert data["label"] == [[0, 1, 2, 3, 0, 1, 2, 3]]


@pytest.mark.parametrize("loss", LOSSES)
def test_the_largest_grade_that_params_allow_gives_a_finite_loss_and_learns(
    run_train: Callable[..., Trained], loss: str, base: Path
) -> None:
    history: list[tuple[str, float, int]] = []
    graded = [pairs.assign(label=pairs["label"] * 29 + 1) for pairs in (toy_pairs(12), toy_pairs(4, offset=100))]
    _, validation = train(
        *graded,
        base=base,
        record=lambda name, value, step: history.append((name, value, step)),
        **{**PARAMS, "loss": loss, "max_grade": 30, "epochs": 8, "eval_every": 12},
    )
    assert np.isfinite(losses_of(history)).all() and validation.best > 0.9


def test_an_unknown_loss_is_one_line_that_names_the_known_ones() -> None:
    with pytest.raises(UserError) as error:
        loss_named("hinge", symmetric=False)
    assert str(error.value) == "params.yaml: loss is 'hinge': give one of binary_cross_entropy, lambda, listnet"


def test_symmetric_pairs_are_learnt_in_both_orders_and_score_the_same_in_both(
    run_train: Callable[..., Trained], base: Path
) -> None:
    pairs = toy_pairs(2)
    data = LOSSES["binary_cross_entropy"].rows(pairs, max_grade=1, symmetric=True)
    given = list(zip(data["user_ctx"], data["book_text"], data["label"], strict=True))
    assert len(given) == 32
    assert sorted(given) == sorted((text, context, label) for context, text, label in given)
    assert measured_steps(run_train(symmetric=True)[2])[-1] == 24
    for name in ("lambda", "listnet"):
        with pytest.raises(UserError, match=f"loss is '{name}', which can't learn both .*: set loss to binary_cross"):
            loss_named(name, symmetric=True)
    model = build(base, max_length=24, dropout=0.0, seed=1)
    texts = pairs["user_ctx"].tolist(), pairs["book_text"].tolist()
    forth, back, mean = (
        score(model, *texts, precision="fp32"),
        score(model, *texts[::-1], precision="fp32"),
        score(model, *texts, precision="fp32", symmetric=True),
    )
    assert np.abs(forth - back).max() > 1e-3
    np.testing.assert_allclose(mean, (forth + back) / 2, atol=1e-5)


def test_the_validation_metric_decides_which_weights_are_best(run_train: Callable[..., Trained]) -> None:
    for metric, value in (("spearman", spearmanr), ("average_precision", average_precision_score)):
        model, validation, history = run_train(validation_metric=metric, epochs=4, eval_every=4)
        values = [found for name, found, _ in history if name == metric]
        assert len(values) == 13 and validation.best == max(values)
        pairs = validation.pairs
        scores = score(model, pairs["user_ctx"].tolist(), pairs["book_text"].tolist(), precision="fp32")
        found = value(pairs["label"], scores)
        assert validation.best == pytest.approx(getattr(found, "statistic", found), abs=1e-6)


def test_precision_reaches_the_trainer(run_train: Callable[..., Trained], reference: Trained) -> None:
    model, _, history = run_train(precision="bf16")
    assert losses_of(history) != losses_of(reference[2])
    assert losses_of(history) == pytest.approx(losses_of(reference[2]), rel=0.05)
    assert {p.dtype for p in model.parameters()} == {torch.float32}


@pytest.mark.parametrize(
    ("able", "precision"),
    [({}, "fp32"), ({"avx512_f": True}, "fp32"), ({"avx512_bf16": True}, "bf16"), ({"amx_bf16": True}, "bf16")],
)
def test_a_processor_takes_bf16_by_itself_where_it_has_its_products(
    able: dict[str, bool], precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able)
    assert resolve_precision("auto", "cpu") == precision
    assert [resolve_precision(named, "cpu") for named in ("fp32", "bf16")] == ["fp32", "bf16"]


def test_the_precision_of_params_yaml_beats_that_of_a_launchers_configuration(
    run_train: Callable[..., Trained], reference: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    for inherited in ("bf16", "fp16"):
        monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", inherited)
        assert run_train()[2] == reference[2]


def test_patience_stops_a_run_that_no_longer_improves(run_train: Callable[..., Trained]) -> None:
    _, validation, history = run_train(lr=1e-12, head_lr=1e-12, patience=2, epochs=4)
    assert measured_steps(history) == [0, 3, 6]
    assert validation.best_step == 0


def test_the_seed_reaches_the_head_and_the_order(run_train: Callable[..., Trained], reference: Trained) -> None:
    assert losses_of(run_train(seed=2)[2]) != losses_of(reference[2])


def test_the_best_weights_are_kept_not_the_last(run_train: Callable[..., Trained]) -> None:
    model, validation, history = run_train(epochs=8, eval_every=4, lr=3e-3, head_lr=3e-3)
    values = {step: value for name, value, step in history if name == "ndcg@10"}
    assert validation.best == max(values.values()) == values[validation.best_step]
    assert validation(model)["ndcg@10"] == pytest.approx(validation.best, abs=1e-9)


def test_the_same_run_writes_the_same_bytes_and_plain_cross_encoder_loads_them(
    run_train: Callable[..., Trained], tmp_path: Path
) -> None:
    hashes = []
    for name in ("one", "two"):
        model, _, _ = run_train(dropout=0.1)
        model.save_pretrained(str(tmp_path / name), create_model_card=False)
        files = sorted(path for path in (tmp_path / name).rglob("*") if path.is_file())
        hashes.append(
            [(str(f.relative_to(tmp_path / name)), hashlib.sha256(f.read_bytes()).hexdigest()) for f in files]
        )
    assert hashes[0] == hashes[1]
    assert has_head(tmp_path / "one")
    pairs = toy_pairs(2)
    plain = CrossEncoder(str(tmp_path / "one")).predict(
        list(zip(pairs["user_ctx"], pairs["book_text"], strict=True)), activation_fn=torch.nn.Identity()
    )
    ours = load(tmp_path / "one", otherwise=Scoring(precision="fp32")).score(pairs["user_ctx"], pairs["book_text"])
    np.testing.assert_allclose(plain, ours, atol=1e-6)


def test_bf16_scores_do_not_tie_candidates_that_differ(reference: Trained) -> None:
    pairs = toy_pairs(4)
    texts = [f"{text} {number}" for number, text in enumerate(pairs["book_text"])]
    model = reference[0]
    exact = score(model, pairs["user_ctx"], texts, precision="fp32")
    rough = score(model, pairs["user_ctx"], texts, precision="bf16")
    assert len(set(rough)) > 0.9 * len(set(exact))
    assert np.corrcoef(exact, rough)[0, 1] > 0.99


@pytest.mark.parametrize("kind", ["bert", "roberta"])
def test_the_last_layer_computes_in_fp32_with_the_weights_that_it_had(
    kind: str, reference: Trained, tmp_path: Path, tiny_roberta: Callable[[Path], Path]
) -> None:
    model = reference[0] if kind == "bert" else load(tiny_roberta(tmp_path)).model
    ready = for_scoring(model, precision="bf16")
    last = [(name, module) for name, module in ready.named_modules() if isinstance(module, torch.nn.Linear)][-1]
    seen: list[torch.Tensor] = []
    last[1].register_forward_hook(lambda module, given, found: seen.append(found))
    ready.predict([("reads space", "a space tale")])
    assert seen[0].dtype == torch.float32
    assert torch.equal(last[1].weight, model.get_submodule(last[0]).weight)
    others = {name: one.dtype for name, one in ready.named_parameters() if not name.startswith(last[0])}
    assert set(others.values()) == {torch.bfloat16}


def test_each_batch_is_scored_on_one_thread_and_torch_has_its_number_of_threads_again(reference: Trained) -> None:
    model, pairs, before = reference[0], toy_pairs(40), torch.get_num_threads()
    used = set()

    def forward(features: dict[str, torch.Tensor]) -> torch.Tensor:
        used.add((threading.current_thread().name, torch.get_num_threads()))
        return model(features)["scores"]

    scores = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            scores.append(score(model, pairs["user_ctx"], pairs["book_text"], precision="fp32", forward=forward))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert {number for _, number in used} == {1} and len({name for name, _ in used}) > 1
    assert scores[0].tobytes() == scores[1].tobytes() == scores[2].tobytes()


def test_a_base_with_a_head_keeps_it(base: Path, tmp_path: Path) -> None:
    build(base, max_length=24, dropout=0.0, seed=1).save_pretrained(str(tmp_path / "ranker"))
    again = build(tmp_path / "ranker", max_length=24, dropout=0.0, seed=2)
    first = build(base, max_length=24, dropout=0.0, seed=1)
    assert not has_head(base)
    for a, b in zip(first.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)


def test_the_classifier_of_a_bert_has_the_learning_rate_of_a_head(tmp_path: Path, base: Path) -> None:
    config = BertConfig.from_pretrained(base, num_labels=1, initializer_range=0.3)
    BertForSequenceClassification(config).save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(base).save_pretrained(tmp_path)
    assert has_head(tmp_path)
    start = build(tmp_path, max_length=24, dropout=0.0, seed=1)
    assert head_parameters(start) == ["0.model.classifier.weight", "0.model.classifier.bias"]
    quiet = {"record": lambda *_: None, "base": tmp_path}
    changes = {"head_lr": 1e-12, "epochs": 8}
    model, validation = train(toy_pairs(12), toy_pairs(4, offset=100), **quiet, **{**PARAMS, **changes})
    model.save_pretrained(str(tmp_path / "trained"))
    assert has_head(tmp_path / "trained"), "a base model again"
    assert validation.best_step > 0, "the weights before the first step won"
    changed = {
        name: float((after - before).detach().abs().max())
        for (name, after), before in zip(model.named_parameters(), start.parameters(), strict=True)
    }
    assert max(change for name, change in changed.items() if "classifier" in name) < 1e-7
    assert max(change for name, change in changed.items() if "classifier" not in name) > 1e-4


def test_a_base_that_cannot_do_what_is_asked_is_one_clear_error(
    tmp_path: Path, base: Path, tiny_roberta: Callable[..., Path]
) -> None:
    """In training and where it is to score; a RoBERTa with 64 positions reads 62 tokens."""
    folders = {name: tmp_path / name for name in ("three", "padless", "roberta")}
    BertForSequenceClassification(BertConfig.from_pretrained(base, num_labels=3)).save_pretrained(folders["three"])
    AutoTokenizer.from_pretrained(base).save_pretrained(folders["three"])
    BertForSequenceClassification(BertConfig.from_pretrained(base, num_labels=1)).save_pretrained(folders["padless"])
    padless = AutoTokenizer.from_pretrained(base)
    padless.pad_token = None
    padless.save_pretrained(folders["padless"])
    tiny_roberta(folders["roberta"])
    head = build(base, max_length=100, dropout=0.0, seed=1)
    head.save_pretrained(str(tmp_path / "bert"))
    for folder, length, words in (
        (base, 300, "reads 128 tokens at most"),
        (tmp_path / "bert", 129, "reads 128 tokens at most"),
        (folders["three"], 24, "gives 3 scores for a pair"),
        (folders["padless"], 24, "its tokenizer has no padding token"),
        (folders["roberta"], 63, "params.yaml: max_length is 63: .* reads 62 tokens at most"),
    ):
        openings = [lambda folder=folder, length=length: build(folder, max_length=length, dropout=0.0, seed=1)]
        if folder != base:
            openings.append(lambda folder=folder, length=length: load(folder, otherwise=Scoring(max_length=length)))
        for opening in openings:
            with pytest.raises(UserError, match=words) as error:
                opening()
            assert "\n" not in str(error.value)


def test_a_roberta_scores_the_longest_pairs_that_it_can_read(tmp_path: Path, tiny_roberta: Callable[..., Path]) -> None:
    folder = tiny_roberta(tmp_path)
    long = ["word " * 100], ["other " * 100]
    cut, whole = (load(folder, otherwise=Scoring(max_length=length)) for length in (62, None))
    assert np.isfinite(cut.score(*long)).all()
    assert whole.model.max_seq_length == 62
    assert whole.score(*long).tobytes() == cut.score(*long).tobytes()
    build(folder, max_length=62, dropout=0.0, seed=1).predict([("word " * 100, "other " * 100)])


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
def test_a_base_of_any_precision_becomes_a_model_in_fp32(tmp_path: Path, base: Path, kind: torch.dtype) -> None:
    shutil.copytree(base, tmp_path / "base")
    BertModel.from_pretrained(base).to(kind).save_pretrained(tmp_path / "base")
    with safe_open(tmp_path / "base/model.safetensors", "pt") as weights:
        assert {weights.get_tensor(name).dtype for name in weights.keys()} == {kind}  # noqa: SIM118
    quiet = {"record": lambda *_: None, "base": tmp_path / "base"}
    model, _ = train(toy_pairs(4), toy_pairs(2, offset=100), **quiet, **PARAMS)
    model.save_pretrained(str(tmp_path / "trained"))
    for file in (tmp_path / "trained").rglob("*.safetensors"):
        with safe_open(file, "pt") as weights:
            assert {weights.get_tensor(name).dtype for name in weights.keys()} == {torch.float32}  # noqa: SIM118
    again = build(tmp_path / "trained", max_length=24, dropout=0.0, seed=1)
    assert {parameter.dtype for parameter in again.parameters()} == {torch.float32}


@pytest.mark.parametrize(
    ("metric", "labels", "words"),
    [
        ("ndcg@10", 0, "validation: ndcg@10 can't be measured, because no user has a label above 0: correct"),
        ("average_precision", 0, "validation: average_precision can't be measured, because no label is above 0"),
        ("spearman", 1, "validation: spearman can't be measured, because all labels are the same: correct"),
    ],
)
def test_a_metric_that_is_no_number_is_refused_before_the_first_step(
    base: Path, metric: str, labels: int, words: str
) -> None:
    seen = []
    changes = {"validation_metric": metric, "base": base, "record": lambda *record: seen.append(record)}
    with pytest.raises(UserError, match=words):
        train(toy_pairs(12), toy_pairs(4).assign(label=labels), **{**PARAMS, **changes})
    assert seen == []


def test_the_share_of_longer_pairs_is_counted_with_special_tokens(base: Path) -> None:
    model = build(base, max_length=24, dropout=0.0, seed=1)
    texts = ["a tale", "a tale a", "a tale a tale", "a " * 300]
    pairs = pd.DataFrame({"user_ctx": ["reads love", "reads love", "reads love", "a"], "book_text": texts})
    longest = [len(model.tokenizer(*pair)["input_ids"]) for pair in pairs.to_numpy().tolist()]
    assert longest == [7, 8, 9, 304]
    for length in (6, 7, 8, 9, 400):
        expected = sum(tokens > length for tokens in longest) / 4
        assert share_longer(model, pairs, max_length=length) == expected


def test_a_collapsed_run_is_one_clear_error(run_train: Callable[..., Trained]) -> None:
    with pytest.raises(UserError, match="lower lr"):
        run_train(lr=1.0, head_lr=1.0, epochs=10, warmup=0.0)


def test_some_users_are_whole_and_chosen_by_hash() -> None:
    pairs = toy_pairs(30)
    chosen = [set(some_users(pairs, users, seed=1)["user_id"]) for users in (5, 10)]
    assert [len(users) for users in chosen] == [5, 10] and chosen[0] < chosen[1]
    assert chosen[0] != {f"u{user:03d}" for user in range(5)}
    assert chosen[0] != set(some_users(pairs, 5, seed=2)["user_id"])
    assert len(some_users(pairs, 5, seed=1)) == 5 * 8
    pd.testing.assert_frame_equal(some_users(pairs, None, seed=1), pairs)


def test_losses_take_all_candidates_of_a_step_at_once(base: Path) -> None:
    model = build(base, max_length=24, dropout=0.0, seed=1)
    for name in ("lambda", "listnet"):
        assert LOSSES[name].make(model, 0.0).listwise.mini_batch_size == -1


def write_project(folder: Path, **changes: object) -> list[str]:
    """Write what the train stage reads: params.yaml, dvc.yaml and a split; return the keys that it declares."""
    keys = {**PARAMS, "training_seed": 1, "task": "ranking", "validation_users": None, "eval_every": 2}
    keys = {**keys, "favourite_parts": None, **changes}
    del keys["symmetric"], keys["validation_metric"]
    yaml = YAML()
    yaml.dump(keys, folder / "params.yaml")
    yaml.dump({"stages": {"train": {"cmd": "true", "params": list(keys)}}}, folder / "dvc.yaml")
    (folder / "split").mkdir(exist_ok=True)
    toy_pairs(12).to_parquet(folder / "split/train.parquet")
    toy_pairs(4, offset=100).to_parquet(folder / "split/validation.parquet")
    return [key for key in keys if key != "launcher"]


def train_line(base: Path, name: str) -> str:
    return (
        f"PYTHONPATH={ROOT / 'src'} python -m stages.train --split split --base {base} --model {name} "
        f"--metrics {name}.json --curves {name}-curves --teacher teacher.parquet"
    )


@pytest.mark.parametrize(
    "how", [{}, {"loss": "lambda", "teacher_weight": 0.5, "batch_size": 16}], ids=["pairs", "lists"]
)
def test_two_processes_follow_the_curve_of_one_and_only_the_first_writes(
    tmp_path: Path, base: Path, how: dict[str, Any]
) -> None:
    """Of lists, all but the last biases: they shift a whole list, so that their gradients are rounding alone."""
    keys = write_project(tmp_path, **how)
    pairs = toy_pairs(12)
    pairs[["user_id", "book_id"]].assign(teacher=pairs.index * 7 % 11 - 5.0).to_parquet(tmp_path / "teacher.parquet")
    curves, models_loaded = {}, {}
    for name, launcher in {"one": "python", "two": "accelerate launch --multi_gpu --num_processes 2"}.items():
        write_project(tmp_path, **how, launcher=launcher)
        models_loaded[name] = command(tmp_path, train_line(base, name)).count("Loading weights: 100%")
        tables = [pd.read_csv(tmp_path / f"{name}-curves/{table}.csv") for table in ("loss", "validation")]
        assert tables[0].columns.tolist() == ["step", "loss"]
        assert tables[1].columns.tolist() == ["step", "metric", "value"] and set(tables[1]["metric"]) == {"ndcg@10"}
        curves[name] = [table.iloc[:, -1].to_numpy() for table in tables]
    assert models_loaded["two"] == 2 * models_loaded["one"] > 0
    for alone, shared in zip(curves["one"], curves["two"], strict=True):
        assert len(alone) >= 4
        np.testing.assert_allclose(shared, alone, rtol=1e-4, atol=1e-5)
    made = {path.name for path in tmp_path.iterdir()}
    files = {name + suffix for name in ("one", "two") for suffix in ("", ".json", "-curves")}
    assert made == {"dvc.yaml", "params.yaml", "split", "teacher.parquet", *files}
    with (
        pytest.MonkeyPatch.context() as patch,
        pytest.raises(UserError, match="which 3 processes cannot share equally"),
    ):
        patch.setenv("WORLD_SIZE", "3")
        train(toy_pairs(2), toy_pairs(2), base=base, record=lambda *_: None, **PARAMS)
    one, other = (load(tmp_path / name).model.state_dict() for name in ("one", "two"))
    shifts = {"3.norm.bias", "4.linear.bias"} if how else set()
    assert all(torch.allclose(one[name], other[name], atol=1e-5) for name in one.keys() - shifts)
    assert read_scoring(tmp_path / "one") == Scoring(max_grade=1, max_length=24, precision="fp32", task="ranking")
    metrics = json.loads((tmp_path / "one.json").read_text())
    assert metrics["validation_ndcg@10"] == curves["one"][1].max()
    kept = json.loads((tmp_path / "one/training.json").read_text())
    assert sorted(kept["params"]) == sorted(keys) and kept["params"]["lr"] == PARAMS["lr"]


@pytest.mark.parametrize(
    ("launcher", "words"),
    [
        ("$(touch RAN)", "'$(touch' can't be started (No such file or directory)"),
        ("`touch RAN`", "can't be started"),
        ("python; touch RAN #", "'python;' can't be started"),
        ("accelerat launch", "'accelerat' can't be started (No such file or directory): give python, or a program"),
        ("./split", "can't be started (Permission denied)"),
        ("accelerate 'launch", "No closing quotation"),
        ("   ", "give python, or a program and its arguments"),
    ],
)
def test_a_launcher_is_no_shell_line_and_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, launcher: str, words: str
) -> None:
    (tmp_path / "split").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as error:
        launch("stages.train", launcher)
    assert str(error.value).startswith("params.yaml: launcher is ") and words in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == ["split"]


def test_a_launcher_that_is_not_there_costs_one_line(tmp_path: Path, base: Path) -> None:
    write_project(tmp_path, launcher="accelerat launch")
    before = sorted(path.name for path in tmp_path.iterdir())
    printed = command(tmp_path, train_line(base, "one"), fails=True)
    assert printed.strip().splitlines()[-1].startswith("error: params.yaml: launcher is 'accelerat launch': ")
    assert "Traceback" not in printed and sorted(path.name for path in tmp_path.iterdir()) == before


def test_what_a_shell_would_expand_reaches_the_launcher_as_it_is(tmp_path: Path, base: Path) -> None:
    write_project(tmp_path)
    echo = tmp_path / "a launcher"
    echo.write_text(f"#!{sys.executable}\nimport json, sys\nprint(json.dumps(sys.argv[1:]))\n")
    echo.chmod(0o755)
    write_project(tmp_path, launcher=f"'{echo}' $HOME '$(touch RAN)' a\\ b *")
    words = json.loads(command(tmp_path, train_line(base, "one")).strip().splitlines()[-1])
    assert words[:6] == ["$HOME", "$(touch RAN)", "a b", "*", "-m", "stages.train"]
    assert words[6:] == train_line(base, "one").split(" -m stages.train ")[1].split()
    assert not (tmp_path / "RAN").exists()


@pytest.fixture
def run_stage(tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Give what runs the stage in a folder of its own; all that it writes is called after ``name``."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_STAGE", raising=False)

    def run(name: str, teacher: Path | None = None) -> None:
        outputs = {"model": Path(name), "metrics": Path(f"{name}.json"), "curves": Path(f"{name}-curves")}
        main(split=Path("split"), base=base, teacher=teacher, **outputs)

    return run


def test_the_same_run_writes_the_same_model_metrics_and_curves_and_a_teacher_changes_them(
    tmp_path: Path, run_stage: Callable[..., None]
) -> None:
    write_project(tmp_path, dropout=0.1, epochs=0.5, loss="lambda", teacher_weight=0.5)
    pairs = toy_pairs(12)[["user_id", "book_id"]]
    pairs[1:].assign(teacher=1.0).to_parquet("teacher.parquet")  # the first pair has none
    hashes = []
    for name, teacher in (("one", Path("teacher.parquet")), ("two", Path("teacher.parquet")), ("untaught", None)):
        run_stage(name, teacher=teacher)
        made = [path for path in tmp_path.rglob("*") if path.is_file() and f"/{name}" in str(path)]
        hashes.append({str(f).replace(name, ""): hashlib.sha256(f.read_bytes()).hexdigest() for f in made})
    assert hashes[0] == hashes[1] and len(hashes[0]) > 10
    weights = next(name for name in hashes[0] if name.endswith("model.safetensors"))
    assert hashes[0][weights] != hashes[2][weights]


def test_an_unknown_loss_stops_the_stage_before_it_reads_anything(
    tmp_path: Path, run_stage: Callable[..., None]
) -> None:
    write_project(tmp_path, loss="hinge")
    shutil.rmtree(tmp_path / "split")
    with pytest.raises(UserError, match="loss is 'hinge'"):
        run_stage("one")


def test_a_training_that_learns_nothing_says_so(
    tmp_path: Path, run_stage: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    write_project(tmp_path, lr=1e-9, head_lr=1e-9)
    run_stage("one")
    assert "validation hardly moved: 0." in capsys.readouterr().out
    shutil.rmtree(tmp_path / "split")
    write_project(tmp_path, epochs=8)
    run_stage("two")
    assert "hardly moved" not in capsys.readouterr().out


def test_the_folder_of_the_stage_says_how_it_scores_and_plain_cross_encoder_opens_it(
    tmp_path: Path, run_stage: Callable[..., None], base: Path
) -> None:
    """In fp32, though the base is stored in bf16."""
    keys = write_project(tmp_path, epochs=0.5)
    shutil.copytree(base, tmp_path / "base")
    BertModel.from_pretrained(base).to(torch.bfloat16).save_pretrained(tmp_path / "base")
    outputs = {"model": tmp_path / "one", "metrics": tmp_path / "one.json", "curves": tmp_path / "one-curves"}
    main(split=tmp_path / "split", base=tmp_path / "base", **outputs)
    metrics = json.loads(outputs["metrics"].read_text())
    assert list(metrics) == ["validation_ndcg@10"]
    kept = json.loads((outputs["model"] / "training.json").read_text())
    assert sorted(kept) == ["cut_pairs", "params"] and sorted(kept["params"]) == sorted(keys)
    plain, ours = CrossEncoder(str(outputs["model"])), load(outputs["model"])
    pairs = toy_pairs(2)
    assert {parameter.dtype for parameter in plain.parameters()} == {torch.float32}
    assert json.loads((outputs["model"] / "config.json").read_text())["dtype"] == "float32"
    assert kept["cut_pairs"] == share_longer(ours.model, toy_pairs(12), max_length=24)
    assert read_scoring(outputs["model"]) == ours.how == Scoring(max_length=24, precision="fp32")
    expected = plain.predict(
        list(zip(pairs["user_ctx"], pairs["book_text"], strict=True)), activation_fn=torch.nn.Identity()
    )
    np.testing.assert_allclose(ours.score(pairs["user_ctx"], pairs["book_text"]), expected, atol=1e-6)
