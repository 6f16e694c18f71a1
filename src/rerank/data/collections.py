"""Pairs of search collections: queries, documents and judgments, each in tables of its own.

A judgment whose query or document has no text stays, without it, and is dropped and counted by `sample`.
"""

from typing import NoReturn

import duckdb

from rerank.data import negatives
from rerank.data.headerless import kind_of
from rerank.data.source_tables import Shaping, Table, relation
from rerank.data.sql import is_filled, number, quote
from rerank.errors import UserError

BEIR_QRELS = ("query-id", "corpus-id", "score")
LETOR_QRELS = ("qid", "doc_id", "grade")
IDS = ("_id", "id")


def _lacks(noun: str, advice: str) -> NoReturn:
    raise UserError(f"params.yaml: shape: the source holds no {noun}: {advice}")


def _id(table: Table) -> str:
    """Return what a table of BEIR calls its ids."""
    return next((name for name in IDS if name in table.columns), IDS[0])


def _texts(tables: list[Table], *, titled: bool) -> str:
    """Return the query for ``id`` and ``text`` of a collection's texts, of those with one id the lowest."""
    selects = []
    for table in tables:
        name = _id(table)
        table.check({"shape": name} | {"shape ": "text"})
        title = 'CASE WHEN {} THEN "title" END'.format(is_filled('"title"'))
        text = f"concat_ws(E'\\n\\n', {title}, \"text\")" if titled and "title" in table.columns else '"text"'
        selects.append(f"SELECT CAST({quote(name)} AS VARCHAR) AS id, {text} AS text FROM {relation([table])}")
    return f"SELECT id, min(text) AS text FROM ({' UNION ALL '.join(selects)}) GROUP BY id"


def make_from_beir(connection: duckdb.DuckDBPyConnection, tables: list[Table], how: Shaping) -> list[str]:
    """Make ``shaped`` of BEIR's tables: corpus and queries (_id, title, text), qrels (query-id, corpus-id, score).

    What has the columns of qrels is that; of the others those with "quer" or "topic" in their names hold queries. A
    grade below 0 means 0.
    """
    qrels = [table for table in tables if set(BEIR_QRELS[:2]) <= set(table.columns)]
    others = [table for table in tables if table not in qrels]
    queries = [table for table in others if kind_of(table.place) == "queries"]
    documents = [table for table in others if table not in queries]
    if not qrels:
        _lacks("qrels", f"they have the columns {', '.join(BEIR_QRELS)}, or, of TREC, 'qrels' in their file's name")
    if not queries:
        _lacks("queries", "their file has 'queries' in its name")
    if not documents:
        _lacks("documents", "they stand in a file beside the queries")
    for table in qrels:
        table.check({"shape": BEIR_QRELS[0], "shape ": BEIR_QRELS[1], "label_column": BEIR_QRELS[2]})
    connection.execute(f"CREATE TEMP TABLE queries AS {_texts(queries, titled=False)}")
    connection.execute(f"CREATE VIEW documents AS {_texts(documents, titled=True)}")
    return _shape(connection, relation(qrels), BEIR_QRELS, how)


def make_from_letor(connection: duckdb.DuckDBPyConnection, tables: list[Table], how: Shaping) -> list[str]:
    """Make ``shaped`` of judgments as LETOR and RankLib have them, and of the texts beside them.

    The documents' table has the book_column and the text_column; the queries stand in the judgments' comments, or in a
    table with the user_column and the context_column.
    """
    qrels = [table for table in tables if set(LETOR_QRELS) <= set(table.columns)]
    others = [table for table in tables if table not in qrels]
    columns = how.columns
    user, book, text = columns.user_column, columns.book_column, columns.text_column
    if user is None or book is None or text is None:
        raise UserError("params.yaml: user_column or book_column is null: the texts of judgments are found by ids")
    queries = [table for table in others if columns.context_column in table.columns and text not in table.columns]
    documents = [table for table in others if table not in queries]
    if not qrels:
        _lacks("judgments", "they stand in a .txt file, GRADE qid:QUERY … # DOCUMENT")
    if not documents:
        _lacks("documents", "add a table with the book_column and the text_column")
    for table in documents:
        table.check({"book_column": book, "text_column": text})
    for table in queries:
        table.check({"user_column": user, "context_column": columns.context_column})
    said = f"SELECT qid AS id, keywords AS text FROM {relation(qrels)} WHERE keywords IS NOT NULL"
    if queries:
        said += (
            f" UNION ALL SELECT CAST({quote(user)} AS VARCHAR), CAST({quote(columns.context_column)} AS VARCHAR) "
            f"FROM {relation(queries)}"
        )
    connection.execute(f"CREATE TEMP TABLE queries AS SELECT id, min(text) AS text FROM ({said}) GROUP BY id")
    connection.execute(f"""
        CREATE VIEW documents AS
        SELECT CAST({quote(book)} AS VARCHAR) AS id, min(CAST({quote(text)} AS VARCHAR)) AS text
        FROM {relation(documents)} GROUP BY ALL""")
    return _shape(connection, relation(qrels), LETOR_QRELS, how)


def _shape(connection: duckdb.DuckDBPyConnection, qrels: str, names: tuple[str, str, str], how: Shaping) -> list[str]:
    query, document, grade = map(quote, names)
    value = number(grade)
    label = f"coalesce(CAST(greatest({value}, 0) AS VARCHAR), CAST({grade} AS VARCHAR))"
    connection.execute(f"""
        CREATE TEMP TABLE judgments AS
        SELECT CAST({query} AS VARCHAR) AS user_id, CAST({document} AS VARCHAR) AS book_id, {label} AS label
        FROM {qrels}""")
    connection.execute("CREATE TEMP TABLE catalogue AS SELECT id AS book_id FROM documents WHERE id IS NOT NULL")
    notes = negatives.sample(connection, "judgments", per_user=how.sampled_negatives, seed=how.seed)
    connection.execute("""
        CREATE VIEW shaped AS
        SELECT user_id, book_id, queries.text AS user_ctx, documents.text AS book_text, label
        FROM (FROM judgments UNION ALL SELECT user_id, book_id, '0' FROM unread)
            LEFT JOIN queries ON queries.id = user_id LEFT JOIN documents ON documents.id = book_id""")
    return notes
