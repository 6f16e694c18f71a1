"""A model scores as its folder says, wherever it is loaded, and a folder that can't score is one line."""

import contextlib
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from model_folders import scoring_as
from sentence_transformers import CrossEncoder
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import nn
from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

from rerank.errors import UserError
from rerank.model.folder import SCORING, Scoring, model_files, read_scoring
from rerank.model.ranker import load
from rerank.tasks import TASKS

CONTEXTS = ["dune", "emma and persuasion " * 12, "it"]
TEXTS = ["hyperion " * 30, "ulysses", "a house of stairs"]


def logits(folder: Path, pairs: list[tuple[str, str]], *, max_length: int) -> np.ndarray:
    """What plain sentence-transformers gives."""
    plain = CrossEncoder(str(folder), max_length=max_length, device="cpu", local_files_only=True)
    return plain.predict(pairs, activation_fn=nn.Identity(), show_progress_bar=False)


def scores(folder: Path) -> np.ndarray:
    return load(folder, progress=False).score(CONTEXTS, TEXTS)


@pytest.mark.parametrize("max_length", [64, 20])
@pytest.mark.parametrize("symmetric", [False, True])
def test_the_folder_says_the_length_and_whether_both_orders_are_read(
    max_length: int, symmetric: bool, cross_encoder: Path, tmp_path: Path
) -> None:
    folder = scoring_as(cross_encoder, tmp_path / "model", max_length=max_length, symmetric=symmetric)
    expected = logits(folder, list(zip(CONTEXTS, TEXTS, strict=True)), max_length=max_length)
    turned = logits(folder, list(zip(TEXTS, CONTEXTS, strict=True)), max_length=max_length)
    assert np.abs(expected - turned).max() > 1e-3
    np.testing.assert_allclose(scores(folder), (expected + turned) / 2 if symmetric else expected, atol=1e-5)


def test_the_length_matters(cross_encoder: Path, tmp_path: Path) -> None:
    short, long = (scores(scoring_as(cross_encoder, tmp_path / str(length), max_length=length)) for length in (20, 64))
    assert np.abs(short - long)[:2].min() > 1e-4 and short[2] == pytest.approx(long[2], abs=1e-5)


def test_the_folder_says_the_precision(cross_encoder: Path, tmp_path: Path) -> None:
    exact, coarse = (scores(scoring_as(cross_encoder, tmp_path / name, precision=name)) for name in ("fp32", "bf16"))
    assert 0 < np.abs(exact - coarse).max() < 0.05


def test_a_folder_that_says_nothing_scores_as_the_caller_says(cross_encoder: Path, tmp_path: Path) -> None:
    said = scoring_as(cross_encoder, tmp_path / "said", max_length=20, symmetric=True)
    silent = shutil.copytree(said, tmp_path / "silent")
    (silent / SCORING).unlink()
    otherwise = Scoring(max_length=20, symmetric=True, precision="fp32")
    np.testing.assert_array_equal(
        load(silent, otherwise=otherwise, progress=False).score(CONTEXTS, TEXTS), scores(said)
    )
    other = Scoring(max_length=64, precision="bf16")
    np.testing.assert_array_equal(load(said, otherwise=other, progress=False).score(CONTEXTS, TEXTS), scores(said))
    assert load(silent).model.max_seq_length == 64  # what its tokenizer says


@pytest.mark.parametrize("task", TASKS)
def test_a_person_sees_probabilities_or_similarities(task: str, cross_encoder: Path, tmp_path: Path) -> None:
    ranker = load(scoring_as(cross_encoder, tmp_path / "model", task=task, max_grade=5))
    raw = np.array([-40.0, -1.0, 0.0, 2.0, 40.0])
    scale = 5 if task == "similarity" else 1
    np.testing.assert_allclose(ranker.shown(raw), scale / (1 + np.exp(-raw)), rtol=1e-6)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    for how in (Scoring(), Scoring(True, 5, 20, "bf16", "similarity")):
        how.write(tmp_path)
        assert read_scoring(tmp_path) == how
    assert read_scoring(tmp_path / "none") == Scoring()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not valid JSON"),
        (b'{"symmetric": tr', "not valid JSON"),
        (b"\xff\xfe", "not valid JSON"),
        (b"[]", "its content: "),
        (b"null", "its content: "),
        (b'{"symmetric": "yes"}', "symmetric: "),
        (b'{"max_length": 0}', "max_length: "),
        (b'{"max_length": 12.5}', "max_length: "),
        (b'{"max_grade": 0}', "max_grade: "),
        (b'{"precision": "fp64"}', "precision: "),
        (b'{"task": "rank"}', "task: "),
        (b'{"temperature": 1}', "temperature: "),
        (b'{"max_length": 10000}', "max_length is 10000: "),
    ],
)
def test_a_damaged_scoring_json_is_one_line(content: bytes, words: str, cross_encoder: Path, tmp_path: Path) -> None:
    folder = scoring_as(cross_encoder, tmp_path / "model")
    (folder / SCORING).write_bytes(content)
    with pytest.raises(UserError, match=f"^{re.escape(f'{folder / SCORING}: {words}')}") as error:
        load(folder)
    assert "\n" not in str(error.value)


