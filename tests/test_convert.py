"""What each kind of table becomes, and what of each is refused with the line that is wrong."""

import json
import shutil
from pathlib import Path
from pkgutil import resolve_name

import duckdb
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rerank.data.conversion import convert
from rerank.data.formats import FORMATS
from rerank.data.origin import origin
from rerank.errors import UserError


def converted(
    folder: Path, name: str, content: str | bytes, *, csv_quote: str | None = '"', tsv_quote: str | None = None
) -> list[dict[str, object]]:
    """Convert one table and return its rows."""
    raw = folder / "raw"
    raw.mkdir(parents=True, exist_ok=True)
    (raw / name).write_bytes(content.encode() if isinstance(content, str) else content)
    convert(raw, folder / "tables", csv_quote=csv_quote, tsv_quote=tsv_quote)
    (parquet,) = (folder / "tables").iterdir()
    assert parquet.name == Path(name).stem + ".parquet"
    return pq.read_table(parquet).to_pylist()


ROWS = [{"text": "x, y\nz", "number": "1"}, {"text": None, "number": "2"}]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", 'text,number\n"x, y\nz",1\n,2\n'),
        ("a.csv", '\ufefftext,number\r\n"x, y\nz",1\r\n"",2\r\n'),
        ("a.csv", 'text,number\r"x, y\nz",1\r\n,2\n\n'),
        ("a.csv", 'text;number\n"x, y\nz";1\n;2\n'),
        ("a.csv", 'text\tnumber\n"x, y\nz"\t1\n\t2\n'),
        ("a.json", '[{"text": "x, y\\nz", "number": "1"}, {"number": "2"}]'),
        ("a.jsonl", '{"text": "x, y\\nz", "number": "1"}\r\n\n{"text": null, "number": "2"}\n'),
        ("a.json", '{"text": "x, y\\nz", "number": "1"}\n{"text": NaN, "number": "2"}\n'),
        ("a.json", '{"text": {"0": "x, y\\nz", "1": null}, "number": {"0": "1", "1": "2"}}'),
        ("a.jsonl", '{"text": {"0": "x, y\\nz", "1": null}, "number": {"0": "1", "1": "2"}}'),
        ("a.json", '{"columns": ["text", "number"], "index": [0, 1], "data": [["x, y\\nz", "1"], [null, "2"]]}'),
        ("a.json", '{"schema": {}, "data": [{"text": "x, y\\nz", "number": "1"}, {"text": null, "number": "2"}]}'),
        ("a.json", '{"text": ["x, y\\nz", null], "number": ["1", "2"]}'),
        ("a.json", '{"version": 1, "data": [{"text": "x, y\\nz", "number": "1"}, {"number": "2"}]}'),
        ("a.json", '{"pairs": [{"text": "x, y\\nz", "number": "1"}, {"number": "2"}]}'),
        ("a.json", '{"text": {"0": "x, y\\nz", "1": null}, "number": {"1": "2", "0": "1"}}'),
        ("a.jsonl", '[\n {"text": "x, y\\nz", "number": "1"},\n {"number": "2"}\n]'),
        ("a.jsonl", '{"text": "x, y\\nz", "number": "1"}\r{"number": "2"}\r'),
        ("a.csv", 'sep=;\r\ntext;number\r\n"x, y\nz";1\r\n;2\r\n'),
        ("a.csv", 'text|number\n"x, y\nz"|1\n|2\n'),
    ],
)
def test_every_kind_of_table_gives_the_same_rows(tmp_path: Path, name: str, content: str) -> None:
    assert converted(tmp_path, name, content) == ROWS


@pytest.mark.parametrize("orient", ["records", "columns", "split", "table", "index"])
def test_every_shape_that_pandas_writes_is_read(tmp_path: Path, orient: str) -> None:
    frame = pd.DataFrame({"a": ["x", None, "1"], "label": [1, 0, 1], "score": [0.5, None, 2.0]})
    rows = converted(tmp_path, "a.json", frame.to_json(orient=orient))
    expected = [{"a": "x", "label": 1, "score": 0.5}, {"a": None, "label": 0, "score": None}]
    for row, wanted in zip(rows, [*expected, {"a": "1", "label": 1, "score": 2.0}], strict=True):
        assert {key: row[key] for key in wanted} == wanted


