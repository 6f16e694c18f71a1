"""params.yaml is checked whole, before any work, and each error names the key, its value and what is allowed."""

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from rerank.errors import UserError
from rerank.params import Train
from rerank.params_file import check, declared

ROOT = Path(__file__).parent.parent
PARAMS = YAML(typ="safe").load(ROOT / "params.yaml")


def test_the_committed_params_are_valid() -> None:
    check(PARAMS)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("lr", "3e-5x", "lr is '3e-5x': give a number above 0 and at most 1"),
        ("lr", 0, "lr is 0: give a number above 0"),
        ("lr", True, "lr is True"),
        ("epochs", float("nan"), "epochs is nan"),
        ("batch_size", 2.5, "batch_size is 2.5: give a whole number at least 1"),
        ("batch_size", 0, "batch_size is 0"),
        ("max_users", 0, "max_users is 0: give a whole number at least 1, or null"),
        ("max_grade", 31, "max_grade is 31: give a whole number at least 1 and at most 30"),
        ("precision", "fp8", "precision is 'fp8': give one of auto, fp32, bf16"),
        ("dropout", 1.0, "dropout is 1.0: give a number at least 0 and at most 0.9"),
        ("warmup", 1.0, "warmup is 1.0: give a number at least 0 and at most 0.99"),
        ("eval_negatives", 1_000_000, "eval_negatives is 1000000: give a whole number at least 1 and at most 999999"),
        ("seed", -1, "seed is -1"),
        ("source", "", "source is ''"),
        ("title_pattern", "Title: [^|]+", "title_pattern is 'Title: [^|]+': give a regular expression with one group"),
        ("title_pattern", "Title: ([^|+", "title_pattern is 'Title: ([^|+'"),
        ("favourite_pattern", "(", "favourite_pattern is '('"),
        ("text_columns", [], "text_columns is []: give a list of texts"),
        ("text_columns", ["title", 1], "give a list of texts"),
        ("task", "search", "task is 'search': give one of ranking, similarity, duplicates"),
    ],
)
def test_a_wrong_value_is_refused_by_name(key: str, value: object, words: str) -> None:
    with pytest.raises(UserError) as error:
        check({**PARAMS, key: value})
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_an_unknown_key_is_refused_by_name() -> None:
    with pytest.raises(UserError, match="unknown key 'learning_rate'"):
        check({**PARAMS, "learning_rate": 1e-4})


def test_shares_that_leave_nothing_to_train_on_are_refused() -> None:
    with pytest.raises(UserError, match="leave nothing to train on"):
        check({**PARAMS, "validation_share": 0.5, "test_share": 0.5})


TRAIN = "stages:\n  train:\n    cmd: 'true'\n    params: [KEYS]\n"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose dvc.yaml declares for `train` what it reads."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_STAGE", raising=False)
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    (tmp_path / "dvc.yaml").write_text(TRAIN.replace("KEYS", ", ".join(Train.model_fields)))
    return tmp_path


def test_a_learning_rate_that_dvc_wrote_is_a_number(project: Path) -> None:
    """``-S lr=3e-5`` makes DVC write ``lr: 3e-05``, which YAML 1.1 readers take for a text."""
    text = (project / "params.yaml").read_text().replace("\nlr: 2e-4", "\nlr: 3e-05")
    assert "lr: 3e-05" in text
    (project / "params.yaml").write_text(text)
    assert declared(Train, "train").lr == 3e-5


def test_a_key_of_another_file_counts_where_dvc_yaml_takes_it_from_there(project: Path) -> None:
    (project / "task").mkdir()
    keys = [key for key in Train.model_fields if key != "lr"]
    (project / "dvc.yaml").write_text(TRAIN.replace("KEYS", f"{', '.join(keys)}, task/params.yaml: [lr]"))
    (project / "task/params.yaml").write_text("lr: 0.5\n")
    assert declared(Train, "train").lr == 0.5
    (project / "task/params.yaml").write_text("lr: 0.5\nlr2: 1\n")
    with pytest.raises(UserError, match=r"task/params.yaml: unknown key 'lr2'"):
        declared(Train, "train")


@pytest.mark.parametrize(
    ("file", "text", "words"),
    [
        ("params.yaml", "lr: [1, 2\n", "params.yaml: can't be read"),
        ("params.yaml", "lr: 1\nlr: 2\n", "params.yaml: can't be read"),
        ("params.yaml", "- lr\n", "params.yaml: holds no keys"),
        ("params.yaml", "lr: 1e-4\n", "key 'favourite_parts' is missing"),
        ("dvc.yaml", "stages: {}\n", "dvc.yaml: has no stage 'train'"),
        ("dvc.yaml", TRAIN.replace("KEYS", "lr"), "stage 'train' does not fit its params (seed, "),
    ],
)
def test_a_broken_file_is_one_line(project: Path, file: str, text: str, words: str) -> None:
    (project / file).write_text(text)
    with pytest.raises(UserError) as error:
        declared(Train, "train")
    assert words in str(error.value) and "\n" not in str(error.value)
