"""The split: by the user's hash alone, whole users, and popularity from the training users."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rerank.data.hashing import pair_order
from rerank.data.pairs import COLUMNS
from rerank.data.splitting import SPLITS, check, split, write

ROOT = Path(__file__).resolve().parents[1]
PARAMS: dict[str, Any] = {"seed": 42, "validation_share": 0.2, "test_share": 0.2}
NOTHING_TOLD = {"title_pattern": None, "favourite_parts": None}


def reader(user: str, labels: Sequence[int] = (1, 2, 0, 0)) -> pd.DataFrame:
    rows = [(user, f"b{n}", f"context of {user}", f"text {n}", label) for n, label in enumerate(labels)]
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype({"label": "int32"})


def readers(count: int) -> pd.DataFrame:
    return pd.concat([reader(f"u{n}") for n in range(count)])


def parts_of(pairs: pd.DataFrame, **changes: Any) -> dict[str, pd.DataFrame]:
    relation = duckdb.connect().from_df(pairs)
    parts = split(relation, relation.filter("label > 0"), **{**PARAMS, **changes})
    return {name: part.df() for name, part in parts.items()}


def names_of(pairs: pd.DataFrame, **changes: Any) -> dict[str, str]:
    parts = parts_of(pairs, **changes)
    return {user: name for name in SPLITS for user in parts[name]["user_id"].unique()}


def md5(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()


@settings(max_examples=30, deadline=None)
@given(
    st.sets(st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=9), min_size=1, max_size=30),
    st.integers(0, 30),
)
def test_a_user_never_moves_between_splits_when_users_are_added(users: set[str], size: int) -> None:
    everyone = sorted(users)
    before = names_of(pd.concat([reader(user) for user in everyone[: size + 1]]))
    after = names_of(pd.concat([reader(user) for user in everyone]))
    assert before == {user: after[user] for user in before}
    assert set(after) == users


def test_every_pair_is_in_one_split_and_the_users_share_follows_the_hash() -> None:
    pairs = readers(200)
    parts = parts_of(pairs)
    together = pd.concat([parts[name] for name in SPLITS])
    assert len(together) == len(pairs) and len(together.drop_duplicates()) == len(pairs)
    assert list(parts["train"].columns) == list(COLUMNS)
    for user, name in names_of(pairs).items():
        share = int(md5(f"split|42|{user}")[:8], 16) / 16**8
        assert name == ("test" if share < 0.2 else "validation" if share < 0.4 else "train")


def test_shares_of_users_come_close_to_those_asked_for() -> None:
    names = pd.Series(names_of(readers(2000))).value_counts(normalize=True)
    assert names["test"] == pytest.approx(0.2, abs=0.03)
    assert names["validation"] == pytest.approx(0.2, abs=0.03)


def test_another_validation_share_leaves_the_test_users_as_they_are() -> None:
    pairs = readers(100)
    tests = [
        {user for user, name in names_of(pairs, validation_share=share).items() if name == "test"}
        for share in (0.1, 0.4)
    ]
    assert tests[0] == tests[1]


def test_another_seed_gives_other_test_users() -> None:
    pairs = readers(100)
    assert names_of(pairs) != names_of(pairs, seed=7)


def test_rows_are_sorted_by_user_and_the_hash_of_the_pair_whatever_order_they_come_in() -> None:
    pairs = readers(50)
    parts, shuffled = parts_of(pairs), parts_of(pairs.sample(frac=1, random_state=0))
    for name, part in parts.items():
        pd.testing.assert_frame_equal(part, shuffled[name])
    order = duckdb.from_df(parts["train"]).project(f"user_id, {pair_order(42)}").fetchall()
    assert order == sorted(order)


def test_popularity_counts_the_positives_of_training_users_alone() -> None:
    names = names_of(readers(60))
    pairs = pd.concat([reader(user, (3, 0) if name == "train" else (0, 1)) for user, name in names.items()])
    popularity = parts_of(pairs)["popularity"]
    assert popularity.to_dict("list") == {"book_id": ["b0"], "positives": [list(names.values()).count("train")]}
    assert popularity["positives"].dtype == "int64"


def test_the_name_of_a_folder_is_neither_a_pattern_nor_a_column(tmp_path: Path) -> None:
    folder = tmp_path / "label=9/user_id=x/split [1]*"
    folder.parent.mkdir(parents=True)
    connection = duckdb.connect()
    pairs = connection.from_df(readers(60))
    write(connection, folder, split(pairs, pairs.filter("label > 0"), **PARAMS))
    assert sorted(path.stem for path in folder.iterdir()) == sorted([*SPLITS, "interactions", "popularity"])


def test_a_user_in_two_splits_stops_the_stage(tmp_path: Path) -> None:
    for name in SPLITS:
        reader("twice" if name != "train" else "once").to_parquet(tmp_path / f"{name}.parquet")
    with pytest.raises(AssertionError, match="user 'twice' is in validation and in test"):
        check(duckdb.connect(), tmp_path)


def project(folder: Path, pairs: pd.DataFrame, **params: Any) -> None:
    """Make a project with the repository's dvc.yaml, the params of the stage, and a sample."""
    (folder / "dvc.yaml").write_text((ROOT / "dvc.yaml").read_text())
    (folder / "params.yaml").write_text(json.dumps({**PARAMS, **NOTHING_TOLD, **params}))
    (folder / "data/sampled").mkdir(parents=True)
    pairs.to_parquet(folder / "data/sampled/pairs.parquet", index=False)
    pairs[pairs["label"] > 0].to_parquet(folder / "data/sampled/positives.parquet", index=False)


