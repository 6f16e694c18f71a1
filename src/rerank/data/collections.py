"""Pairs of search collections: queries, documents and judgments, each in tables of its own.

A judgment whose query or document has no text stays, without it, and is dropped and counted by `sample`.
"""

from typing import NoReturn

import duckdb

from rerank.data import negatives
from rerank.data.headerless import kind_of
from rerank.data.schema import shown
from rerank.data.source_tables import Shaping, Table, collect_one_text, relation
from rerank.data.sql import is_filled, number, quote
from rerank.errors import UserError

BEIR_QRELS = ("query-id", "corpus-id", "score")
LETOR_QRELS = ("qid", "doc_id", "grade")
IDS = ("_id", "id")


def _lacks(noun: str, advice: str) -> NoReturn:
    raise UserError(f"params.yaml: shape: the source holds no {noun}: {advice}")


def _named(table: Table, name: str, *, key: str = "shape") -> str:
    """Return what a table calls a column, whatever its capitals; of ``label_column`` it may hold any numbers.

    Raises:
        UserError: when it has none, or one of a wrong type.
    """
    found = next((column for column in table.columns if column.lower() == name), None)
    if found is None:
        raise UserError(
            f"{table.name}: column '{name}' is missing (it has {shown(table.columns)}): rename yours, or leave it out"
        )
    table.check({key: found})
    return found


def _collect(connection: duckdb.DuckDBPyConnection, tables: list[Table], *, noun: str) -> None:
    """Make the table ``queries`` or ``documents`` (id, text) of a collection's."""
    selects = []
    for table in tables:
        key = next((name for name in IDS if name in map(str.lower, table.columns)), IDS[0])
        text = quote(_named(table, "text"))
        if noun == "document" and "title" in map(str.lower, table.columns):
            title = quote(_named(table, "title"))
            text = f"concat_ws(E'\\n\\n', CASE WHEN {is_filled(title)} THEN {title} END, {text})"
        selects.append(
            f"SELECT CAST({quote(_named(table, key))} AS VARCHAR) AS id, CAST({text} AS VARCHAR) AS text "
            f"FROM {relation([table])}"
        )
    name = {"query": "queries", "document": "documents"}[noun]
    collect_one_text(connection, name, " UNION ALL ".join(selects), noun=f"{tables[0].name}: {noun}")


def make_from_beir(connection: duckdb.DuckDBPyConnection, tables: list[Table], how: Shaping) -> list[str]:
    """Make ``shaped`` of BEIR's tables: corpus and queries (_id, title, text), qrels (query-id, corpus-id, score).

    What has the columns of qrels is that; of the others those with "quer" or "topic" in their names hold queries. A
    grade below 0 means 0.
    """
    qrels = [table for table in tables if set(BEIR_QRELS[:2]) <= set(map(str.lower, table.columns))]
    others = [table for table in tables if table not in qrels]
    queries = [table for table in others if kind_of(table.place) == "queries"]
    documents = [table for table in others if table not in queries]
    if not qrels:
        _lacks("qrels", f"they have the columns {', '.join(BEIR_QRELS)}, or, of TREC, 'qrels' in their file's name")
    if not queries:
        _lacks("queries", "their file has 'queries' in its name")
    if not documents:
        _lacks("documents", "they stand in a file beside the queries")
    _collect(connection, queries, noun="query")
    _collect(connection, documents, noun="document")
    rows = (
        f"SELECT CAST({quote(_named(table, BEIR_QRELS[0]))} AS VARCHAR) AS user_id, "
        f"CAST({quote(_named(table, BEIR_QRELS[1]))} AS VARCHAR) AS book_id, "
        f"CAST({quote(_named(table, BEIR_QRELS[2], key='label_column'))} AS VARCHAR) AS grade FROM {relation([table])}"
        for table in qrels
    )
    return _shape(connection, " UNION ALL ".join(rows), how)


def make_from_letor(connection: duckdb.DuckDBPyConnection, tables: list[Table], how: Shaping) -> list[str]:
    """Make ``shaped`` of judgments as LETOR and RankLib have them, and of the texts beside them.

    The documents' table has the book_column and the text_column; the queries stand in the judgments' comments, or in a
    table with the user_column and the context_column. A grade below 0 means 0.
    """
    qrels = [table for table in tables if set(LETOR_QRELS) <= set(table.columns)]
    others = [table for table in tables if table not in qrels]
    names = how.columns
    user, book, text = names.user_column, names.book_column, names.text_column
    if user is None or book is None or text is None:
        raise UserError("params.yaml: user_column or book_column is null: the texts of judgments are found by ids")
    queries = [table for table in others if user in table.columns and text not in table.columns]
    documents = [table for table in others if table not in queries]
    if not qrels:
        _lacks("judgments", "they stand in a .txt file, GRADE qid:QUERY … # DOCUMENT")
    if not documents:
        _lacks("documents", "add a table with the book_column and the text_column")
    for table in documents:
        table.check({"book_column": book, "text_column": text})
    for table in queries:
        table.check({"user_column": user, "context_column": names.context_column})
    said = f"SELECT qid AS id, keywords AS text FROM {relation(qrels)} WHERE keywords IS NOT NULL"
    if queries:
        id_and_text = f"CAST({quote(user)} AS VARCHAR), CAST({quote(names.context_column)} AS VARCHAR)"
        said += f" UNION ALL SELECT {id_and_text} FROM {relation(queries)}"
    collect_one_text(connection, "queries", said, noun=f"{qrels[0].name}: query")
    id_and_text = f"CAST({quote(book)} AS VARCHAR) AS id, CAST({quote(text)} AS VARCHAR) AS text"
    texts = f"SELECT {id_and_text} FROM {relation(documents)}"
    collect_one_text(connection, "documents", texts, noun=f"{documents[0].name}: document")
    judged = ", ".join(
        f"CAST({quote(name)} AS VARCHAR) AS {column}"
        for name, column in zip(LETOR_QRELS, ("user_id", "book_id", "grade"), strict=True)
    )
    return _shape(connection, f"SELECT {judged} FROM {relation(qrels)}", how)


def _shape(connection: duckdb.DuckDBPyConnection, qrels: str, how: Shaping) -> list[str]:
    """Make ``shaped`` of a query for user_id, book_id and grade, all text, and of ``queries`` and ``documents``."""
    connection.execute(f"""
        CREATE TEMP TABLE judgments AS
        SELECT user_id, book_id, CASE WHEN {number("grade")} < 0 THEN '0' ELSE grade END AS label FROM ({qrels})""")
    connection.execute(
        "CREATE VIEW catalogue AS SELECT id AS book_id, text AS book_text FROM documents WHERE id IS NOT NULL"
    )
    notes = negatives.sample(
        connection,
        "judgments",
        per_user=how.sampled_negatives,
        seed=how.seed,
        alike="SELECT user_id, coalesce(text, user_id) AS said "
        "FROM (SELECT DISTINCT user_id FROM judgments) LEFT JOIN queries ON id = user_id",
    )
    connection.execute("""
        CREATE VIEW shaped AS
        SELECT user_id, book_id, queries.text AS user_ctx, catalogue.book_text, label
        FROM (FROM judgments UNION ALL SELECT user_id, book_id, '0' FROM unread)
            LEFT JOIN queries ON queries.id = user_id LEFT JOIN catalogue USING (book_id)""")
    return notes
