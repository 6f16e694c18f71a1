"""The schema: what `check` accepts and refuses, and what `read` makes of other column names and types."""

import hashlib
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rerank.data import pairs, schema
from rerank.data.conversion import convert
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


def check(
    folder: Path,
    *parts: pd.DataFrame,
    max_grade: int = 1,
    max_empty_share: float = 0.0,
    columns: pairs.SourceColumns = CANONICAL,
    whole_labels: bool = True,
) -> int:
    for number, part in enumerate(parts):
        part.to_parquet(folder / f"part.{number}.parquet")
    return schema.check(
        folder,
        source="books.zip",
        columns=columns,
        max_grade=max_grade,
        max_empty_share=max_empty_share,
        whole_labels=whole_labels,
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
        ({"user_ctx": [1.5, 2, 3]}, "column 'user_ctx' holds double, not text or whole numbers"),
        ({"label": ["yes", "no", "yes"]}, "column 'label' holds 'no' .3 of 3 rows are not whole .*set label_column"),
        ({"Label": 1}, "column 'label' and 'Label' differ by case alone: rename or drop one"),
        ({"user_id": ["ann", None, "bob"]}, "column 'user_id' is null or blank in 1 of 3 rows"),
        ({"book_id": ["1", " ", "2"]}, "column 'book_id' is null or blank in 1 of 3 rows"),
        ({"label": [1.0, None, 0.0]}, "column 'label' is null or blank in 1 of 3 rows"),
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


def test_names_of_files_are_no_patterns_and_parts_without_rows_agree_with_all(tmp_path: Path) -> None:
    names = ["part[1].parquet", "part1.parquet", "pairs*.parquet", "pairs2.parquet", "a?b.parquet", "axb.parquet"]
    for number, name in enumerate(names):
        table(book_id=[f"{number}a", f"{number}b", f"{number}c"]).to_parquet(tmp_path / name)
    pq.write_table(pa.table({"user_id": pa.nulls(0), "label": pa.nulls(0)}), tmp_path / "empty.parquet")
    assert check(tmp_path) == 18
    connection = duckdb.connect()
    pairs.read(connection, tmp_path, CANONICAL)
    assert connection.sql("SELECT count(DISTINCT book_id) FROM pairs").fetchall() == [(18,)]


def test_the_file_with_the_wrong_value_is_named_as_the_user_called_it(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    table().to_csv(raw / "a.csv", index=False)
    table(label=[1, 0, "x"]).to_csv(raw / "b.csv", index=False)
    convert(raw, tmp_path / "tables", csv_quote='"', tsv_quote=None)
    with pytest.raises(UserError, match=r"raw/b.csv: column 'label' holds 'x' .1 of 3 rows"):
        check(tmp_path / "tables")


def test_a_column_that_stands_there_twice_and_many_columns_are_told_in_one_short_line(tmp_path: Path) -> None:
    twice = pa.table([pa.array(["x"])] * 2, names=["user_id", "user_id"])
    pq.write_table(twice, tmp_path / "a.parquet")
    with pytest.raises(UserError, match=r"column 'user_id' stands there twice: rename or drop one"):
        check(tmp_path)
    pd.DataFrame({f"a long name of a column {n}": [1] for n in range(2_000)}).to_parquet(tmp_path / "a.parquet")
    with pytest.raises(UserError, match=r"column 'user_id' is missing .*and 1,99. more") as caught:
        check(tmp_path)
    assert len(str(caught.value)) < 300


def test_labels_may_be_texts_of_numbers_and_decimals(tmp_path: Path) -> None:
    for label in (["1", " 0 ", "1.0"], ["true", "False", "TRUE"], [Decimal("1.0"), Decimal(0), Decimal(1)]):
        table(label=label).to_parquet(tmp_path / "a.parquet")
        assert check(tmp_path) == 3
        connection = duckdb.connect()
        pairs.read(connection, tmp_path, CANONICAL)
        assert connection.sql("SELECT label FROM pairs").fetchall() == [(1,), (0,), (1,)]


def test_a_table_without_rows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^books[.]zip: has no rows"):
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
    assert tuple(result.columns) == (*pairs.COLUMNS, "file")
    assert [str(kind) for kind in result.types] == ["VARCHAR", "VARCHAR", "VARCHAR", "VARCHAR", "INTEGER", "VARCHAR"]
    assert result.fetchall()[0] == ("ann", "1", "Favorite books: Emma", "Title: Persuasion", 1, "books")


def test_what_a_file_and_its_folders_are_called_changes_no_value(tmp_path: Path) -> None:
    folder = tmp_path / "o'brien [1]" / "label=7" / "year=2020"
    folder.mkdir(parents=True)
    table().to_parquet(folder / "part[1]*.parquet")
    table().to_parquet(folder / "part1.parquet")
    assert check(tmp_path) == 6
    connection = duckdb.connect()
    pairs.read(connection, tmp_path, CANONICAL)
    assert connection.view("source").columns == [*table().columns, pairs.PATH]
    assert connection.sql("SELECT file, count(*), sum(label) FROM pairs GROUP BY ALL ORDER BY ALL").fetchall() == [
        ("part1", 3, 2),
        ("part[1]*", 3, 2),
    ]


TEXTS_ONLY = pairs.SourceColumns(None, None, "user_ctx", "book_text", "label")


def test_a_text_without_an_id_column_is_its_own_id_even_when_it_is_missing(tmp_path: Path) -> None:
    rows = table(user_ctx=["x", "x", None]).drop(columns=["user_id", "book_id"])
    assert check(tmp_path, rows, columns=TEXTS_ONLY, max_empty_share=0.5) == 3
    connection = duckdb.connect()
    pairs.read(connection, tmp_path, TEXTS_ONLY)
    ids = connection.sql("SELECT user_id, book_id FROM pairs").fetchall()
    text, empty, book = (hashlib.md5(text.encode()).hexdigest() for text in ("x", "", "Title: Persuasion"))
    assert ids == [(text, book), (text, book), (empty, book)]


def test_labels_that_need_not_be_whole_are_numbers_up_to_max_grade_and_stay_as_they_are(tmp_path: Path) -> None:
    assert check(tmp_path, table(label=[0.0, 2.75, 5.0]), max_grade=5, whole_labels=False) == 3
    connection = duckdb.connect()
    pairs.read(connection, tmp_path, CANONICAL, whole_labels=False)
    assert connection.sql("SELECT label FROM pairs").fetchall() == [(0.0,), (2.75,), (5.0,)]
    for wrong in (5.1, -0.1, float("inf"), float("nan")):
        # pandas would write NaN as a missing value
        rows = pa.table({**table().to_dict("list"), "label": [0.0, 1.0, wrong]})
        pq.write_table(rows, tmp_path / "part.0.parquet")
        with pytest.raises(UserError, match=rf"holds {wrong:g} \(1 of 3 rows are not numbers from 0 to 5\)"):
            check(tmp_path, max_grade=5, whole_labels=False)
        with pytest.raises(UserError, match=rf"holds {wrong:g} \(1 of 3 rows are not whole numbers from 0 to 5\)"):
            check(tmp_path, max_grade=5)


@pytest.mark.parametrize(("split_column", "splits"), [("file", ["test", "train"]), ("part", ["1", "2"]), (None, None)])
def test_the_file_or_a_column_tells_the_split(
    tmp_path: Path, split_column: str | None, splits: list[str] | None
) -> None:
    (tmp_path / "deep").mkdir()
    table(part=1).to_parquet(tmp_path / "deep/test.parquet")
    table(part=2).to_parquet(tmp_path / "train.parquet")
    connection = duckdb.connect()
    pairs.read(connection, tmp_path, CANONICAL, split_column=split_column)
    found = connection.sql("SELECT * FROM pairs")
    assert found.columns == [*pairs.COLUMNS, "file", *(["split"] if splits else [])]
    assert connection.sql("SELECT DISTINCT file FROM pairs ORDER BY ALL").fetchall() == [("test",), ("train",)]
    if splits:
        rows = connection.sql("SELECT file, split, count(*) FROM pairs GROUP BY ALL ORDER BY ALL").fetchall()
        assert rows == [("test", splits[0], 3), ("train", splits[1], 3)]


def test_a_split_column_that_is_missing_is_named(tmp_path: Path) -> None:
    check(tmp_path, table())
    with pytest.raises(UserError, match=r"column 'part' is missing \(it has user_id, .*, label\): set split_column"):
        pairs.read(duckdb.connect(), tmp_path, CANONICAL, split_column="part")


def test_the_column_params_name_the_source_columns() -> None:
    params = SimpleNamespace(**{**CANONICAL.by_key(), "text_column": "blurb", "lr": 1e-4})
    assert pairs.SourceColumns.from_params(params).text_column == "blurb"