def run_stage(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "stages.split", "--sampled", "data/sampled", "--split", "data/split"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
    )


def test_the_stage_writes_three_splits_and_what_training_readers_liked_and_the_same_bytes_again(tmp_path: Path) -> None:
    project(tmp_path, readers(60))
    outputs = []
    for _ in range(2):
        result = run_stage(tmp_path)
        assert result.returncode == 0, result.stderr
        outputs.append({path.name: path.read_bytes() for path in (tmp_path / "data/split").iterdir()})
    assert outputs[0] == outputs[1]
    files = ["interactions.parquet", "popularity.parquet", "test.parquet", "train.parquet", "validation.parquet"]
    assert sorted(outputs[0]) == files
    liked, counts = (pd.read_parquet(tmp_path / f"data/split/{name}") for name in files[:2])
    assert set(liked["user_id"]) == set(pd.read_parquet(tmp_path / "data/split/train.parquet")["user_id"])
    assert counts.set_index("book_id")["positives"].to_dict() == liked["book_id"].value_counts().to_dict()
    assert pd.read_parquet(tmp_path / "data/split/test.parquet")["label"].dtype == "int32"


@pytest.mark.parametrize(
    ("labels", "params", "words"),
    [
        ((1, 0), {"test_share": 1e-9}, ["test has no pairs", "raise max_users", "raise test_share"]),
        ((1, 0), {"validation_share": 1e-9}, ["validation has no pairs", "raise max_users", "raise validation_share"]),
        ((1, 0), {"validation_share": 0.5, "test_share": 0.499999}, ["train has no pairs", "lower validation_share"]),
        ((0, 0), {}, ["train has no positives"]),
        ((1, 1), {}, ["train has no negatives"]),
    ],
)
def test_a_split_without_pairs_positives_or_negatives_is_named_in_one_line_and_earlier_results_stay(
    tmp_path: Path, labels: tuple[int, ...], params: dict[str, Any], words: list[str]
) -> None:
    project(tmp_path, pd.concat([reader(f"u{n}", labels) for n in range(40)]), **params)
    (tmp_path / "data/split").mkdir()
    (tmp_path / "data/split/train.parquet").write_text("earlier")
    result = run_stage(tmp_path)
    assert result.returncode == 1
    assert result.stderr.count("\n") == 1 and result.stderr.startswith("error: split: ")
    for word in words:
        assert word in result.stderr
    assert [path.read_text() for path in (tmp_path / "data/split").iterdir()] == ["earlier"]
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == ["sampled", "split"]
