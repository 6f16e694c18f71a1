"""Turn lists of records into parquet files: JSON, JSON Lines and the judgment lists of RankLib.

What can't be read as it stands is named with its line (UserError). The parameter
``name`` is the file's name for the messages.
"""

import json
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from rerank.data.origin import marked
from rerank.errors import UserError

# The head of a judgment list gives the queries: "# qid:1: rambo", where a weight may follow: "rambo*1".
QUERY = re.compile(r"#\s*qid:(\S+?):\s*(.*?)(?:\*\d+)?\s*")
# Its body: grade, query, features or none, and after # the document and what else is said of it.
JUDGMENT = re.compile(r"(\d+(?:\.\d+)?)\s+qid:(\S+)\s[^#]*#\s*(\S+).*")


def _column(values: list[Any]) -> pa.Array:
    """Return the values of one key: of one type as they are, mixed or nested ones as JSON."""
    if not any(isinstance(value, (dict, list)) for value in values):
        try:
            array = pa.array(values)
            return array.cast(pa.string()) if pa.types.is_null(array.type) else array
        except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
            pass
    as_text = (value if value is None or isinstance(value, str) else json.dumps(value) for value in values)
    return pa.array(as_text, pa.string())


def _write_columns(columns: dict[str, list[Any]], target: Path, *, name: str) -> None:
    try:
        table = pa.table({column: _column(values) for column, values in columns.items()})
    except UnicodeEncodeError as error:
        raise UserError(f"{name}: holds a text that is not Unicode ({error.object[:80]!r}): correct it") from None
    pq.write_table(table.cast(marked(table.schema, name)), target, compression="zstd")


def _write_records(records: list[Any], target: Path, *, name: str) -> None:
    if not all(isinstance(record, dict) for record in records):
        raise _no_records(name)
    keys = dict.fromkeys(key for record in records for key in record)
    _write_columns({key: [record.get(key) for record in records] for key in keys}, target, name=name)


def _no_records(name: str) -> UserError:
    return UserError(f"{name}: holds no list of records: write a list of objects, or one object a line")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the object of some keys and values."""
    found = dict(pairs)
    if len(found) < len(pairs):
        key = next(key for number, (key, _) in enumerate(pairs) if key in [one for one, _ in pairs[:number]])
        raise UserError(f"an object has the key {key[:80]!r} twice: keep one")
    return found


def _constant(text: str) -> float | None:
    """Return what Python's and pandas' NaN and Infinity mean."""
    return None if text == "NaN" else float(text)


def _parse(text: str, *, name: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_once, parse_constant=_constant)
    except UserError as error:
        raise UserError(f"{name}: {error}") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{name}: is no JSON ({error}): correct it") from None


def _read_text(table: Path, *, name: str) -> str:
    content = table.read_bytes()
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise UserError(f"{name}: line 1 is UTF-16: save the file as UTF-8")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UserError(f"{name}: line {line} is not UTF-8: write the file in UTF-8") from None


def _is_lines(text: str) -> bool:
    """Whether a text has one JSON value a line: more follows the first."""
    try:
        _, end = json.JSONDecoder().raw_decode(text.lstrip())
    except (ValueError, RecursionError):
        return False
    return bool(text.lstrip()[end:].strip())


def convert_json(table: Path, target: Path, *, name: str) -> None:
    """Convert JSON in any of the shapes that tables have: see `_columns_of`; or one object on each line."""
    text = _read_text(table, name=name)
    if table.suffix == ".jsonl" or _is_lines(text):
        lines = enumerate(text.split("\n"), start=1)
        found = [_parse(line, name=f"{name}: line {number}") for number, line in lines if line.strip()]
        if len(found) != 1 or (isinstance(found[0], dict) and not _is_nested(found[0])):
            _write_records(found, target, name=name)
            return
    content = _parse(text, name=name)
    if isinstance(content, list):
        _write_records(content, target, name=name)
    elif isinstance(content, dict) and content:
        _write_object(content, target, name=name)
    else:
        raise _no_records(name)


def _is_nested(content: dict[str, Any]) -> bool:
    return bool(content) and all(isinstance(value, (dict, list)) for value in content.values())


def _write_object(content: dict[str, Any], target: Path, *, name: str) -> None:
    """Convert an object: of objects, of lists, or of pandas' orients split, table and columns.

    An object of objects has a column a key where all of these have the same whole numbers as keys, as pandas'
    ``to_json()`` writes it; else a record a key, which becomes the column ``id``.
    """
    values = list(content.values())
    if {"columns", "data"} <= content.keys() <= {"columns", "data", "index"}:
        rows = content["data"]
        if not all(isinstance(row, list) and len(row) == len(content["columns"]) for row in rows):
            raise _no_records(name)
        _write_records([dict(zip(content["columns"], row, strict=True)) for row in rows], target, name=name)
    elif content.keys() == {"schema", "data"} and isinstance(content["data"], list):
        _write_records(content["data"], target, name=name)
    elif all(isinstance(value, list) for value in values) and len({len(value) for value in values}) == 1:
        _write_columns(content, target, name=name)
    elif not all(isinstance(value, dict) for value in values):
        raise _no_records(name)
    elif all(key.isdecimal() for key in values[0]) and all(value.keys() == values[0].keys() for value in values):
        _write_columns({key: list(value.values()) for key, value in content.items()}, target, name=name)
    else:
        _write_records([{**record, "id": key} for key, record in content.items()], target, name=name)


def convert_judgments(table: Path, target: Path, *, name: str) -> None:
    """Convert a judgment list to the columns qid, keywords (the query), doc_id and grade.

    Format: https://sourceforge.net/p/lemur/wiki/RankLib%20File%20Format/, with the queries in comments at the head.
    """
    queries: dict[str, str] = {}
    judgments = []
    for number, line in enumerate(_read_text(table, name=name).split("\n"), start=1):
        text = line.strip()
        if head := QUERY.fullmatch(text):
            first = queries.setdefault(head[1], head[2])
            if first != head[2]:
                raise UserError(f"{name}: line {number}: query {head[1]} is {head[2]!r}, and {first!r} above: keep one")
        elif body := JUDGMENT.fullmatch(text):
            grade = float(body[1])
            judgments.append((body[2], body[3], int(grade) if grade.is_integer() else grade))
        elif text and not text.startswith("#"):
            raise UserError(f"{name}: line {number} is no judgment ({text[:80]!r}): write 'GRADE qid:QUERY # DOCUMENT'")
    if not judgments:
        raise UserError(f"{name}: holds no judgment: write lines like 'GRADE qid:QUERY # DOCUMENT'")
    without = sorted({query for query, _, _ in judgments}.difference(queries))
    if without:
        raise UserError(f"{name}: query {without[0]} has no text: write the line '# qid:{without[0]}: TEXT'")
    records = [
        {"qid": query, "keywords": queries[query], "doc_id": document, "grade": grade}
        for query, document, grade in judgments
    ]
    _write_records(records, target, name=name)