@pytest.mark.parametrize(
    "value", ["1", "-2", "2.50", "1e3", "true", "007", "12345678901234567890", "NULL", "nan", "#1"]
)
def test_a_value_of_a_csv_is_the_text_that_it_is_and_an_empty_one_is_null(tmp_path: Path, value: str) -> None:
    assert converted(tmp_path, "a.csv", f"column,n\n{value},\n,1\n") == [
        {"column": value, "n": None},
        {"column": None, "n": "1"},
    ]


def test_quotation_marks_of_a_tsv_are_text_unless_a_param_says_otherwise(tmp_path: Path) -> None:
    content = 'a\tb\n"x\t1\ny" z\t2\n'
    assert converted(tmp_path / "1", "a.tsv", content) == [{"a": '"x', "b": "1"}, {"a": 'y" z', "b": "2"}]
    assert converted(tmp_path / "2", "a.tsv", 'a\tb\n"x\ty"\t1\n', tsv_quote='"') == [{"a": "x\ty", "b": "1"}]


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_a_folder_called_key_value_adds_the_column_that_a_table_lacks_and_replaces_none(
    tmp_path: Path, suffix: str
) -> None:
    for place in ("user=a%20b/LABEL=9", "user=__HIVE_DEFAULT_PARTITION__"):
        folder = tmp_path / "raw" / place
        folder.mkdir(parents=True)
        frame = pd.DataFrame({"label": ["1"], "text": ["x"]})
        getattr(frame, f"to_{suffix}")(folder / f"part.{suffix}", index=False)
    convert(tmp_path / "raw", tmp_path / "tables", csv_quote='"', tsv_quote=None)
    rows = [pq.ParquetFile(path).read().to_pylist() for path in sorted((tmp_path / "tables").rglob("*.parquet"))]
    assert rows == [[{"label": "1", "text": "x", "user": None}], [{"label": "1", "text": "x", "user": "a b"}]]


# A lone \r ends a line for some readers, so it is no text here.
TEXTS = st.text(st.characters(exclude_characters="\r\0", exclude_categories=["Cs"]), min_size=1)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=30))
def test_texts_come_back_as_they_were_written(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]]
) -> None:
    frame = pd.DataFrame([("x", "x"), *rows], columns=["a", "b"])
    content = frame.to_csv(index=False, lineterminator="\n")
    assert converted(tmp_path_factory.mktemp("texts"), "a.csv", content) == frame.to_dict("records")


def test_without_a_quote_character_quotes_are_text(tmp_path: Path) -> None:
    assert converted(tmp_path, "a.tsv", 'a\t"b\n"x\ty "z"\n', csv_quote=None, tsv_quote=None) == [
        {"a": '"x', '"b': 'y "z"'}
    ]
    assert converted(tmp_path / "other", "a.csv", "a,b\n'x, y',1\n", csv_quote="'") == [{"a": "x, y", "b": "1"}]


