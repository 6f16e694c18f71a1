"""The score stage: a table a split, a column a system, the same bytes each time, and nothing half written."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from score_tables import KEYS, pairs_of, score_table, write_params, write_split

from rerank.errors import UserError
from rerank.model.encoder import build
from stages.score import main

PAIRS = pairs_of(score_table(users=3, candidates=5, positives=2))
POPULARITY = pd.DataFrame({"book_id": ["b0", "b3"], "positives": [7, 2]})


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory, tiny_bert: Callable[..., Path]) -> Path:
    """A folder with a bi-encoder and a cross-encoder."""
    folder = tmp_path_factory.mktemp("models")
    tiny_bert(folder / "bi-encoder")
    build(folder / "bi-encoder", max_length=64, dropout=0.0, seed=1).save_pretrained(str(folder / "cross-encoder"))
    return folder


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_params(max_length=64, precision="fp32")
    write_split(Path("data/split"), validation=PAIRS[::-1], test=PAIRS, popularity=POPULARITY)


def score(*systems: str) -> dict[str, pd.DataFrame]:
    main(split=Path("data/split"), scores=Path("data/scores"), systems=list(systems))
    return {path.stem: pd.read_parquet(path) for path in Path("data/scores").iterdir()}


def test_every_split_has_a_column_a_system_in_the_rows_of_its_pairs(models: Path) -> None:
    found = score(
        "popularity=data/split/popularity.parquet",
        "bm25",
        f"bi_encoder={models}/bi-encoder",
        f"cross_encoder={models}/cross-encoder",
    )
    assert found.keys() == {"validation", "test"}
    systems = [f"score/{name}" for name in ("popularity", "bm25", "bi_encoder", "cross_encoder")]
    for split, pairs in (("validation", PAIRS[::-1]), ("test", PAIRS)):
        assert found[split].columns.tolist() == [*KEYS, *systems]
        pd.testing.assert_frame_equal(found[split][KEYS], pairs[KEYS].reset_index(drop=True))
        assert np.isfinite(found[split][systems]).all(axis=None)
    # The same pairs in another order have the same scores.
    pd.testing.assert_frame_equal(found["validation"][::-1].reset_index(drop=True), found["test"], rtol=1e-5, atol=1e-5)
    assert found["test"]["score/popularity"].tolist() == [7, 0, 0, 2, 0] * 3


def test_the_same_input_gives_the_same_bytes(models: Path) -> None:
    written = []
    for _ in range(2):
        score("bm25", f"cross_encoder={models}/cross-encoder")
        written.append({path.name: path.read_bytes() for path in Path("data/scores").iterdir()})
    assert written[0] == written[1]


def test_a_search_set_has_test_alone() -> None:
    Path("data/split/validation.parquet").unlink()
    assert score("bm25").keys() == {"test"}


def test_a_base_without_a_head_has_no_column(models: Path) -> None:
    found = score("bm25", f"untuned_cross_encoder={models}/bi-encoder")
    assert found["test"].columns.tolist() == [*KEYS, "score/bm25"]


def test_an_error_leaves_earlier_scores(models: Path) -> None:
    score("bm25")
    before = Path("data/scores/test.parquet").read_bytes()
    with pytest.raises(UserError, match="gives embeddings, not scores"):
        score("bm25", f"cross_encoder={models}/bi-encoder")
    assert Path("data/scores/test.parquet").read_bytes() == before
