"""A context says what its favourites' own texts say, and nothing else changes: not which favourites are found."""

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import duckdb
import pandas as pd
import pytest

from rerank.data.contexts import tell, told
from rerank.data.favourites import catalogue, found
from rerank.errors import UserError
from rerank.params_file import check, read

ROOT = Path(__file__).parent.parent
PARTS = r"\| Genres: ([^|]+)"
TEXTS = {
    "1": "Title: Dune (Dune, #1) | Genres: science fiction, classics | Description: sand",
    "2": "Title: Emma | Genres: romance (regency) | Description: a match",
    "3": "Title: It | Description: a clown",
    "4": "Title: Twin | Genres: one",
    "5": "Title: Twin | Genres: other",
}


def books() -> pd.DataFrame:
    return pd.DataFrame({"book_id": list(TEXTS), "book_text": list(TEXTS.values()), "cold": False})


def names(parts: str | None = PARTS) -> pd.DataFrame:
    return catalogue(books(), title_pattern="^Title: ([^|]+)", favourite_parts=parts)


@pytest.mark.parametrize(
    ("context", "expected"),
    [
        (
            "Favorite books: Dune by Frank Herbert; Emma by Jane Austen",
            "Favorite books: Dune by Frank Herbert (science fiction, classics); Emma by Jane Austen (romance regency)",
        ),
        ("Emma\nDune \n", "Emma (romance regency)\nDune (science fiction, classics) \n"),
        ("Emma, Dune and It", "Emma, Dune and It (science fiction, classics; romance regency)"),
        ("It by Stephen King; Unknown", "It by Stephen King; Unknown"),
        ("Twin; Dune", "Twin; Dune (science fiction, classics)"),
        ("", ""),
    ],
)
def test_each_favourite_is_followed_by_what_its_own_text_says(context: str, expected: str) -> None:
    assert told([context, context], names()) == [expected, expected]
    assert told([context], names(None)) == [context]


def test_the_same_favourites_are_found_before_and_after() -> None:
    favourites = ("Dune", "Emma by Jane Austen", "It", "Twin", '"Emma"', "Dune (1965)", "?", "")
    contexts = [
        heading + sign.join(some)
        for heading in ("", "Favorite books: ", "likes:\n")
        for sign in ("; ", ", ", "\n", " | ", " and ")
        for some in itertools.product(favourites, repeat=3)
    ]
    after = told(contexts, names())
    pd.testing.assert_frame_equal(found(contexts, names()), found(after, names()))
    assert sum("(science" in context for context in after) > 1_000


def test_rows_keep_everything_but_their_contexts_and_null_changes_nothing() -> None:
    connection = duckdb.connect()
    rows = pd.DataFrame({"user_id": ["a", "a", "b"], "user_ctx": ["Dune", "Dune", "It"], "label": [1, 0, 1]})
    connection.register("rows", rows)
    how = {"books": books, "title_pattern": "^Title: ([^|]+)"}
    same = tell(connection, connection.table("rows"), favourite_parts=None, **how).df()
    more = tell(connection, connection.table("rows"), favourite_parts=PARTS, **how).order("user_id, label DESC").df()
    pd.testing.assert_frame_equal(same, rows)
    assert more["user_ctx"].tolist() == ["Dune (science fiction, classics)"] * 2 + ["It"]
    pd.testing.assert_frame_equal(more.drop(columns="user_ctx"), rows.drop(columns="user_ctx"))


def test_a_pattern_without_one_group_or_that_the_engine_does_not_know_is_one_line() -> None:
    with pytest.raises(
        UserError, match=r"^params.yaml: favourite_parts is 'Genres': give a regular expression with one"
    ):
        check({**read(ROOT / "params.yaml"), "favourite_parts": "Genres"})
    with pytest.raises(UserError, match=r"^params.yaml: favourite_parts is '\(\?=x\)\(y\)': .*: write it as RE2 does"):
        names(r"(?=x)(y)")


def test_the_stage_split_tells_the_contexts_of_all_three_splits(tmp_path: Path) -> None:
    params = {"seed": 42, "validation_share": 0.2, "test_share": 0.2, "title_pattern": "^Title: ([^|]+)"}
    (tmp_path / "dvc.yaml").write_text((ROOT / "dvc.yaml").read_text())
    (tmp_path / "params.yaml").write_text(json.dumps({**params, "favourite_parts": PARTS}))
    sampled = tmp_path / "data/sampled"
    sampled.mkdir(parents=True)
    pairs = pd.DataFrame(
        [
            (f"u{n}", book, "Favorite books: Emma", TEXTS[book], int(book == "1"))
            for n in range(40)
            for book in ("1", "3")
        ],
        columns=["user_id", "book_id", "user_ctx", "book_text", "label"],
    ).astype({"label": "int32"})
    pairs.to_parquet(sampled / "pairs.parquet", index=False)
    pairs[pairs["label"] > 0][["user_id", "book_id"]].to_parquet(sampled / "positives.parquet", index=False)
    books().to_parquet(sampled / "books.parquet", index=False)
    command = [sys.executable, "-m", "stages.split", "--sampled", "data/sampled", "--split", "data/split"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    subprocess.run(command, cwd=tmp_path, env=environment, check=True)
    for name in ("train", "validation", "test"):
        split = pd.read_parquet(tmp_path / f"data/split/{name}.parquet")
        assert set(split["user_ctx"]) == {"Favorite books: Emma (romance regency)"} and len(split) > 0
