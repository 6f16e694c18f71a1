"""What a newcomer types, in a fresh clone: `make repro` on some of the demo's readers with the real weights."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from checkout import ROOT, command, commit, make_checkout, set_params

from rerank.measure.metrics import per_user
from rerank.model.folder import Scoring
from rerank.model.scores import score

# Not `environment`: it would install this checkout into the environment that runs the tests.
MAKE = f"make --old-file=environment VENV='{sys.prefix}'"
# A fifth of the demo's own time: enough to pass what learns nothing, less far than the whole demo does (see README).
SMALLER = {"max_users": 150, "eval_negatives": 30, "max_length": 48, "eval_every": 1000, "epochs": 1}


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh clone that uses this environment, and in which ``make repro`` has not run."""
    folder = make_checkout(tmp_path_factory.mktemp("clone"))
    set_params(folder, **SMALLER)
    commit(folder, "Take some of the readers")
    return folder


def test_make_repro_learns_prints_the_table_and_says_where_the_plots_are(clone: Path) -> None:
    printed = command(clone, f"{MAKE} repro", timeout=1500)
    ndcg = json.loads((clone / "metrics/test.json").read_text())["ndcg@10"]
    assert set(ndcg) == {"item_knn", "bi_encoder_tuned", "cross_encoder", "fused"}
    measured = json.loads((clone / "data/evaluation.json").read_text())
    warm, cold = (
        {system: values["ndcg@10"]["value"] for system, values in lists["systems"].items()}
        for lists in (measured, measured["cold"])
    )
    for learnt in ("cross_encoder", "bi_encoder_tuned"):
        assert max(warm["popularity"], warm["bi_encoder"]) + 0.03 < warm[learnt] < 0.95, warm
        assert cold["chance"] < cold[learnt], cold
    assert warm["fused"] > max(warm["item_knn"], warm["cross_encoder"]) - 0.03, warm
    for label, value in (("BM25", warm["bm25"]), ("cross-encoder", warm["cross_encoder"])):
        assert f"{value:.3f}" in next(line for line in printed.splitlines() if line.startswith(label + " "))
    assert "\nplots: " in printed and "plots/test/ndcg.png" in printed
    again = command(clone, f"{MAKE} repro")
    assert "up to date" in again and "95 % interval" in again and "plots/test/ndcg.png" in again
    assert command(clone, "git status --porcelain data src tests models README.md") == ""


def test_the_commands_of_the_readme_rank_what_is_in_the_clone(clone: Path) -> None:
    readme = (ROOT / "README.md").read_text()
    lines = [line for line in readme.splitlines() if line.startswith("python -m rerank ")]
    assert len(lines) == 3
    for line, words in zip(lines[:2], ("scores: ", ""), strict=True):
        ranked = command(clone, line)
        assert ranked.count("Title: ") == 6 and "Title: Dune" in ranked and words in ranked
    command(clone, lines[2])
    assert len(pd.read_parquet(clone / "scored.parquet")) == len(pd.read_parquet(clone / "data/split/test.parquet"))
    (clone / "scored.parquet").unlink()


def test_the_scores_of_the_pipeline_rank_as_fp32_does(clone: Path) -> None:
    """In bf16 where the hardware has it; relies on the pipeline having run.

    bf16 may cost 0.002, and near ties change places either way, which moves the mean of few users by more.
    """
    from rerank.model.encoder import open_cross_encoder

    scores = pd.read_parquet(clone / "data/scores/trained/test.parquet")
    pairs = pd.read_parquet(clone / "data/split/test.parquet")
    assert scores[["user_id", "book_id"]].equals(pairs[["user_id", "book_id"]])
    folder = clone / "models/cross-encoder"
    how = Scoring(**json.loads((folder / "scoring.json").read_text()))
    model = open_cross_encoder(folder, max_length=how.max_length, device="cpu", asker="the test")
    exact = score(model, pairs["user_ctx"].tolist(), pairs["book_text"].tolist(), precision="fp32")
    found = scores["score/cross_encoder"].to_numpy()
    ndcg, exact_ndcg = (
        per_user(scores["user_id"], scores["book_id"], scores["label"], values)["ndcg@10"] for values in (found, exact)
    )
    assert abs((ndcg - exact_ndcg).mean()) < 0.01
    assert np.corrcoef(exact, found)[0, 1] > 0.9995


def test_a_python_that_is_too_old_and_a_missing_venv_are_one_line(clone: Path, tmp_path: Path) -> None:
    old, bare = tmp_path / "old-python", tmp_path / "bare-python"
    old.write_text("#!/bin/sh\nexit 1\n")
    bare.write_text(f'#!/bin/sh\ncase "$2" in *venv*) exit 1;; esac\nexec {sys.executable} "$@"\n')
    for program, words in ((old, "older than Python 3.11"), (bare, "has no venv module")):
        program.chmod(0o755)
        done = subprocess.run(
            ["make", "repro", f"PYTHON={program}", f"VENV={tmp_path / 'venv'}"],
            cwd=clone,
            capture_output=True,
            text=True,
        )
        assert done.returncode != 0
        (line, *rest) = done.stderr.splitlines()
        assert line.startswith("error: ") and words in line
        assert all(more.startswith("make") for more in rest)


def test_a_changed_lock_is_noticed(clone: Path, tmp_path: Path) -> None:
    (tmp_path / "venv/bin").mkdir(parents=True)
    (tmp_path / "venv/bin/python").symlink_to(sys.executable)
    (tmp_path / "venv/installed.txt").write_text((ROOT / "requirements.txt").read_text())
    command(clone, f"make environment VENV={tmp_path / 'venv'} PYTHON=/bin/false")
    (tmp_path / "venv/installed.txt").write_text("another lock\n")
    assert "error: " in command(clone, f"make environment VENV={tmp_path / 'venv'} PYTHON=/bin/false", fails=True)