def three_labels(folder: Path, tiny_bert: Callable[..., Path]) -> str:
    tiny_bert(folder.parent / "base")
    BertForSequenceClassification(BertConfig.from_pretrained(folder.parent / "base", num_labels=3)).save_pretrained(
        folder
    )
    AutoTokenizer.from_pretrained(folder.parent / "base").save_pretrained(folder)
    return "gives 3 scores for a pair: take a cross-encoder"


def no_padding(folder: Path, tiny_bert: Callable[..., Path]) -> str:
    sizes = {"vocab_size": 3, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    BertForSequenceClassification(BertConfig(**sizes, intermediate_size=64, num_labels=1)).save_pretrained(folder)
    words = Tokenizer(models.WordLevel({"<unk>": 0, "a": 1, "b": 2}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unk>").save_pretrained(folder)
    return "its tokenizer has no padding token: take a model"


def embeddings(folder: Path, tiny_bert: Callable[..., Path]) -> str:
    tiny_bert(folder)
    return "gives embeddings, not scores: give a cross-encoder"


def nothing(folder: Path, tiny_bert: Callable[..., Path]) -> str:
    folder.mkdir()
    return "holds no model: run `dvc repro` to train one, or `dvc pull` to fetch one"


@pytest.mark.parametrize("make", [three_labels, no_padding, embeddings, nothing])
def test_a_folder_that_gives_no_single_score_is_one_line(
    make: Callable[..., str], tiny_bert: Callable[..., Path], tmp_path: Path
) -> None:
    words = make(tmp_path / "model", tiny_bert)
    with pytest.raises(UserError, match=f"^{re.escape(f'{tmp_path}/model: {words}')}") as error:
        load(tmp_path / "model")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [b"", b"{", b"{}", b"no numbers", None])
@pytest.mark.parametrize("file", ["config.json", "modules.json", "tokenizer.json", "model.safetensors"])
def test_a_damaged_folder_is_one_line(file: str, content: bytes | None, cross_encoder: Path, tmp_path: Path) -> None:
    """``None``: cut in its middle, as by a copy that was interrupted."""
    folder = scoring_as(cross_encoder, tmp_path / "model")
    whole = (folder / file).read_bytes()
    (folder / file).write_bytes(whole[: len(whole) // 2] if content is None else content)
    with pytest.raises(UserError, match=f"^{re.escape(str(folder))}") as error:
        load(folder)
    assert "\n" not in str(error.value)


def naming_code(file: str, key: str, value: object, folder: Path) -> None:
    """Let ``key`` of a JSON file name code that lies in the model's folder, and in the one where Python is started."""
    content = json.loads((folder / file).read_text())
    (content[1] if isinstance(content, list) else content)[key] = value
    (folder / file).write_text(json.dumps(content))
    (folder / "own.py").write_text("import torch\nfrom pathlib import Path\nPath('RAN').touch()\nOwn = torch.nn.GELU\n")


@pytest.mark.parametrize(
    ("file", "key", "value"),
    [
        ("modules.json", "type", "own.Own"),
        ("2_Dense/config.json", "activation_function", "own.Own"),
        ("config.json", "auto_map", {"AutoModel": "own.Own", "AutoConfig": "own.Own"}),
    ],
)
def test_code_that_a_folder_names_is_never_run(
    file: str, key: str, value: object, cross_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = scoring_as(cross_encoder, tmp_path / "model")
    naming_code(file, key, value, folder)
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)
    with contextlib.suppress(UserError):
        load(folder)
    assert not (folder / "RAN").exists()


def test_all_that_decides_the_scores_counts_as_the_model_and_words_do_not(cross_encoder: Path, tmp_path: Path) -> None:
    folder = scoring_as(cross_encoder, tmp_path / "model")
    (folder / "README.md").write_text("words")
    (folder / "training.json").write_text("{}")
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert {SCORING, "model.safetensors", "tokenizer.json", "2_Dense/model.safetensors"} <= files
    assert model_files(folder) == sorted(files - {"README.md", "training.json"})


def test_loading_leaves_the_folder_as_it_is_and_the_number_of_threads(cross_encoder: Path, tmp_path: Path) -> None:
    folder = scoring_as(cross_encoder, tmp_path / "model")
    before, threads = {path: path.read_bytes() for path in folder.rglob("*.json")}, torch.get_num_threads()
    scores(folder)
    assert {path: path.read_bytes() for path in folder.rglob("*.json")} == before
    assert torch.get_num_threads() == threads
    assert json.loads((folder / SCORING).read_text()).keys() == Scoring.__dataclass_fields__.keys()
