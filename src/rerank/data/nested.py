"""Pairs of rows that hold several texts: a query with its positive and negatives, or with a list of documents.

A column of texts holds one text a row, or a list of them: a list of parquet, or one written as JSON. Of a struct in
parquet, as MS MARCO has it on the Hub, a field is called STRUCT.FIELD.
"""

import re

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from rerank.data import negatives
from rerank.data.source_tables import Shaping, Table, relation
from rerank.data.sql import one_row, quote
from rerank.errors import UserError

CHARACTERS = 60


def _is_list(kind: pa.DataType) -> bool:
    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)


def _list(connection: duckdb.DuckDBPyConnection, table: Table, column: str, *, key: str) -> str:
    """Return the SQL list of texts that a column holds in each row; null where it is null."""
    schema = pq.read_schema(table.file)
    struct, _, field = column.partition(".")
    if column not in schema.names and struct in schema.names and pa.types.is_struct(schema.field(struct).type):
        kind = schema.field(struct).type
        if field in kind.names and _is_list(kind.field(field).type):
            return f"CAST({quote(struct)}.{quote(field)} AS VARCHAR[])"
    name = quote(column)
    if column in schema.names and _is_list(schema.field(column).type):
        return f"CAST({name} AS VARCHAR[])"
    table.check({key: column})
    text = f"CAST({name} AS VARCHAR)"
    array = f"CASE WHEN starts_with(ltrim({text}), '[') AND json_valid({text}) THEN json_type({text}) = 'ARRAY' END"
    counts = f"count({name}) AS filled, count(*) FILTER ({array}) AS arrays"
    found = one_row(connection, f"SELECT {counts} FROM {relation([table])}")
    if found["filled"] and found["arrays"] == found["filled"]:
        return f"from_json({text}, '[\"VARCHAR\"]')"
    return f"CASE WHEN {name} IS NOT NULL THEN [{text}] END"


def make_from_triples(connection: duckdb.DuckDBPyConnection, tables: list[Table], how: Shaping) -> list[str]:
    """Make ``shaped`` of rows with a query, positives and negatives, as sentence-transformers trains on them.

    Negatives stand in columns of that name, or numbered: negative_1, negative_2. A row may have fewer than others.
    """
    context = how.columns.context_column
    numbered = re.compile(rf"{re.escape(how.negative_column)}_\d+")
    selects = []
    for table in tables:
        table.check({"context_column": context})
        columns = [name for name in table.columns if name == how.negative_column or numbered.fullmatch(name)]
        if not columns and not how.sampled_negatives:
            table.check({"negative_column": how.negative_column})
        positives = f"coalesce({_list(connection, table, how.positive_column, key='positive_column')}, [NULL])"
        texts = [(positives, 1)]
        texts += [(_list(connection, table, name, key="negative_column"), 0) for name in columns]
        selects += [
            f"SELECT {quote(context)} AS user_ctx, {label} AS label, unnest({found}) AS book_text "
            f"FROM {relation([table])}"
            for found, label in texts
        ]
    return _shape(connection, " UNION ALL ".join(selects), how)


def make_from_lists(connection: duckdb.DuckDBPyConnection, tables: list[Table], how: Shaping) -> list[str]:
    """Make ``shaped`` of rows with a query, a list of documents and a list of their labels.

    Raises:
        UserError: also for a row whose lists differ in length.
    """
    names = how.columns
    assert names.text_column is not None, "pairs have texts"
    selects = []
    for table in tables:
        table.check({"context_column": names.context_column})
        texts = _list(connection, table, names.text_column, key="text_column")
        labels = _list(connection, table, names.label_column, key="label_column")
        context = quote(names.context_column)
        rows = f"SELECT {context} AS user_ctx, {texts} AS texts, {labels} AS labels FROM {relation([table])}"
        unequal = f"SELECT * FROM ({rows}) WHERE len(texts) IS DISTINCT FROM len(labels) ORDER BY ALL LIMIT 1"
        if found := connection.execute(unequal).fetchone():
            many, few = (len(values or []) for values in found[1:])
            raise UserError(
                f"{table.name}: the row of {str(found[0])[:CHARACTERS]!r} has {many} texts in '{names.text_column}' "
                f"and {few} labels in '{names.label_column}': write a label for each text"
            )
        selects.append(f"SELECT user_ctx, unnest(texts) AS book_text, unnest(labels) AS label FROM ({rows})")
    return _shape(connection, " UNION ALL ".join(selects), how)


def _shape(connection: duckdb.DuckDBPyConnection, rows: str, how: Shaping) -> list[str]:
    """Make ``shaped`` of a query for user_ctx, book_text and label; the MD5 of a text is its id."""
    connection.execute(f"""
        CREATE TEMP TABLE rows AS
        SELECT md5(coalesce(context, '')) AS user_id, md5(coalesce(book_text, '')) AS book_id,
            context AS user_ctx, book_text, CAST(label AS VARCHAR) AS label
        FROM (SELECT *, CAST(user_ctx AS VARCHAR) AS context FROM ({rows}))""")
    connection.execute("CREATE TEMP TABLE catalogue AS SELECT DISTINCT book_id FROM rows WHERE book_text IS NOT NULL")
    notes = negatives.sample(connection, "rows", per_user=how.sampled_negatives, seed=how.seed)
    connection.execute("""
        CREATE VIEW shaped AS
        WITH contexts AS (SELECT DISTINCT user_id, user_ctx FROM rows),
        texts AS (SELECT DISTINCT book_id, book_text FROM rows)
        FROM rows UNION ALL BY NAME
        SELECT user_id, book_id, user_ctx, book_text, '0' AS label
        FROM unread JOIN contexts USING (user_id) JOIN texts USING (book_id)""")
    return notes