def test_a_column_without_a_name_is_called_by_its_place(tmp_path: Path) -> None:
    assert converted(tmp_path, "a.csv", ",b\n0,1\n") == [{"column0": "0", "b": "1"}]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "a,b\n1,2\n3\n", r"line 3 has 1 field, and its header 2: correct it, or .*csv_quote"),
        ("a.csv", "a,b\n" + "1,2\n" * 50_000 + "1,2,3\n", "line 50002 has 3 fields"),
        ("a.csv", 'a,b\n"1\n2",2\n1\n', "line 4 has 1 field,"),
        ("a.csv", "a,b\r1,2\r3\r", "line 3 has 1 field,"),
        ("a.csv", 'a,b\n1,"x" y\n', "line 2 can't be read .a quotation mark inside a quoted field is not doubled"),
        ("a.csv", 'a,b\n1,"x\n3,4\n', "line 2 can't be read .a quotation mark is not closed"),
        ("a.csv", b"a,b\n1,2\n1,\xe9\n", "line 3 is not UTF-8: save the file as UTF-8"),
        ("a.csv", "a,b\n1,é\n".encode("utf-16"), "line 1 is UTF-16: save the file as UTF-8"),
        ("a.json", '[{"a": 1}]'.encode("utf-16"), "line 1 is UTF-16: save the file as UTF-8"),
        ("a.csv", '"a,b\n1,2\n', "line 1 can't be read .a quotation mark is not closed"),
        ("a.json", '[{"a": 1, "b": 2, "a": 3}]', "an object has the key 'a' twice: keep one"),
        ("a.jsonl", '{"a": 1}\n{"a": 1, "a": 2}\n', "line 2: an object has the key 'a' twice: keep one"),
        ("a.json", '{"columns": ["a"], "data": [[1], [1, 2]]}', "record 2 of data has not the values"),
        ("a.json", '{"columns": ["a", "a"], "data": [[1, 2]]}', "columns: an object has the key 'a' twice"),
        ("a.json", '{"a": [1], "b": [1, 2]}', "holds lists of different lengths"),
        ("a.json", '[{"a": 1}, null]', "record 2 is null, not an object: write a list of objects"),
        ("a.json", '{"a": 1}\n[1]\n', "line 2 is .1., not an object: write a list of objects"),
        ("a.jsonl", '{"a": 1, "a": 2}\n{"a": 1}\n', "line 1: an object has the key 'a' twice: keep one"),
        ("a.csv", "a,b,A\n1,2,3\n", "its header names the column 'A' twice, capitals aside: rename one"),
        ("a.csv", "a,b\n1,2\n".encode("utf-16-le"), "line 1 holds the byte 0, so it is UTF-16 or no text"),
        ("a.jsonl", '{"a": 1}\n'.encode("utf-16-be"), "line 1 holds the byte 0, so it is UTF-16 or no text"),
        ("a.csv", b"a,b\r1,2\r1,\xe9\r", "line 3 is not UTF-8"),
        ("a.csv", b"a,b\r\n1,2\n\r1,\xe9\r", "line 4 is not UTF-8"),
        ("a.csv", "x" * 1_000 + "," + "x" * 1_000 + "\n", "its header names the column 'x+' twice"),
        ("a.json", '[{"a": 1},', r"is no JSON \(Expecting value: line 1 column 11"),
        ("a.json", "[" * 100_000, "is no JSON"),
        ("a.json", "1", "its content is 1, not an object"),
        ("a.json", "[1]", "record 1 is 1, not an object"),
        ("a.json", '[{"a": "x"}, {"a": "\\ud800"}]', "record 2 holds '.+', which is not Unicode: correct it"),
        ("a.json", b'[\n{"a": "\xe9"}]', "line 2 is not UTF-8"),
        ("a.jsonl", '{"a": 1}\n{"a": \n', "line 2: is no JSON"),
        (
            "a.txt",
            "# qid:1: x\n\n1 qid:1 7555\n",
            "line 3 is no judgment .'1 qid:1 7555'.: write 'GRADE qid:QUERY # DOC",
        ),
        ("a.txt", "# qid:1: x\nbad qid:1 # 7555\n", "line 2 is no judgment"),
        ("a.txt", "# qid:1: x\n1 qid:2 # 7555\n", "query 2 has no text: write the line '# qid:2: TEXT'"),
        ("a.txt", "# qid:1: x\n# qid:1: y\n", "line 2: query 1 is 'y', and 'x' above"),
        ("a.txt", "# qid:1: x\n", "holds no judgment"),
    ],
)
def test_what_cannot_be_read_is_one_line_that_names_the_place(
    tmp_path: Path, name: str, content: str | bytes, message: str
) -> None:
    with pytest.raises(UserError, match=message) as caught:
        converted(tmp_path, name, content)
    assert str(caught.value).startswith(f"{tmp_path / 'raw' / name}: ")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


def test_one_of_several_tables_is_named(tmp_path: Path) -> None:
    (tmp_path / "raw/sets").mkdir(parents=True)
    (tmp_path / "raw/sets/a.csv").write_text("a,b\n1,2\n")
    (tmp_path / "raw/sets/b.csv").write_text("a,b\n1\n")
    with pytest.raises(UserError, match=r"raw/sets/b[.]csv: line 2 "):
        convert(tmp_path / "raw", tmp_path / "tables", csv_quote='"', tsv_quote=None)


