"""Every system scores the same pairs, in one table, and a symmetric model scores both orders alike."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rerank.model.encoder import build
from stages.score import score


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory, tiny_bert: Callable[..., Path]) -> tuple[Path, Path]:
    base = tiny_bert(tmp_path_factory.mktemp("base"), words=["bread", "kite"])
    cross_encoder = tmp_path_factory.mktemp("cross-encoder")
    build(base, max_length=32, dropout=0.0, seed=1).save_pretrained(str(cross_encoder))
    return base, cross_encoder


def test_every_system_gives_one_score_a_pair_whatever_the_order_of_the_texts(models: tuple[Path, Path]) -> None:
    base, cross_encoder = models
    pairs = pd.DataFrame({"user_ctx": ["make bread", "fly a kite"], "book_text": ["buy bread", "eat bread"]})
    swapped = pairs.rename(columns={"user_ctx": "book_text", "book_text": "user_ctx"})
    systems = {"bi_encoder": base, "bi_encoder_other": base}
    found, turned, one_way = (
        score(
            table,
            cross_encoder=cross_encoder,
            bi_encoders=systems,
            max_length=32,
            precision="fp32",
            symmetric=symmetric,
        )
        for table, symmetric in ((pairs, True), (swapped, True), (swapped, False))
    )
    assert list(found) == [*systems, "cross_encoder"]
    for system in found:
        assert found[system].shape == (2,) and np.isfinite(found[system]).all()
        np.testing.assert_allclose(found[system], turned[system], atol=1e-5)
    assert np.abs(found["cross_encoder"] - one_way["cross_encoder"]).max() > 1e-4
    np.testing.assert_array_equal(found["bi_encoder"], found["bi_encoder_other"])
