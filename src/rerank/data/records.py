"""Turn lists of records into parquet files: JSON, JSON Lines and the judgment lists of RankLib.

What can't be read as it stands is named with its line (UserError). The parameter
``name`` is the file's name for the messages.
"""

import io
import json
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from rerank.data.encoding import check_start, not_utf8
from rerank.data.origin import marked
from rerank.errors import UserError

CHARACTERS = 60
SHAPES = "write a list of objects, or one object a line"
# The head of a judgment list gives the queries: "# qid:1: rambo", where a weight may follow: "rambo*1".
QUERY = re.compile(r"#\s*qid:(\S+?):\s*(.*?)(?:\*\d+)?\s*")
# Its body: grade, query, features or none, and after # the document ("docid = ID" in LETOR) and what else is said.
JUDGMENT = re.compile(r"(-?\d+(?:\.\d+)?)\s+qid:(\S+)\s[^#]*#\s*(?:docid\s*=\s*)?(\S+).*")


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
    arrays = {}
    for column, values in columns.items():
        try:
            column.encode()
            arrays[column] = _column(values)
        except UnicodeEncodeError as error:
            text = error.object
            place = values.index(text) + 1 if text in values else 1
            raise UserError(f"{name}: record {place:,} holds {text[:80]!r}, which is not Unicode: correct it") from None
    table = pa.table(arrays)
    pq.write_table(table.cast(marked(table.schema, name)), target, compression="zstd")


def _write_records(records: list[Any], target: Path, *, name: str) -> None:
    for number, record in enumerate(records, start=1):
        if not isinstance(record, dict):
            raise _no_object(f"{name}: record {number:,}", record)
    keys = dict.fromkeys(key for record in records for key in record)
    _write_columns({key: [record.get(key) for record in records] for key in keys}, target, name=name)


def _no_object(place: str, value: Any) -> UserError:
    return UserError(f"{place} is {json.dumps(value)[:CHARACTERS]}, not an object: {SHAPES}")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the object of some keys and values."""
    found = dict(pairs)
    if len(found) < len(pairs):
        key = next(key for number, (key, _) in enumerate(pairs) if key in [one for one, _ in pairs[:number]])
        raise UserError(f"an object has the key {key[:CHARACTERS]!r} twice: keep one")
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
    check_start(content[: 2**16], name=name)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise not_utf8(table, name=name) from None


def _is_lines(text: str) -> bool:
    """Whether a text has one JSON value a line: its first line is one, and more follows."""
    first, _, rest = text.lstrip().partition("\n")
    if not rest.strip():
        first, _, rest = first.partition("\r")
    try:
        json.loads(first if rest.strip() else "none")
    except (ValueError, RecursionError):
        return False
    return True


def convert_json(table: Path, target: Path, *, name: str) -> None:
    """Convert JSON: a list of objects, one object a line, or an object, see `_write_object`; nothing has no rows."""
    text = _read_text(table, name=name)
    if _is_lines(text):
        records = []
        for number, line in enumerate(io.StringIO(text, newline=None), start=1):
            if line.strip():
                records.append(_parse(line, name=f"{name}: line {number:,}"))
                if not isinstance(records[-1], dict):
                    raise _no_object(f"{name}: line {number:,}", records[-1])
        _write_records(records, target, name=name)
        return
    content = _parse(text, name=name) if text.strip() else []
    if isinstance(content, list):
        _write_records(content, target, name=name)
    elif isinstance(content, dict):
        _write_object(content, target, name=name)
    else:
        raise _no_object(f"{name}: its content", content)


def _write_object(content: dict[str, Any], target: Path, *, name: str) -> None:
    """Convert an object: of objects, of lists, of pandas' orients split, table and columns, with records, or a record.

    An object of objects has a column a key where all of these have the same whole numbers as keys, as pandas'
    ``to_json()`` writes it; else a record a key, which becomes the column ``id``. Records stand under the key ``data``,
    or under the only key.
    """
    values = list(content.values())
    lists = [value for value in values if isinstance(value, list)]
    only = len(values) == 1 or (len(lists) == 1 and content.get("data") is lists[0])
    if {"columns", "data"} <= content.keys() <= {"columns", "data", "index"} and isinstance(content["data"], list):
        _write_records(_split_records(content, name=name), target, name=name)
    elif content.keys() == {"schema", "data"} or (only and lists and _are_objects(lists[0])):
        _write_records(lists[0] if lists else [None], target, name=name)
    elif lists == values and len({len(value) for value in values}) == 1:
        _write_columns(content, target, name=name)
    elif any(not isinstance(value, (dict, list)) for value in values):
        _write_records([content], target, name=name)
    elif lists:
        raise UserError(f"{name}: holds lists of different lengths, or lists and objects: {SHAPES}")
    elif values and all(map(str.isdecimal, values[0])) and all(value.keys() == values[0].keys() for value in values):
        columns = {key: [value[row] for row in values[0]] for key, value in content.items()}
        _write_columns(columns, target, name=name)
    else:
        _write_records([{**record, "id": key} for key, record in content.items()], target, name=name)


def _are_objects(found: list[Any]) -> bool:
    return bool(found) and all(isinstance(record, dict) for record in found)


def _split_records(content: dict[str, Any], *, name: str) -> list[dict[str, Any]]:
    columns, records = content["columns"], []
    for number, row in enumerate(content["data"], start=1):
        if not isinstance(row, list) or not isinstance(columns, list) or len(row) != len(columns):
            raise UserError(f"{name}: record {number:,} of data has not the values that columns names: {SHAPES}")
        try:
            records.append(_once([(str(column), value) for column, value in zip(columns, row, strict=True)]))
        except UserError as error:
            raise UserError(f"{name}: columns: {error}") from None
    return records


def convert_judgments(table: Path, target: Path, *, name: str) -> None:
    """Convert a judgment list to the columns qid, keywords (the query), doc_id and grade.

    Format: https://sourceforge.net/p/lemur/wiki/RankLib%20File%20Format/, with the queries in comments at the head, or
    none of them: they are null then.
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
    if queries and without:
        raise UserError(f"{name}: query {without[0]} has no text: write the line '# qid:{without[0]}: TEXT'")
    records = [
        {"qid": query, "keywords": queries.get(query), "doc_id": document, "grade": grade}
        for query, document, grade in judgments
    ]
    _write_records(records, target, name=name)
