"""params.yaml is checked whole, before any work, and each error names the key, its value and what is allowed."""

import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from rerank.errors import UserError
from rerank.params import check

ROOT = Path(__file__).parent.parent
PARAMS = YAML(typ="safe").load(ROOT / "params.yaml")


def test_the_committed_params_are_valid() -> None:
    check(PARAMS)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("lr", "3e-5x", "lr is '3e-5x': give a number above 0"),
        ("lr", 0, "lr is 0: give a number above 0"),
        ("lr", True, "lr is True"),
        ("epochs", float("nan"), "epochs is nan"),
        ("batch_size", 2.5, "batch_size is 2.5: give a whole number at least 1"),
        ("batch_size", 0, "batch_size is 0"),
        ("max_users", 0, "max_users is 0: give a whole number at least 1, or null"),
        ("loss", "hinge", "loss is 'hinge': give one of binary_cross_entropy, lambda, listnet"),
        ("precision", "fp8", "precision is 'fp8': give one of auto, fp32, bf16"),
        ("dropout", 1.0, "dropout is 1.0: give a number at least 0 and at most 0.9"),
        ("warmup", 1.0, "warmup is 1.0: give a number at least 0 and at most 0.99"),
        ("eval_negatives", 1_000_000, "eval_negatives is 1000000: give a whole number at least 1 and at most 999999"),
        ("seed", -1, "seed is -1"),
        ("source", "", "source is ''"),
        ("title_pattern", "Title: [^|]+", "title_pattern is 'Title: [^|]+': give a regular expression with one group"),
        ("title_pattern", "Title: ([^|+", "title_pattern is 'Title: ([^|+'"),
        ("favourite_pattern", "(", "favourite_pattern is '('"),
        ("symmetric", 1, "symmetric is 1: give true or false"),
        ("text_columns", [], "text_columns is []: give a list of texts"),
        ("validation_metric", "mrr", "validation_metric is 'mrr': give one of ndcg@10, spearman, average_precision"),
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


def test_a_learning_rate_that_dvc_wrote_is_a_number(tmp_path: Path) -> None:
    """``-S lr=3e-5`` makes DVC write ``lr: 3e-05``, which YAML 1.1 readers take for a text."""
    text = (ROOT / "params.yaml").read_text().replace("\nlr: 2e-4", "\nlr: 3e-05")
    assert "lr: 3e-05" in text
    (tmp_path / "params.yaml").write_text(text)
    (tmp_path / "dvc.yaml").write_text("stages:\n  train:\n    cmd: 'true'\n    params: [lr]\n")
    subprocess.run([sys.executable, "-m", "dvc", "init", "--no-scm", "-q"], cwd=tmp_path, check=True)
    code = "from rerank.params import declared; print(declared('train'))"
    env = {"PYTHONPATH": str(ROOT / "src"), "PATH": ""}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.stdout.strip() == "{'lr': 3e-05}", done.stderr
