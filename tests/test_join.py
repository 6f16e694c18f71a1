"""The join stage: every judgment is in the candidate lists or counted under one reason."""

import json
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pytest

from rerank.data.pairs import COLUMNS
from rerank.errors import UserError
from stages import join

PARAMS = {
    "user_column": "qid",
    "context_column": "keywords",
    "book_column": "doc_id",
    "label_column": "grade",
    "document_id_column": "id",
    "text_columns": ["title", "overview"],
    "max_grade": 2,
}


def judgments() -> pd.DataFrame:
    rows = [
        (1, "sea", 10, 2),
        (1, "sea", 11, 0),
        (1, "sea", 10, 2),  # repeated
        (1, "sea", 12, 1),  # without a text
        (1, "sea", 13, 0),  # without a text
        (2, "land", 10, 0),
        (2, "land", 11, 1),
        (2, "land", 14, 0),  # contradictory
        (2, "land", 14, 1),
        (3, "sky", 10, 1),  # no irrelevant one is left
        (3, "sky", 12, 0),
        (4, "fire", 11, 0),  # no relevant one is left
        (4, "fire", 12, 2),
        (5, "rain", 99, 1),  # nothing is left: not in the documents
    ]
    return pd.DataFrame(rows, columns=["qid", "keywords", "doc_id", "grade"])


def documents() -> pd.DataFrame:
    rows = [
        (10, "Moby-Dick", "A whale."),
        (10, "Moby-Dick", "A whale."),
        (11, "Emma", None),
        (12, None, " \n"),
        (13, "", None),
        (14, None, "No title."),
        (15, "Nobody judged it", "At all."),
    ]
    return pd.DataFrame(rows, columns=["id", "title", "overview"])


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Run in a folder with the two tables as the stages before make them."""
    monkeypatch.chdir(tmp_path)
    write(judgments(), documents())
    return tmp_path


def write(judged: pd.DataFrame, texts: pd.DataFrame) -> None:
    for name, table in (("judgments", judged), ("documents", texts)):
        (Path("data") / name).mkdir(parents=True, exist_ok=True)
        table.to_parquet(f"data/{name}/table.parquet", index=False)


def run_stage(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Run the stage with `PARAMS` and ``changes``; return the pairs and the counts."""
    monkeypatch.setattr(join, "declared", lambda model, stage: model(**PARAMS | changes))
    judged, metrics = Path("data/judged"), Path("metrics/data.json")
    join.main(judgments=Path("data/judgments"), documents=Path("data/documents"), judged=judged, metrics=metrics)
    pairs, counts = pd.read_parquet(judged / "test.parquet"), json.loads((judged / "counts.json").read_text())
    assert json.loads(metrics.read_text()) == {
        "rows": len(pairs),
        "queries": pairs["user_id"].nunique(),
    }
    return pairs, counts


def test_a_candidate_list_has_the_judged_documents_with_their_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    pairs, _ = run_stage(monkeypatch)
    assert pairs.columns.tolist() == list(COLUMNS)
    assert pairs.to_numpy().tolist() == [
        ["1", "10", "sea", "Moby-Dick\n\nA whale.", 2],
        ["1", "11", "sea", "Emma", 0],
        ["2", "10", "land", "Moby-Dick\n\nA whale.", 0],
        ["2", "11", "land", "Emma", 1],
    ]
    assert pairs["label"].dtype == "int32"


def test_every_judgment_counts_once_and_the_relevant_ones_that_are_lost_too(monkeypatch: pytest.MonkeyPatch) -> None:
    _, counts = run_stage(monkeypatch)
    assert counts == {
        "judgments": {"rows": 14, "queries": 5, "documents": 6, "relevant": 8},
        "documents": {"rows": 7, "repeated": 1},
        "dropped": {
            "contradictory": 2,
            "without_text": 5,
            "repeated": 1,
            "queries_without_relevant": 1,
            "queries_without_irrelevant": 1,
        },
        "dropped_relevant": {
            "contradictory": 1,
            "without_text": 3,
            "repeated": 1,
            "queries_without_relevant": 0,
            "queries_without_irrelevant": 1,
        },
        "dropped_queries": {"without_relevant": 2, "without_irrelevant": 1},
        "judged": {"rows": 4, "queries": 2, "documents": 2, "relevant": 2},
    }


