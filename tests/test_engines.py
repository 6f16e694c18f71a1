"""One list of engines for the pipeline and the command line; each gives torch's scores, or says in one line why not."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from model_folders import scoring_as

from rerank.__main__ import arguments, main
from rerank.errors import UserError
from rerank.model.engines import ENGINES
from rerank.model.ranker import load
from rerank.serve.scoring import precision_here, score_pairs

OTHERS = [name for name in ENGINES if name != "torch"]
CONTEXTS = [f"dune {'and emma ' * (number % 9)}" for number in range(40)]
TEXTS = [f"{'ulysses ' * (number % 7)}{number}" for number in range(40)]


@pytest.mark.parametrize("engine", OTHERS)
@pytest.mark.parametrize("symmetric", [False, True])
def test_every_engine_gives_the_scores_of_torch(
    engine: str, symmetric: bool, cross_encoder: Path, tmp_path: Path
) -> None:
    pytest.importorskip(engine, reason="an extra: pip install -r requirements-extras.txt")
    folder = scoring_as(cross_encoder, tmp_path / "model", symmetric=symmetric)
    found, expected = (load(folder, engine=name).score(CONTEXTS, TEXTS) for name in (engine, "torch"))
    assert np.ptp(expected) > 0.01
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("use", ["load", "score_pairs", "rank", "pairs", "precision"])
def test_an_unknown_engine_is_one_line_wherever_it_is_named(
    use: str, cross_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("books.txt").write_text("Emma\n")
    pd.DataFrame({"user_ctx": ["Dune"], "book_text": ["Emma"]}).to_parquet("in.parquet")
    columns = {"context_column": "user_ctx", "text_column": "book_text"}
    words = [f"--model={cross_encoder}", "--engine=abacus"]
    with pytest.raises(UserError) as error:
        if use == "load":
            load(cross_encoder, engine="abacus")
        elif use == "precision":
            precision_here("abacus", "auto")
        elif use == "score_pairs":
            score_pairs("in.parquet", "out.parquet", model_folder=cross_encoder, engine="abacus", **columns)
        elif use == "rank":
            main(arguments().parse_args([*words, "--user=Dune", "books.txt"]))
        else:
            main(arguments().parse_args([*words, "--pairs=in.parquet", "--output=out.parquet"]))
    assert str(error.value) == "--engine: no engine is called 'abacus': give one of torch, openvino"


def test_the_help_names_every_engine() -> None:
    shown = " ".join(arguments().format_help().split())
    for name, engine in ENGINES.items():
        assert f"{name}, {engine.words}" in shown
