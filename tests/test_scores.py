"""Score tables are joined by their rows, and whatever does not fit is one line that names the file."""

from pathlib import Path

import pandas as pd
import pytest
from score_tables import KEYS, TRAINED, UNTRAINED, score_table, write_scores, write_split

from rerank.errors import UserError
from rerank.measure.scores import check_comparable, read, systems_of

TABLE = score_table(users=3)


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_scores(TABLE, TABLE)


def test_folders_are_joined_in_the_order_of_the_registry_whatever_theirs_is() -> None:
    for order in ([UNTRAINED, TRAINED], [TRAINED, UNTRAINED]):
        validation, test = read(order)
        assert validation is not None
        pd.testing.assert_frame_equal(test, TABLE)
        pd.testing.assert_frame_equal(validation, TABLE)
    assert systems_of(TABLE) == ["popularity", "bm25", "bi_encoder", "cross_encoder"]


def test_a_search_set_has_no_validation() -> None:
    for folder in (UNTRAINED, TRAINED):
        (folder / "validation.parquet").unlink()
    assert read([UNTRAINED, TRAINED])[0] is None


TRAINED_TEST = TABLE[[*KEYS, "score/cross_encoder"]]


@pytest.mark.parametrize(
    ("test", "words"),
    [
        (TRAINED_TEST[:-1], r"trained/test\.parquet: has 59 rows, data/scores/untrained/test\.parquet has 60: run"),
        (TRAINED_TEST[::-1], r"trained/test\.parquet: row 1 has user_id u2, in .*untrained/test.* it has u0: run"),
        (TRAINED_TEST.assign(label=1), r"trained/test\.parquet: row 5 has label 1, in .* it has 0: run"),
        (TRAINED_TEST.drop(columns="label"), r"trained/test\.parquet: column 'label' is missing"),
        (TABLE, r"trained/test\.parquet: column 'score/popularity' is in another of the tables too"),
        (TRAINED_TEST.assign(**{"score/x": 1.0}), r"trained/test\.parquet: column 'score/x': no system is called 'x'"),
    ],
)
def test_a_table_that_does_not_fit_is_one_line(test: pd.DataFrame, words: str) -> None:
    write_split(TRAINED, test=test)
    with pytest.raises(UserError, match=words):
        read([UNTRAINED, TRAINED])


@pytest.mark.parametrize("split", ["validation", "test"])
def test_a_missing_file_is_one_line(split: str) -> None:
    (TRAINED / f"{split}.parquet").unlink()
    with pytest.raises(UserError, match=rf"trained/{split}\.parquet: no such file.*`dvc repro`"):
        read([UNTRAINED, TRAINED])


def test_there_must_be_something_to_compare() -> None:
    with pytest.raises(UserError, match="no folder has a column 'score/cross_encoder'"):
        check_comparable(TABLE.drop(columns="score/cross_encoder"))
    with pytest.raises(UserError, match="'score/cross_encoder' has nothing to be compared with: score one of"):
        check_comparable(TRAINED_TEST)