def test_order_and_files_change_no_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    run_stage(monkeypatch)
    first = Path("data/judged/test.parquet").read_bytes(), Path("metrics/data.json").read_bytes()
    shuffled = judgments().sample(frac=1, random_state=1)
    write(shuffled.iloc[:5], documents().sample(frac=1, random_state=2))
    shuffled.iloc[5:].to_parquet("data/judgments/more.parquet", index=False)
    run_stage(monkeypatch)
    assert (Path("data/judged/test.parquet").read_bytes(), Path("metrics/data.json").read_bytes()) == first


def test_ids_meet_whether_they_are_numbers_or_texts_and_grades_may_be_floats(monkeypatch: pytest.MonkeyPatch) -> None:
    pairs, _ = run_stage(monkeypatch)
    write(judgments().astype({"grade": float}), documents().astype({"id": str}))
    pd.testing.assert_frame_equal(run_stage(monkeypatch)[0], pairs)


def test_a_document_with_several_texts_has_the_lowest(monkeypatch: pytest.MonkeyPatch) -> None:
    more = pd.DataFrame([(11, "Emma", "Matches."), (11, "Zuleika", None)], columns=["id", "title", "overview"])
    write(judgments(), pd.concat([documents().iloc[3:], more, documents().iloc[:2]]))
    pairs, _ = run_stage(monkeypatch)
    assert set(pairs.loc[pairs["book_id"] == "11", "book_text"]) == {"Emma\n\nMatches."}


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (
            {"label_column": "stars"},
            r"data/judgments: column 'stars' is missing \(it has qid, .*, grade\): set label_c",
        ),
        (
            {"document_id_column": "key"},
            r"data/documents: column 'key' is missing .*: set document_id_column in params",
        ),
        ({"text_columns": ["title", "plot"]}, r"data/documents: column 'plot' is missing .*: set text_columns in"),
        (
            {"user_column": None},
            r"params\.yaml: user_column is null: name the column",
        ),
        (
            {"max_grade": 1},
            r"'grade' holds 2 \(3 of 14 rows are not whole numbers from 0 to 1\): correct them, or set max_g",
        ),
        (
            {"label_column": "keywords"},
            "column 'keywords' holds 'fire' .14 of 14 rows are not whole .*: correct them, or set label_column",
        ),
        ({"document_id_column": "title"}, "column 'title' is null or blank in 3 of 7 rows: fill or drop them"),
    ],
)
def test_a_wrong_param_is_one_line_and_nothing_is_written(
    monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], found: str
) -> None:
    with pytest.raises(UserError, match=found):
        run_stage(monkeypatch, **change)
    assert sorted(path.name for path in Path("data").iterdir()) == ["documents", "judgments"]
    assert not Path("metrics").exists()


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"keywords": " "}, "column 'keywords' is null or blank in 14 of 14 rows: fill or drop them"),
        ({"grade": float("nan")}, "column 'grade' is null or blank in 14 of 14 rows"),
        ({"grade": 0.5}, r"holds 0\.5 \(14 of 14 rows are not whole numbers"),
        ({"doc_id": [[1]] * 14}, "column 'doc_id' holds .*, not text or whole numbers: convert it, or set book_column"),
        (
            {"doc_id": 12},
            r"no query is left .* document: 13 contradictory, 1 without_text of 14 judgments: set document_id",
        ),
    ],
)
def test_judgments_that_cannot_be_used_are_one_line(
    monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], found: str
) -> None:
    write(judgments().assign(**change), documents())
    with pytest.raises(UserError, match=found):
        run_stage(monkeypatch)


def test_an_empty_table_and_a_file_that_is_no_parquet_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    write(judgments().iloc[:0].astype({"keywords": str}), documents())
    with pytest.raises(UserError, match=r"data/judgments: has no rows: its source in params.yaml"):
        run_stage(monkeypatch)
    write(judgments(), documents())
    Path("data/documents/table.parquet").write_text("id,title")
    with pytest.raises(UserError, match="data/documents: not a readable parquet"):
        run_stage(monkeypatch)


def test_the_tables_count_for_what_they_are_without_a_stage_around_them() -> None:
    connection = duckdb.connect()
    connection.execute(
        "CREATE VIEW judgments AS SELECT 'q' AS user_id, unnest(['a', 'b']) AS book_id, 'sea' AS user_ctx, "
        "unnest([1, 0]) AS label"
    )
    connection.execute("CREATE VIEW documents AS SELECT unnest(['a', 'b']) AS book_id, 'text' AS book_text")
    assert join.join(connection)["judged"] == {"rows": 2, "queries": 1, "documents": 2, "relevant": 1}
