"""Pairs of rows that hold several texts: a query with its positive and negatives, or with a list of documents.

A column of texts holds one text a row, or a list of them: a list of parquet, or one written as JSON. Of a struct of
lists, as MS MARCO has it on the Hub, or a list of structs a field is called COLUMN.FIELD.
"""

import re

import duckdb
import pyarrow as pa

from rerank.data import negatives
from rerank.data.schema import shown
from rerank.data.source_tables import Shaping, Table, relation
from rerank.data.sql import literal, one_row, quote
from rerank.errors import UserError

CHARACTERS = 60
# A list as Python prints it, and pandas writes it to CSV.
PYTHON_LIST = r"^\s*\[\s*('.*'|\".*\")\s*\]\s*$"


def _is_list(kind: pa.DataType) -> bool:
    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)


def _list(connection: duckdb.DuckDBPyConnection, table: Table, column: str, *, key: str) -> str:
    """Return the SQL list of texts that a column, or COLUMN.FIELD, holds in each row; null where it is null.

    Raises:
        UserError: when it is missing, or holds something else.
    """
    schema = table.schema
    name, _, field = (column, "", "") if column in schema.names else column.partition(".")
    if name not in schema.names:
        table.check({key: column})
    kind, found = schema.field(name).type, quote(name)
    if field and pa.types.is_struct(kind) and field in kind.names:
        kind, found = kind.field(field).type, f"{found}.{quote(field)}"
    elif field and _is_list(kind) and pa.types.is_struct(kind.value_type) and field in kind.value_type.names:
        kind, found = pa.list_(kind.value_type.field(field).type), f"[one.{quote(field)} FOR one IN {found}]"
    elif field and (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        return _field_of_json(found, field)
    elif field:
        table.check({key: column})
    if _is_list(kind):
        if pa.types.is_nested(kind.value_type):
            raise UserError(
                f"{table.name}: column '{column}' holds lists of {str(kind.value_type)[:CHARACTERS]}, not of texts: "
                f"name a field of it as COLUMN.FIELD in {key}"
            )
        return f"CAST({found} AS VARCHAR[])"
    if not field:
        table.check({key: name})
    return _texts_of(connection, table, f"CAST({found} AS VARCHAR)", column=column, key=key)


def _field_of_json(text: str, field: str) -> str:
    """Return the SQL list of a field of JSON: of each object of a list, or a list of an object's."""
    content, member = f"TRY_CAST({text} AS JSON)", field.replace('"', '""')
    each, whole = (literal(path) for path in (f'$[*]."{member}"', f'$."{member}"[*]'))
    of_list, of_object = (f"json_extract_string({content}, {path})" for path in (each, whole))
    return f"CASE json_type({content}) WHEN 'ARRAY' THEN {of_list} WHEN 'OBJECT' THEN {of_object} END"


def _texts_of(connection: duckdb.DuckDBPyConnection, table: Table, text: str, *, column: str, key: str) -> str:
    """Return the SQL list of a column of texts: what is a list in JSON, and else the one text; row by row."""
    content = f"TRY_CAST({text} AS JSON)"
    is_list = f"coalesce(json_type({content}) = 'ARRAY', false)"
    kinds = f"list_transform(json_extract({content}, '$[*]'), lambda one: json_type(one))"
    counts = {
        "filled": f"count({text})",
        "nested": f"count(*) FILTER ({is_list} AND list_has_any({kinds}, ['OBJECT', 'ARRAY']))",
        "printed": f"count(*) FILTER (NOT {is_list} AND regexp_matches({text}, {literal(PYTHON_LIST)}))",
    }
    selects = ", ".join(f"{count} AS {name}" for name, count in counts.items())
    found = one_row(connection, f"SELECT {selects} FROM {relation([table])}")
    if found["nested"]:
        raise UserError(
            f"{table.name}: column '{column}' holds lists of objects or lists in {found['nested']:,} rows, not of "
            f"texts: name a field of it as COLUMN.FIELD in {key}"
        )
    if found["printed"] * 2 > found["filled"]:
        raise UserError(
            f"{table.name}: column '{column}' holds lists as Python prints them, which nothing else reads: write them "
            "as JSON, or the table as parquet"
        )
    return f"CASE WHEN {is_list} THEN json_extract_string({content}, '$[*]') WHEN {text} IS NOT NULL THEN [{text}] END"


def make_from_triples(connection: duckdb.DuckDBPyConnection, tables: list[Table], how: Shaping) -> list[str]:
    """Make ``shaped`` of rows with a query, positives and negatives, as sentence-transformers trains on them.

    Negatives stand in columns of that name, or numbered: negative_1, negative_2. A row may have fewer than others.
    """
    context = how.columns.context_column
    numbered = re.compile(rf"{re.escape(how.negative_column)}_\d+")
    selects, notes = [], list[str]()
    for table in tables:
        table.check({"context_column": context})
        columns = [name for name in table.columns if name == how.negative_column or numbered.fullmatch(name)]
        if not columns and how.negative_column.partition(".")[0] in table.columns:
            columns = [how.negative_column]
        if not columns and not how.sampled_negatives:
            table.check({"negative_column": how.negative_column})
        if not columns:
            others = [name for name in table.columns if name not in (context, how.positive_column)]
            unread = f" (not read: {shown(others)})" if others else ""
            notes.append(
                f"{table.name}: has no column '{how.negative_column}'{unread}: its negatives are sampled alone"
            )
        found = _list(connection, table, how.positive_column, key="positive_column")
        positives = f"CASE WHEN len({found}) > 0 THEN {found} ELSE [NULL] END"
        texts = [(positives, 1)]
        texts += [(_list(connection, table, name, key="negative_column"), 0) for name in columns]
        selects += [
            f"SELECT {quote(context)} AS user_ctx, {label} AS label, unnest({found}) AS book_text "
            f"FROM {relation([table])}"
            for found, label in texts
        ]
    return notes + _shape(connection, " UNION ALL ".join(selects), how)


def make_from_lists(connection: duckdb.DuckDBPyConnection, tables: list[Table], how: Shaping) -> list[str]:
    """Make ``shaped`` of rows with a query, a list of documents and a list of their labels.

    Raises:
        UserError: also for a row whose lists differ in length.
    """
    names = how.columns
    assert names.text_column is not None, "pairs have texts"
    selects, notes = [], list[str]()
    for table in tables:
        table.check({"context_column": names.context_column})
        texts = _list(connection, table, names.text_column, key="text_column")
        labels = _list(connection, table, names.label_column, key="label_column")
        context = quote(names.context_column)
        rows = f"SELECT {context} AS user_ctx, {texts} AS texts, {labels} AS labels FROM {relation([table])}"
        unequal = (
            f"SELECT * FROM ({rows}) WHERE coalesce(len(texts), 0) <> coalesce(len(labels), 0) ORDER BY ALL LIMIT 1"
        )
        if found := connection.execute(unequal).fetchone():
            many, few = (len(values or []) for values in found[1:])
            raise UserError(
                f"{table.name}: the row of {str(found[0])[:CHARACTERS]!r} has {many} texts in '{names.text_column}' "
                f"and {few} labels in '{names.label_column}': write a label for each text"
            )
        empty = one_row(connection, f"SELECT count(*) AS rows FROM ({rows}) WHERE coalesce(len(texts), 0) = 0")["rows"]
        if empty:
            notes.append(f"{table.name}: {empty:,} rows have a list without a text: left out")
        selects.append(f"SELECT user_ctx, unnest(texts) AS book_text, unnest(labels) AS label FROM ({rows})")
    return notes + _shape(connection, " UNION ALL ".join(selects), how)


def _shape(connection: duckdb.DuckDBPyConnection, rows: str, how: Shaping) -> list[str]:
    """Make ``shaped`` of a query for user_ctx, book_text and label; the MD5 of a text is its id."""
    connection.execute(f"""
        CREATE TEMP TABLE rows AS
        SELECT md5(coalesce(context, '')) AS user_id, coalesce(md5(book_text), 'none') AS book_id,
            context AS user_ctx, book_text, CAST(label AS VARCHAR) AS label
        FROM (SELECT *, CAST(user_ctx AS VARCHAR) AS context FROM ({rows}))""")
    connection.execute("CREATE TEMP TABLE catalogue AS SELECT DISTINCT book_id, book_text FROM rows")
    notes = negatives.sample(connection, "rows", per_user=how.sampled_negatives, seed=how.seed)
    connection.execute("""
        CREATE VIEW shaped AS
        WITH contexts AS (SELECT user_id, min(user_ctx) AS user_ctx FROM rows GROUP BY user_id)
        FROM rows UNION ALL BY NAME
        SELECT user_id, book_id, user_ctx, book_text, '0' AS label
        FROM unread JOIN contexts USING (user_id) JOIN catalogue USING (book_id)""")
    return notes