def test_two_tables_of_one_name_are_refused(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    for name in ("a.csv", "a.tsv"):
        (tmp_path / "raw" / name).write_text("a\n1\n")
    with pytest.raises(UserError, match=r"raw/a[.]tsv: there is another table of that name"):
        convert(tmp_path / "raw", tmp_path / "tables", csv_quote='"', tsv_quote=None)


def test_a_table_and_a_folder_in_the_place_of_one_table_are_refused(tmp_path: Path) -> None:
    (tmp_path / "raw/a.parquet").mkdir(parents=True)
    for name in ("a.csv", "a.parquet/part.csv"):
        (tmp_path / "raw" / name).write_text("a\n1\n")
    with pytest.raises(UserError, match=r"raw/a[.]parquet/part[.]csv: there is another table of that name"):
        convert(tmp_path / "raw", tmp_path / "tables", csv_quote='"', tsv_quote=None)


def test_a_file_that_is_no_table_is_left_out_and_a_folder_without_one_is_refused(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw/.DS_Store").write_bytes(b"x")
    with pytest.raises(UserError, match=r"raw: holds no table \(\.parquet, "):
        convert(tmp_path / "raw", tmp_path / "none", csv_quote='"', tsv_quote=None)
    assert converted(tmp_path, "a.csv", "a\n1\n") == [{"a": "1"}]


def test_the_name_of_a_folder_changes_no_value(tmp_path: Path) -> None:
    table = tmp_path / "raw/o'clock [1]/n=9/part[1]*.csv"
    table.parent.mkdir(parents=True)
    table.write_text("n,text\n1,x\n")
    convert(tmp_path / "raw", tmp_path / "tables", csv_quote='"', tsv_quote=None)
    (parquet,) = (tmp_path / "tables").rglob("*.parquet")
    assert pq.ParquetFile(parquet).read().to_pylist() == [{"n": "1", "text": "x"}]


@pytest.mark.parametrize("csv_quote", ['""', "", "é", ",", "\n"])
def test_an_impossible_quote_is_refused(tmp_path: Path, csv_quote: str) -> None:
    with pytest.raises(UserError, match=r"^params.yaml: csv_quote is .*: give one ASCII character"):
        convert(tmp_path / "raw", tmp_path / "tables", csv_quote=csv_quote, tsv_quote=None)
    with pytest.raises(UserError, match=r"^params.yaml: tsv_quote is .*: give one ASCII character"):
        convert(tmp_path / "raw", tmp_path / "tables", csv_quote=None, tsv_quote=csv_quote)


def test_the_keys_of_an_object_of_records_become_the_column_id(tmp_path: Path) -> None:
    content = {"11": {"id": 11, "title": "Star Wars"}, "12": {"title": "Nemo", "genres": [{"id": 1}]}}
    assert converted(tmp_path, "a.json", json.dumps(content)) == [
        {"id": "11", "title": "Star Wars", "genres": None},
        {"id": "12", "title": "Nemo", "genres": '[{"id": 1}]'},
    ]


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.json", "a.jsonl"])
@pytest.mark.parametrize("content", ["", "\n", " \n\n", "{}", "[]"])
def test_a_part_without_rows_is_read_and_told(tmp_path: Path, name: str, content: str) -> None:
    if name.endswith("sv") and content.strip():
        content = "a,b\n"  # a header alone
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / name).write_text(content)
    (tmp_path / "raw/b.csv").write_text("a,b\n1,2\n")
    converted = convert(tmp_path / "raw", tmp_path / "tables", csv_quote='"', tsv_quote=None)
    assert converted.words(Path("tables")) == ["2 parquet files in tables, 1 of them without rows"]
    assert pq.read_table(tmp_path / "tables/a.parquet").to_pylist() == []


def test_a_json_file_with_one_object_is_a_table_of_one_row(tmp_path: Path) -> None:
    for name in ("a.json", "a.jsonl"):
        content = '{"a": "x", "tags": [{"b": 1}], "more": {"c": 2}}'
        expected = [{"a": "x", "tags": '[{"b": 1}]', "more": '{"c": 2}'}]
        assert converted(tmp_path / name, name, content) == expected


def test_rows_that_take_several_lines_are_told(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    (raw / "a.csv").write_text('a,b\n1,x\n"2\n3,y\n4",z\n5,"t\nu"\n')
    for name in ("b", "c", "d"):
        (raw / f"{name}.csv").write_text('a,b\n1,"x\ny"\n')
    words = convert(raw, tmp_path / "tables", csv_quote='"', tsv_quote=None).words(Path("tables"))
    assert words[:2] == [
        "4 parquet files in tables",
        f"{raw}/a.csv: 2 of 3 rows hold line ends, one of them 3 lines from line 3",
    ]
    assert words[-1] == "and 1 more such tables"


def test_values_of_different_types_become_texts(tmp_path: Path) -> None:
    records = [{"a": 1, "b": True, "c": 10**30, "d": 1, "e": None}, {"a": "x", "b": 2, "c": 1, "d": 2.5, "e": None}]
    assert converted(tmp_path, "a.json", json.dumps(records)) == [
        {"a": "1", "b": "true", "c": str(10**30), "d": 1.0, "e": None},
        {"a": "x", "b": "2", "c": "1", "d": 2.5, "e": None},
    ]
    assert pq.read_schema(tmp_path / "tables/a.parquet").field("e").type == "string"


def test_a_judgment_list_gives_query_document_and_grade(tmp_path: Path) -> None:
    content = (
        "# Add your keywords below\n#\n# qid:1: rambo\n# qid:2: rocky: ii*1\n"
        "# https://sourceforge.net/p/lemur/wiki/RankLib%20File%20Format/\n\n"
        "4\tqid:1 #\t7555\trambo\n0 qid:1 1:12.3 2:0.5 # 1370 Rambo III\r\n1\tqid:2\t # 9876\n"
    )
    assert converted(tmp_path, "judgments.txt", content) == [
        {"qid": "1", "keywords": "rambo", "doc_id": "7555", "grade": 4},
        {"qid": "1", "keywords": "rambo", "doc_id": "1370", "grade": 0},
        {"qid": "2", "keywords": "rocky: ii", "doc_id": "9876", "grade": 1},
    ]


def test_the_same_table_gives_the_same_bytes_again_and_says_what_it_was_made_from(tmp_path: Path) -> None:
    content = "a,b\n" + "".join(f"{number},text {number % 7}\n" for number in range(120_000))
    made = []
    for _ in range(2):
        assert len(converted(tmp_path, "a.csv", content)) == 120_000
        made.append((tmp_path / "tables/a.parquet").read_bytes())
        shutil.rmtree(tmp_path / "tables")
    assert made[0] == made[1]
    converted(tmp_path, "a.csv", content)
    assert origin(pq.read_schema(tmp_path / "tables/a.parquet")) == str(tmp_path / "raw/a.csv")


def test_a_text_may_be_as_long_as_it_likes(tmp_path: Path) -> None:
    assert converted(tmp_path, "a.csv", "a,b\n1," + "x" * 3_000_000 + "\n")[0]["b"] == "x" * 3_000_000


def test_a_parquet_file_is_linked_and_every_format_has_a_reader(tmp_path: Path) -> None:
    (tmp_path / "raw/part").mkdir(parents=True)
    pq.write_table(duckdb.sql("SELECT 1 AS a").to_arrow_table(), tmp_path / "raw/part/a.parquet")
    assert convert(tmp_path / "raw", tmp_path / "tables", csv_quote=None, tsv_quote=None).tables == 1
    assert (tmp_path / "tables/part/a.parquet").samefile(tmp_path / "raw/part/a.parquet")
    for kind in FORMATS.values():
        assert kind.reader is None or callable(resolve_name(kind.reader))


def test_a_table_that_dvc_has_linked_to_its_cache_is_linked_to_the_file_itself(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    pq.write_table(duckdb.sql("SELECT 1 AS a").to_arrow_table(), tmp_path / "cached")
    (tmp_path / "raw/a.parquet").symlink_to("../cached")
    convert(tmp_path / "raw", tmp_path / "tables", csv_quote=None, tsv_quote=None)
    assert not (tmp_path / "tables/a.parquet").is_symlink()
    assert pq.ParquetFile(tmp_path / "tables/a.parquet").read().to_pylist() == [{"a": 1}]
