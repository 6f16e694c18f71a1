"""One list of engines for the pipeline and the command line; each gives torch's scores, or says in one line why not."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from model_folders import scoring_as
from sentence_transformers import CrossEncoder
from transformers import AutoTokenizer, ModernBertConfig, ModernBertModel

from rerank.__main__ import arguments, main
from rerank.errors import UserError
from rerank.model.encoder import build, open_cross_encoder
from rerank.model.engines import ENGINES
from rerank.model.ranker import load
from rerank.serve.scoring import precision_here, score_pairs

SOURCE = Path(__file__).parents[1] / "src"
OTHERS = [name for name in ENGINES if name != "torch"]
CONTEXTS = [f"dune {'and emma ' * (number % 9)}" for number in range(40)]
TEXTS = [f"{'ulysses ' * (number % 7)}{number}" for number in range(40)]


def opened(folder: Path) -> CrossEncoder:
    return open_cross_encoder(folder, max_length=None, asker="test", device="cpu")


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


def test_a_model_whose_steps_depend_on_a_length_is_refused_by_openvino(cross_encoder: Path) -> None:
    pytest.importorskip("openvino", reason="an extra: pip install -r requirements-extras.txt")
    from rerank.model.openvino import compiled

    class ByLength(torch.nn.Module):
        def forward(self, features: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
            return {**features, "scores": features["scores"] * int(features["input_ids"].shape[1])}

    whole = opened(cross_encoder)
    compiled(whole, precision="auto")
    whole.append(ByLength())
    with pytest.raises(UserError, match=r"^OpenVINO can't score this model: its graph gives other scores: use torch$"):
        compiled(whole, precision="auto")


def test_a_window_of_attention_that_leaves_padding_without_a_key_is_refused_by_openvino(
    tmp_path: Path, tiny_bert: Callable[..., Path]
) -> None:
    pytest.importorskip("openvino", reason="an extra: pip install -r requirements-extras.txt")
    from rerank.model.openvino import compiled

    words = AutoTokenizer.from_pretrained(tiny_bert(tmp_path))
    sizes = {"vocab_size": len(words), "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2}
    special = {"pad_token_id": 0, "cls_token_id": 2, "bos_token_id": 2, "sep_token_id": 3, "eos_token_id": 3}
    config = ModernBertConfig(**sizes, **special, intermediate_size=64, local_attention=16, max_position_embeddings=128)
    ModernBertModel(config).save_pretrained(tmp_path)
    build(tmp_path, max_length=100, dropout=0.0, seed=1).save_pretrained(str(tmp_path / "ranker"))
    with pytest.raises(UserError, match=r"^OpenVINO can't score this model"):
        compiled(opened(tmp_path / "ranker"), precision="fp32")


def test_openvino_reports_nothing_to_its_makers(cross_encoder: Path) -> None:
    pytest.importorskip("openvino", reason="an extra: pip install -r requirements-extras.txt")
    program = (
        "import sys; from pathlib import Path; from rerank.model.ranker import load; "
        "load(Path(sys.argv[1]), engine='openvino', progress=False).score(['a'], ['b']); "
        "assert sys.modules['openvino_telemetry'] is None"
    )
    subprocess.run(
        [sys.executable, "-c", program, cross_encoder], env={**os.environ, "PYTHONPATH": str(SOURCE)}, check=True
    )


def test_without_openvino_one_line_says_how_to_get_it(cross_encoder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(UserError, match=r"^OpenVINO is not installed: pip install -r requirements-extras\.txt$"):
        load(cross_encoder, engine="openvino")
