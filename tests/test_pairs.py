"""The schema: what `check` accepts and refuses, and what `read` makes of other column names and types."""

from pathlib import Path

import duckdb
import pandas as pd
import pytest

from rerank import pairs
from rerank.errors import UserError

CANONICAL = pairs.SourceColumns(*("user_id", "book_id", "user_ctx", "book_text", "label"))


def table(**columns: object) -> pd.DataFrame:
    values: dict[str, object] = {
        "user_id": ["ann", "ann", "bob"],
        "book_id": [1, 2, 1],
        "user_ctx": "Favorite books: Emma",
        "book_text": "Title: Persuasion",
        "label": [1, 0, 1],
    }
    return pd.DataFrame({**values, **columns})


def check(folder: Path, *parts: pd.DataFrame, max_grade: int = 1, max_empty_share: float = 0.0) -> int:
    for number, part in enumerate(parts):
        part.to_parquet(folder / f"part.{number}.parquet")
    return pairs.check(
        folder, source="books.zip", columns=CANONICAL, max_grade=max_grade, max_empty_share=max_empty_share
    )


@pytest.mark.parametrize(
    "columns",
    [
        {},
        {"book_id": ["a", "b", "a"]},
        {"label": [True, False, True]},
        {"label": [1.0, 0.0, 1.0]},
        {"user_id": pd.Categorical(["ann", "ann", "bob"])},
        {"rating": [5, 1, 4]},
    ],
    ids=["plain", "text ids", "boolean labels", "whole floats", "categories", "another column"],
)
def test_a_table_that_follows_the_schema_is_counted(tmp_path: Path, columns: dict[str, object]) -> None:
    assert check(tmp_path, table(**columns)) == 3


def test_all_parts_are_counted_and_checked(tmp_path: Path) -> None:
    assert check(tmp_path, table(), table()) == 6
    with pytest.raises(
        UserError, match=r"^books.zip: part.1.parquet: column 'label' is missing \(it has .*label_column"
    ):
        check(tmp_path, table(), table().drop(columns="label"))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"user_id": [1.5, 2.5, 3.5]}, "column 'user_id' holds double, not text or whole numbers"),
        ({"user_ctx": [1, 2, 3]}, "column 'user_ctx' holds int64, not text"),
        ({"label": ["yes", "no", "yes"]}, "column 'label' holds .*string, not numbers"),
        ({"user_id": ["ann", None, "bob"]}, "column 'user_id' is null or blank in 1 of 3 rows"),
        ({"book_id": ["1", " ", "2"]}, "column 'book_id' is null or blank in 1 of 3 rows"),
        ({"label": [1.0, None, 0.0]}, "column 'label' is null in 1 of 3 rows"),
        ({"label": [1, 0, 5]}, r"column 'label' holds 5 \(1 of 3 rows are not whole numbers from 0 to 1\).*max_grade"),
        ({"label": [1, 0, -1]}, r"column 'label' holds -1 \("),
        ({"label": [1.0, 0.5, 0.0]}, r"column 'label' holds 0.5 \("),
        ({"label": [1.0, float("inf"), 0.0]}, r"column 'label' holds inf \("),
        ({"user_ctx": ["x", None, "y"]}, "column 'user_ctx' is null or blank in 1 of 3 rows.*max_empty_share"),
        ({"book_text": ["x", " \t\n", "y"]}, "column 'book_text' is null or blank in 1 of 3 rows"),
    ],
)
def test_each_way_of_breaking_the_schema_is_named(tmp_path: Path, columns: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=f"^books.zip: {message}") as caught:
        check(tmp_path, table(**columns))
    assert "\n" not in str(caught.value)


def test_a_table_without_rows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^books[.]zip: the pairs have no rows"):
        check(tmp_path, table().astype({"user_ctx": str, "book_text": str}).head(0))


def test_grades_up_to_max_grade_and_empty_texts_up_to_the_share_are_accepted(tmp_path: Path) -> None:
    rows = table(label=[0, 3, 5], book_text=["x", None, "y"])
    assert check(tmp_path, rows, max_grade=5, max_empty_share=0.34) == 3


@pytest.mark.parametrize("damage", ["end", "start of the pages"])
def test_a_damaged_file_is_named(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "part.0.parquet"
    table().to_parquet(path)
    content = path.read_bytes()
    path.write_bytes(content[:-20] if damage == "end" else content[:4] + bytes(200) + content[204:])
    with pytest.raises(UserError, match=r"^books[.]zip: not a readable parquet file"):
        check(tmp_path)


def test_read_gives_canonical_names_and_types_whatever_the_source_calls_them(tmp_path: Path) -> None:
    names = {"user_id": "reader", "book_id": 'work "id"', "user_ctx": "taste", "book_text": "blurb", "label": "liked"}
    table(label=[True, False, True]).rename(columns=names).to_parquet(tmp_path / "books.parquet")
    connection = duckdb.connect()
    pairs.read(connection, tmp_path, pairs.SourceColumns(*names.values()))
    result = connection.sql("SELECT * FROM pairs")
    assert tuple(result.columns) == pairs.COLUMNS
    assert [str(kind) for kind in result.types] == ["VARCHAR", "VARCHAR", "VARCHAR", "VARCHAR", "INTEGER"]
    assert result.fetchall()[0] == ("ann", "1", "Favorite books: Emma", "Title: Persuasion", 1)


def test_the_column_params_name_the_source_columns() -> None:
    params = {**CANONICAL.by_key(), "text_column": "blurb", "lr": 1e-4}
    assert pairs.SourceColumns.from_params(params).text_column == "blurb"
