"""Every shape in which people have pairs, from the files of a source to what `sample` reads."""

import csv
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
from checkout import command, make_checkout

from rerank.data.fetch import fetch
from rerank.data.pairs import SourceColumns
from rerank.data.schema import check
from rerank.data.shapes import SHAPES, check_taken, shape_of
from rerank.data.shaping import shape
from rerank.data.source_tables import Shaping
from rerank.errors import UserError

NAMES = SourceColumns("user_id", "book_id", "user_ctx", "book_text", "label")
QUERY = SourceColumns("query_id", "document_id", "query", "document", "relevance")
HOW: dict[str, Any] = {
    "columns": NAMES,
    "positive_column": "positive",
    "negative_column": "negative",
    "positive_from": None,
    "sampled_negatives": 0,
    "context_favourites": 2,
    "max_empty_share": 0.01,
    "title_pattern": "^Title: ([^|]+)",
    "seed": 42,
}
BOOKS = [{"book_id": f"b{n}", "book_text": f"Title: Book {n} | Genres: some"} for n in range(30)]


def write(folder: Path, files: dict[str, Any]) -> Path:
    """Write a table of records, or a text, as what its name ends with."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, str):
            path.write_text(content)
        elif path.suffix == ".parquet":
            pd.DataFrame(content).to_parquet(path, index=False)
        elif path.suffix == ".json":
            path.write_text(json.dumps(content))
        elif path.suffix == ".jsonl":
            path.write_text("".join(json.dumps(record) + "\n" for record in content))
        else:
            how = {"sep": "\t", "quoting": csv.QUOTE_NONE} if path.suffix == ".tsv" else {}
            pd.DataFrame(content).to_csv(path, index=False, **how)
    return folder


def shaped(folder: Path, files: dict[str, Any], name: str, **how: Any) -> tuple[pd.DataFrame, list[str]]:
    """Return the pairs of a source, which have passed the check of the stage sample, and the notes."""
    folder.mkdir(parents=True, exist_ok=True)
    source = write(folder / "source", files)
    raw, tables = folder / "raw", folder / "tables"
    fetch(str(source), raw, max_bytes=10**8, up_to=shape_of(name).up_to)
    settings = HOW | how
    notes = shape(raw, tables, name=name, how=Shaping(**settings), csv_quote='"', tsv_quote=None)
    check(tables, source="tables", columns=settings["columns"], max_grade=4, max_empty_share=0.5)
    return pd.read_parquet(tables / "pairs.parquet"), notes


def rows(pairs: pd.DataFrame, *columns: str) -> list[tuple[Any, ...]]:
    """Return the rows, labels as numbers."""
    values = pairs.assign(**{name: pairs[name].astype(float) for name in ("label", "relevance") if name in pairs})
    return sorted(values[list(columns)].itertuples(index=False, name=None))


def reads(*, users: int = 40, books: int = 8) -> list[dict[str, str]]:
    return [{"user_id": f"u{u}", "book_id": f"b{(u * 3 + n * 7) % 30}"} for u in range(users) for n in range(books)]


@pytest.mark.parametrize("together", [False, True])
def test_interactions_get_a_context_of_some_favourites_and_negatives_that_nobody_read(
    tmp_path: Path, together: bool
) -> None:
    texts = {book["book_id"]: book["book_text"] for book in BOOKS}
    files: dict[str, Any] = {"reads.csv": reads(), "books.jsonl": BOOKS}
    if together:
        files = {"reads.csv": [row | {"book_text": texts[row["book_id"]]} for row in reads()]}
    pairs, notes = shaped(tmp_path, files, "interactions", sampled_negatives=7)
    had = {(row["user_id"], row["book_id"]) for row in reads()}
    assert dict(zip(pairs["book_id"], pairs["book_text"], strict=True)).items() <= texts.items()
    for user, own in pairs.groupby("user_id"):
        (context,) = own["user_ctx"].unique()
        favourites = [title.replace("Book ", "b") for title in context.removeprefix("Favorite books: ").split("; ")]
        assert len(favourites) == 2 and all((user, book) in had for book in favourites)
        liked, unknown = (set(own.loc[own["label"] == label, "book_id"]) for label in ("1", "0"))
        assert {(user, book) for book in liked} | {(user, book) for book in favourites} == {
            pair for pair in had if pair[0] == user
        }
        assert not liked & set(favourites) and len(liked) == 6
        assert len(unknown) == 7 and not {(user, book) for book in unknown} & had
    assert notes[0] == "40 contexts name 80 favourites, which are no pairs then"
    assert notes[2] == "520 pairs of shape interactions"
    assert notes[1].startswith("280 negatives sampled, up to 7 for each of 40 users, of") and "not disliked" in notes[1]


def test_what_a_user_gets_depends_on_the_seed_and_neither_on_the_order_of_rows_nor_on_other_users(
    tmp_path: Path,
) -> None:
    def pairs(name: str, table: list[dict[str, str]], *, seed: int = 42) -> Path:
        files = {"reads.csv": table, "books.csv": BOOKS}
        shaped(tmp_path / name, files, "interactions", sampled_negatives=9, seed=seed)
        return tmp_path / name / "tables/pairs.parquet"

    first = pairs("first", reads())
    assert pairs("turned", reads()[::-1]).read_bytes() == first.read_bytes()
    assert pairs("twice", reads() + reads()[:50]).exists()
    few, all_of = (pd.read_parquet(file) for file in (pairs("few", reads(users=9)), first))
    assert few.equals(all_of[all_of["user_id"].isin(few["user_id"])].reset_index(drop=True))
    other = pd.read_parquet(pairs("other", reads(), seed=7))
    assert set(other["user_ctx"]) != set(all_of["user_ctx"])


def test_negatives_are_drawn_evenly_and_no_user_lacks_one_while_there_are_some(tmp_path: Path) -> None:
    books = [{"book_id": f"b{n}", "book_text": f"Title: Book {n}"} for n in range(97)]
    table = [{"user_id": f"u{u}", "book_id": f"b{n}"} for u in range(600) for n in ((u % 97), (u * 7 + 1) % 97)]
    some, _ = shaped(tmp_path / "some", {"r.csv": table, "b.csv": books}, "interactions", sampled_negatives=10)
    drawn = some.loc[some["label"] == "0", "book_id"].value_counts()
    assert len(drawn) == 97 and drawn.max() < 2 * drawn.min()
    every, notes = shaped(tmp_path / "all", {"r.csv": table, "b.csv": books}, "interactions", sampled_negatives=500)
    have = pd.DataFrame(table).drop_duplicates().groupby("user_id").size()
    unknown = every[every["label"] == "0"].groupby("user_id")["book_id"].nunique()
    assert all(unknown[user] == 97 - have[user] for user in unknown.index) and len(unknown) > 590
    assert "left out" in notes[0]


def test_ratings_from_a_threshold_on_are_positives_and_the_others_negatives(tmp_path: Path) -> None:
    table = [
        {
            "user_id": f"u{user}",
            "book_id": f"b{book}",
            "label": 0.5 + (user + book) % 10 / 2,
            "user_ctx": f"I am {user}",
        }
        for user in range(5)
        for book in range(10)
    ]
    pairs, notes = shaped(tmp_path, {"ratings.csv": table, "books.csv": BOOKS}, "interactions", positive_from=3.5)
    assert notes == ["50 pairs of shape interactions"] and len(pairs) == 50
    wanted = {(row["user_id"], row["book_id"]): (float(row["label"] >= 3.5), row["user_ctx"]) for row in table}
    for user, book, context, label in rows(pairs, "user_id", "book_id", "user_ctx", "label"):
        assert wanted[user, book] == (label, context)


TRIPLES = [
    {"query": "what is tea", "positive": "Tea is a drink.", "negative": "A car has wheels."},
    {"query": "what is rain", "positive": "Rain falls.", "negative": "[A stone] lies."},
]
OF_TRIPLES = [
    ("what is rain", "Rain falls.", 1),
    ("what is rain", "[A stone] lies.", 0),
    ("what is tea", "A car has wheels.", 0),
    ("what is tea", "Tea is a drink.", 1),
]


@pytest.mark.parametrize("suffix", ["parquet", "jsonl", "csv", "tsv"])
def test_triples_are_read_in_every_format_with_one_text_or_several(tmp_path: Path, suffix: str) -> None:
    wanted = sorted((query, text, float(label)) for query, text, label in OF_TRIPLES)
    names = ("query", "document", "relevance")
    pairs, _ = shaped(tmp_path / "one", {f"train.{suffix}": TRIPLES}, "triples", columns=QUERY)
    assert rows(pairs, *names) == wanted
    numbered = [{"query": t["query"], "positive": t["positive"], "negative_1": t["negative"]} for t in TRIPLES]
    numbered[0]["negative_2"], numbered[1]["negative_2"] = "Ships swim.", "" if suffix in ("csv", "tsv") else None
    pairs, _ = shaped(tmp_path / "numbered", {f"train.{suffix}": numbered}, "triples", columns=QUERY)
    assert rows(pairs, *names) == sorted([*wanted, ("what is tea", "Ships swim.", 0.0)])
    lists: list[dict[str, Any]] = [
        t | {"negative": [t["negative"], "Ships swim."], "positive": [t["positive"]]} for t in TRIPLES
    ]
    if suffix in ("csv", "tsv"):
        lists = [{key: v if key == "query" else json.dumps(v) for key, v in row.items()} for row in lists]
    pairs, _ = shaped(tmp_path / "lists", {f"train.{suffix}": lists}, "triples", columns=QUERY)
    assert rows(pairs, *names) == sorted([*wanted, *((t["query"], "Ships swim.", 0.0) for t in TRIPLES)])


def test_pairs_of_positives_alone_get_the_texts_of_other_queries_as_negatives(tmp_path: Path) -> None:
    table = [{"query": f"question {n}", "positive": f"answer {n}"} for n in range(20)]
    with pytest.raises(UserError, match=r"column 'negative' is missing .*: set negative_column"):
        shaped(tmp_path / "none", {"train.csv": table}, "triples", columns=QUERY)
    pairs, _ = shaped(tmp_path / "some", {"train.csv": table}, "triples", columns=QUERY, sampled_negatives=4)
    for query, own in pairs.groupby("query"):
        right = query.replace("question", "answer")
        assert own.loc[own["relevance"] == "1", "document"].tolist() == [right]
        assert own.loc[own["relevance"] == "0", "document"].nunique() == 4


@pytest.mark.parametrize("suffix", ["parquet", "jsonl", "csv"])
def test_a_list_of_documents_with_a_list_of_labels_is_a_pair_each(tmp_path: Path, suffix: str) -> None:
    table: list[dict[str, Any]] = [
        {"query": "tea", "document": ["Tea.", "Cars."], "relevance": [2, 0]},
        {"query": "rain", "document": ["Rain.", "Stones.", "Snow."], "relevance": [3, 0, 1]},
    ]
    if suffix == "csv":
        table = [{key: v if key == "query" else json.dumps(v) for key, v in row.items()} for row in table]
    pairs, _ = shaped(tmp_path / "right", {f"train.{suffix}": table}, "lists", columns=QUERY)
    assert rows(pairs, "query", "document", "relevance") == [
        ("rain", "Rain.", 3), ("rain", "Snow.", 1), ("rain", "Stones.", 0), ("tea", "Cars.", 0), ("tea", "Tea.", 2),
    ]  # fmt: skip
    table[1]["relevance"] = "[1]" if suffix == "csv" else [1]
    with pytest.raises(UserError, match=r"the row of 'rain' has 3 texts in 'document' and 1 labels in 'relevance'"):
        shaped(tmp_path / "wrong", {f"train.{suffix}": table}, "lists", columns=QUERY)


def test_the_struct_of_lists_that_ms_marco_has_on_the_hub_is_read(tmp_path: Path) -> None:
    passages = [{"is_selected": [0, 1], "passage_text": ["Cars.", "Tea."]}]
    table = {"query": ["tea"], "passages": passages}
    names = SourceColumns(None, None, "query", "passages.passage_text", "passages.is_selected")
    pairs, _ = shaped(tmp_path, {"v1.1/train.parquet": table}, "lists", columns=names)
    assert sorted(pairs.itertuples(index=False, name=None)) == [("tea", "Cars.", "0"), ("tea", "Tea.", "1")]


CORPUS = [{"_id": f"d{n}", "title": "" if n % 2 else f"T{n}", "text": f'Text "{n}" of it'} for n in range(12)]
QUERIES = [{"_id": f"q{n}", "text": f"query {n}"} for n in range(4)]
GRADES = [("q0", "d0", 2), ("q0", "d1", 0), ("q1", "d2", 1), ("q1", "d3", -1), ("q2", "d4", 1), ("q2", "d5", 0)]
JUDGED = sorted(
    (query, document, f"query {query[1]}", max(grade, 0))
    for query, document, grade in GRADES
)  # fmt: skip
BEIR = {
    "corpus.jsonl": CORPUS,
    "queries.jsonl": QUERIES,
    "qrels/test.tsv": [{"query-id": q, "corpus-id": d, "score": s} for q, d, s in GRADES],
}
TREC = {
    "collection.tsv": "".join(f"{doc['_id']}\t{doc['text']}\n" for doc in CORPUS),
    "queries.dev.tsv": "".join(f"{query['_id']}\t{query['text']}\r\n" for query in QUERIES),
    "2019qrels-pass.txt": "".join(f"{q} 0 {d} {s}\n" for q, d, s in GRADES if s >= 0) + "q1\t0\td3\t-1\n",
}
LETOR = {
    "judgments.txt": "".join(f"{s} qid:{q} 1:0.5 2:0.1 #docid = {d} inc = 0.01 prob = 0.2\n" for q, d, s in GRADES),
    "queries.csv": [{"query_id": query["_id"], "query": query["text"]} for query in QUERIES],
    "documents.jsonl": [{"document_id": doc["_id"], "document": doc["text"]} for doc in CORPUS],
}
RANKLIB = {
    "judgments.txt": "".join(f"# qid:{query['_id']}: {query['text']}\n" for query in QUERIES)
    + "".join(f"{s}\tqid:{q}\t# {d}\n" for q, d, s in GRADES),
    "documents.jsonl": LETOR["documents.jsonl"],
}


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("beir", BEIR),
        ("beir", {file.replace(".jsonl", ".parquet"): table for file, table in BEIR.items()}),
        ("trec", TREC),
        ("letor", LETOR),
        ("letor", RANKLIB),
    ],
    ids=["beir", "beir-parquet", "trec", "letor", "ranklib"],
)
def test_a_search_collection_becomes_pairs_with_the_texts_of_its_ids(
    tmp_path: Path, name: str, files: dict[str, Any]
) -> None:
    pairs, notes = shaped(tmp_path / "judged", files, name, columns=QUERY)
    assert rows(pairs, "query_id", "document_id", "query", "relevance") == JUDGED and notes == [
        f"6 pairs of shape {name}"
    ]
    for document, text in zip(pairs["document_id"], pairs["document"], strict=True):
        number = int(document[1:])
        title = f"T{number}\n\n" if name == "beir" and number % 2 == 0 else ""
        assert text == f'{title}Text "{number}" of it'
    more, notes = shaped(tmp_path / "more", files, name, columns=QUERY, sampled_negatives=5)
    assert set(more["query_id"]) == {"q0", "q1", "q2"} and len(more) == len(GRADES) + 15 and len(notes) == 2
    judged = {(query, document) for query, document, _ in GRADES}
    assert more.groupby("query_id")["document_id"].nunique().tolist() == [7, 7, 7]
    assert judged < set(zip(more["query_id"], more["document_id"], strict=True))


def test_a_judgment_without_a_text_is_left_for_the_sample_to_count(tmp_path: Path) -> None:
    pairs, _ = shaped(tmp_path, BEIR | {"corpus.jsonl": CORPUS[1:]}, "beir", columns=QUERY)
    assert pairs.loc[pairs["document"].isna(), "document_id"].tolist() == ["d0"]


def negatives_of(pairs: pd.DataFrame, *, user: str, text: str, label: str) -> set[tuple[str, str]]:
    own = pairs[pairs[label].astype(float) == 0]
    return set(zip(own[user], own[text], strict=True))


def test_no_sampled_negative_has_the_text_of_what_the_user_has(tmp_path: Path) -> None:
    twins = [doc | {"_id": f"{doc['_id']} again"} for doc in CORPUS]
    asked = [*QUERIES, {"_id": "q9", "text": "query 0"}]
    qrels = [("q0", "d0", 1), ("q9", "d3", 1), ("q1", "d2", 1)]
    files = BEIR | {
        "corpus.jsonl": CORPUS + twins,
        "queries.jsonl": asked,
        "qrels/test.tsv": [{"query-id": q, "corpus-id": d, "score": s} for q, d, s in qrels],
    }
    pairs, _ = shaped(tmp_path, files, "beir", columns=QUERY, sampled_negatives=99)
    negatives = negatives_of(pairs, user="query", text="document", label="relevance")
    positives = pairs[pairs["relevance"].astype(float) > 0]
    assert not negatives & set(zip(positives["query"], positives["document"], strict=True))
    assert [sum(query == f"query {n}" for query, _ in negatives) for n in (0, 1)] == [10, 11]


def test_a_text_that_says_nothing_is_no_negative(tmp_path: Path) -> None:
    blank = [{"_id": f"e{n}", "title": "", "text": " \n" if n % 2 else ""} for n in range(9)]
    files = BEIR | {"corpus.jsonl": CORPUS + blank}
    pairs, notes = shaped(tmp_path / "beir", files, "beir", columns=QUERY, sampled_negatives=50)
    assert (pairs["document"].str.strip() != "").all() and "of 12 texts" in notes[0]
    table = [*TRIPLES, {"query": "why", "positive": "So.", "negative": ""}]
    pairs, _ = shaped(tmp_path / "triples", {"t.jsonl": table}, "triples", columns=QUERY, sampled_negatives=50)
    assert sum(pairs["document"].fillna("") == "") == 1


def test_lists_and_texts_may_stand_in_one_column_of_json(tmp_path: Path) -> None:
    table = [
        {"query": "tea", "positive": ["Tea."], "negative": ["Cars.", "Stones [1]"]},
        {"query": "rain", "positive": "Rain.", "negative": "[1] Stones"},
        {"query": "none", "positive": [], "negative": None},
    ]
    pairs, _ = shaped(tmp_path, {"t.jsonl": table}, "triples", columns=QUERY)
    assert pairs[["query", "document", "relevance"]].fillna("").sort_values(
        ["query", "document"]
    ).to_numpy().tolist() == [
        ["none", "", "1"],
        ["rain", "Rain.", "1"],
        ["rain", "[1] Stones", "0"],
        ["tea", "Cars.", "0"],
        ["tea", "Stones [1]", "0"],
        ["tea", "Tea.", "1"],
    ]


@pytest.mark.parametrize("suffix", ["parquet", "jsonl"])
def test_a_field_of_a_list_of_objects_is_named_and_the_objects_are_no_texts(tmp_path: Path, suffix: str) -> None:
    table = [
        {
            "query": "tea",
            "good": [{"id": 1, "text": "Tea."}],
            "bad": [{"id": 2, "text": "Cars."}, {"id": 3, "text": "Sea."}],
        }
    ]
    how = {"columns": QUERY, "positive_column": "good.text", "negative_column": "bad.text"}
    pairs, _ = shaped(tmp_path / "field", {f"t.{suffix}": table}, "triples", **how)
    assert rows(pairs, "document", "relevance") == [("Cars.", 0), ("Sea.", 0), ("Tea.", 1)]
    with pytest.raises(UserError, match=r"column 'good' holds lists of .*: name a field of it as COLUMN\.FIELD"):
        shaped(tmp_path / "whole", {f"t.{suffix}": table}, "triples", **(how | {"positive_column": "good"}))
    passages = {"query": "tea", "passages": {"is_selected": [0, 1], "passage_text": ["Cars.", "Tea."]}}
    names = SourceColumns(None, None, "query", "passages.passage_text", "passages.is_selected")
    pairs, _ = shaped(tmp_path / "marco", {f"t.{suffix}": [passages]}, "lists", columns=names)
    assert pairs["passages.is_selected"].tolist() == ["0", "1"]


def test_what_is_not_read_is_said(tmp_path: Path) -> None:
    table = [{"query": t["query"], "positive": t["positive"], "negatives": [t["negative"]]} for t in TRIPLES]
    _, notes = shaped(tmp_path / "triples", {"t.jsonl": table}, "triples", columns=QUERY, sampled_negatives=1)
    assert "t.jsonl: has no column 'negative' (not read: negatives): its negatives are sampled alone" in notes[0]
    lists: list[dict[str, Any]] = [
        {"query": "tea", "document": ["Tea.", "Cars."], "relevance": [1, 0]},
        {"query": "none", "document": [], "relevance": []},
        {"query": "null", "document": None, "relevance": None},
    ]
    _, notes = shaped(tmp_path / "lists", {"t.parquet": lists}, "lists", columns=QUERY)
    assert "2 rows have a list without a text: left out" in notes[0]
    few = [*reads(), *({"user_id": f"w{n}", "book_id": "b1"} for n in range(9))]
    pairs, notes = shaped(tmp_path / "few", {"r.csv": few, "b.json": BOOKS}, "interactions", sampled_negatives=5)
    assert "left out 9 users (9 rows) without two positives that have a titled text" in notes[0]
    assert notes[1].startswith("200 negatives sampled") and (pairs["label"] == "0").sum() == 200


def test_capitals_of_beirs_columns_and_notes_beside_a_collection_do_not_matter(tmp_path: Path) -> None:
    corpus = [{"_ID": doc["_id"], "Title": doc["title"], "TEXT": doc["text"]} for doc in CORPUS]
    pairs, _ = shaped(tmp_path / "beir", BEIR | {"corpus.jsonl": corpus}, "beir", columns=QUERY)
    assert pairs["document"].str.startswith("T0").any()
    pairs, _ = shaped(tmp_path / "trec", TREC | {"README.txt": "of it\n"}, "trec", columns=QUERY)
    assert len(pairs) == 6


def grades(*values: object) -> list[dict[str, object]]:
    return [{"query-id": "q0", "corpus-id": f"d{n}", "score": value} for n, value in enumerate(values)]


@pytest.mark.parametrize(
    ("name", "files", "words"),
    [
        ("beir", BEIR | {"qrels/test.csv": grades("1,0", "0", "0"), "qrels/test.tsv": GRADES[:0]}, "holds '1,0'"),
        ("beir", BEIR | {"qrels/test.tsv": grades("high", "0")}, "holds 'high'"),
        ("beir", BEIR | {"qrels/test.tsv": grades("", "0")}, "is null or blank in 1 of 2 rows"),
        ("beir", BEIR | {"qrels/test.jsonl": grades(None, 0), "qrels/test.tsv": ""}, "is null or blank in 1 of 2 rows"),
        ("trec", TREC | {"qrels.txt": "query-id corpus-id score\n"}, "holds 'score'"),
    ],
)
def test_a_grade_that_is_no_number_is_no_zero(tmp_path: Path, name: str, files: dict[str, Any], words: str) -> None:
    files = {file: table for file, table in files.items() if len(table)}
    with pytest.raises(UserError) as error:
        shaped(tmp_path, files, name, columns=QUERY)
    assert words in str(error.value)


POSITIVE = [{"query-id": "q0", "corpus-id": "d0", "score": 1}]


@pytest.mark.parametrize(
    ("name", "files", "how", "words"),
    [
        ("interactions", {"r.csv": reads(), "b.csv": BOOKS}, {}, ["sampled_negatives is 0", "such as to 100"]),
        (
            "interactions",
            {"r.csv": [r | {"label": 5} for r in reads()], "b.csv": BOOKS},
            {},
            ["r", "set positive_from"],
        ),
        (
            "interactions",
            {"r.csv": reads(), "b.csv": BOOKS},
            {"positive_from": 3},
            ["'label' is missing", "label_column"],
        ),
        ("interactions", {"r.csv": reads()}, {}, ["'book_text' is missing", "set text_column"]),
        ("interactions", {"b.csv": BOOKS}, {}, ["user_column is 'user_id', which no table has", "b.csv"]),
        (
            "interactions",
            {"r.csv": [*reads(), {"user_id": "", "book_id": "b1"}], "b.csv": BOOKS},
            {},
            ["1 of 321 rows"],
        ),
        (
            "interactions",
            {"r.csv": reads(), "b.csv": BOOKS},
            {"title_pattern": None, "sampled_negatives": 1},
            ["title_pattern is null", "context_column"],
        ),
        (
            "interactions",
            {"r.csv": reads(), "b.csv": BOOKS},
            {"title_pattern": "^Name: (.*)", "sampled_negatives": 1},
            ["no user has two titled positives", "title_pattern"],
        ),
        ("interactions", {"r.csv": reads()}, {"columns": SourceColumns(None, "b", "c", "t", "l")}, ["user_column"]),
        ("beir", BEIR | {"qrels/test.tsv": "query\tdoc\nq0\td0\n"}, {}, ["no qrels", "query-id"]),
        ("beir", {name: table for name, table in BEIR.items() if "queries" not in name}, {}, ["no queries"]),
        ("beir", {name: table for name, table in BEIR.items() if "corpus" not in name}, {}, ["no documents"]),
        ("beir", BEIR | {"qrels/test.tsv": POSITIVE}, {}, ["sampled_negatives is 0"]),
        ("beir", BEIR | {"corpus.jsonl": [{"_id": "d0", "body": "x"}]}, {}, ["column 'text' is missing"]),
        ("trec", TREC | {"qrels.txt": "q0 d0\n"}, {}, ["qrels.txt: line 1 has 2 fields", "QUERY 0 DOCUMENT GRADE"]),
        ("trec", TREC | {"collection.tsv": "d0\ttext\nd1\n"}, {}, ["collection.tsv: line 2 has 1 fields"]),
        ("trec", TREC | {"extra.csv": "a,b\n"}, {}, ["extra.csv", "no file of a TREC collection"]),
        ("beir", BEIR | {"more.jsonl": [CORPUS[0] | {"text": "Another"}]}, {}, ["document 'd0' has two texts"]),
        ("letor", RANKLIB | {"b.txt": "# qid:q0: another\n1 qid:q0 # d1\n"}, {}, ["query 'q0' has two texts"]),
        ("trec", TREC | {"triples.tsv": "1\t2\t3\n"}, {}, ["has 3 fields a line", "leave out what holds no documents"]),
        (
            "interactions",
            {"r.csv": reads(), "b.csv": [*BOOKS, BOOKS[0] | {"book_text": "x"}]},
            {},
            ["'b0' has two texts"],
        ),
        (
            "interactions",
            {
                "r.csv": [*reads(), *reads()[:9], *({"user_id": "w", "book_id": f"x{n}"} for n in range(9))],
                "b.csv": BOOKS,
            },
            {"sampled_negatives": 1},
            ["9 of 338 rows have a 'book_id' without a text, such as 'x0'", "max_empty_share (0.01)"],
        ),
        (
            "interactions",
            {"r.csv": [r | {"label": "4 stars"} for r in reads()], "b.csv": BOOKS},
            {"positive_from": 4},
            ["column 'label' holds '4 stars' (320 of 320 rows are no numbers)", "label_column"],
        ),
        (
            "interactions",
            {"r.csv": [r | {"user_ctx": "x"} for r in reads()], "s.csv": reads(), "b.csv": BOOKS},
            {"sampled_negatives": 1},
            ["s.csv: column 'user_ctx' is missing, which", "r.csv has"],
        ),
        ("interactions", {"r.csv": "user_id,book_id\n", "b.csv": BOOKS}, {}, ["r.csv: has no rows: fill it"]),
        ("triples", {"t.csv": [t | {"negative": "['a', 'b']"} for t in TRIPLES]}, {}, ["lists as Python prints them"]),
        ("letor", {"judgments.txt": LETOR["judgments.txt"]}, {}, ["no documents", "text_column"]),
        ("letor", {"d.jsonl": LETOR["documents.jsonl"]}, {}, ["no judgments"]),
        ("triples", {"t.csv": TRIPLES}, {"columns": NAMES}, ["'user_ctx' is missing", "set context_column"]),
        ("triples", {"t.csv": TRIPLES}, {"positive_column": "right"}, ["'right' is missing", "set positive_column"]),
        (
            "triples",
            {"t.csv": TRIPLES},
            {"columns": SourceColumns("query", None, "Query", "d", "l")},
            ["user_column and context_column are both 'Query'"],
        ),
    ],
)
def test_what_a_shape_lacks_is_named_in_one_line(
    tmp_path: Path, name: str, files: dict[str, Any], how: dict[str, Any], words: list[str]
) -> None:
    columns = NAMES if name == "interactions" else QUERY
    with pytest.raises(UserError) as error:
        shaped(tmp_path, files, name, **({"columns": columns} | how))
    assert all(word in str(error.value) for word in words), str(error.value)
    assert "\n" not in str(error.value) and len(str(error.value)) < 300


def test_an_unknown_shape_is_named_beside_those_there_are() -> None:
    with pytest.raises(UserError, match="shape is 'tripels': give one of " + ", ".join(SHAPES)):
        shape_of("tripels")


@pytest.mark.parametrize("name", SHAPES)
def test_a_value_that_a_shape_does_not_take_is_refused(name: str) -> None:
    for key, value in {"positive_from": 0.0, "sampled_negatives": 100}.items():
        given = {"positive_from": None, "sampled_negatives": 0} | {key: value}
        if key in SHAPES[name].takes:
            check_taken(name, given)
        else:
            with pytest.raises(
                UserError, match=f"{key} is {value:g}, which shape {name} does not take: .*interactions"
            ):
                check_taken(name, given)
    check_taken(name, {"positive_from": None, "sampled_negatives": 0})


def test_files_that_are_left_out_stay_counted(tmp_path: Path) -> None:
    shaped(tmp_path, BEIR | {"README.md": "# BEIR\n"}, "beir", columns=QUERY)
    assert json.loads((tmp_path / "tables/.left-out.json").read_text()) == ["README.md"]


def test_a_data_set_as_the_hub_lays_it_out_is_sampled_as_the_page_says(tmp_path: Path) -> None:
    """Through DVC, with the params that docs/own-pairs.md names for it."""
    project = make_checkout(tmp_path / "project")
    files = {
        ".cache/huggingface/download/data/train-00000-of-00002.parquet.metadata": "0123\n",
        ".gitattributes": "*.parquet filter=lfs\n",
        "README.md": "---\nlicense: mit\n---\n",
    }
    for part in range(2):
        files[f"data/train-0000{part}-of-00002.parquet"] = [
            {"query": f"question {part} {n}", "answer": f"answer {part} {n}"} for n in range(30)
        ]
    source = write(tmp_path / "name", files)
    sets = {
        "shape": "triples", "context_column": "query", "positive_column": "answer", "sampled_negatives": 20,
        "user_column": "null", "book_column": "null", "title_pattern": "null", "min_positives": 1,
        "cold_books_share": 0,
    }  # fmt: skip
    line = " ".join(f"-S {key}={value}" for key, value in sets.items())
    printed = command(project, f"dvc exp run -S source={source} {line} sample")
    assert "1,200 negatives sampled, up to 20 for each of 60 users" in printed and "left out 3" in printed
    counts = json.loads((project / "metrics/data.json").read_text())
    assert counts["users"] == 60 and counts["left_out"] == 3 and counts["rows"] > 60 * 4
    pairs = pq.read_table(project / "data/sampled/pairs.parquet").to_pandas()
    right = pairs[pairs["label"] == 1]
    assert len(right) == 60 and (right["user_ctx"].str.replace("question", "answer") == right["book_text"]).all()
