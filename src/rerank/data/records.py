"""Turn lists of records into parquet files: JSON, JSON Lines and the judgment lists of RankLib.

What can't be read as it stands is named with its line (UserError), and so is a file without records. The parameter
``name`` is the file's name for the messages.
"""

import json
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

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


def _write_records(records: list[Any], target: Path, *, name: str) -> None:
    if not records or not all(isinstance(record, dict) for record in records):
        raise UserError(f"{name}: holds no list of records: write a list of objects, or an object of id and object")
    columns = dict.fromkeys(key for record in records for key in record)
    try:
        table = pa.table({column: _column([record.get(column) for record in records]) for column in columns})
    except UnicodeEncodeError as error:
        raise UserError(f"{name}: holds a text that is not Unicode ({error.object[:80]!r}): correct it") from None
    pq.write_table(table, target, compression="zstd")


def _parse(text: str, *, name: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{name}: is no JSON ({error}): correct it") from None


def _read_text(table: Path, *, name: str) -> str:
    try:
        return table.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise UserError(f"{name}: line {line} is not UTF-8: write the file in UTF-8") from None


def convert_json(table: Path, target: Path, *, name: str) -> None:
    """Convert a list of objects, or an object of objects, whose keys become the column ``id``."""
    content = _parse(_read_text(table, name=name), name=name)
    if isinstance(content, dict) and all(isinstance(record, dict) for record in content.values()):
        content = [{**record, "id": key} for key, record in content.items()]
    _write_records(content if isinstance(content, list) else [], target, name=name)


def convert_json_lines(table: Path, target: Path, *, name: str) -> None:
    """Convert a file with one object on each line."""
    lines = enumerate(_read_text(table, name=name).split("\n"), start=1)
    records = [_parse(line, name=f"{name}: line {number}") for number, line in lines if line.strip()]
    _write_records(records, target, name=name)


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
    without = sorted({query for query, _, _ in judgments}.difference(queries))
    if without:
        raise UserError(f"{name}: query {without[0]} has no text: write the line '# qid:{without[0]}: TEXT'")
    records = [
        {"qid": query, "keywords": queries[query], "doc_id": document, "grade": grade}
        for query, document, grade in judgments
    ]
    _write_records(records, target, name=name)
