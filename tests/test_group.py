"""Pairs that share a text are one group; what is dropped is counted; a given split is respected."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rerank.data.grouping import connected, group
from rerank.errors import UserError


def pairs(*rows: tuple[Any, ...]) -> pd.DataFrame:
    """Return pairs whose texts are their own ids: (left, right, label), or with a split as a fourth."""
    table = pd.DataFrame(rows, columns=["user_ctx", "book_text", "label", "split"][: len(rows[0])])
    table["user_id"], table["book_id"] = table["user_ctx"], table["book_text"]
    return table


def test_pairs_that_share_a_text_directly_or_through_others_are_one_group() -> None:
    kept, counts = group(pairs(("a", "b", 1), ("c", "b", 0), ("c", "d", 1), ("e", "f", 0)), seed=1, max_pairs=None)
    assert kept.set_index("book_id")["user_id"].to_dict() == {"a|b": "a", "b|c": "a", "c|d": "a", "e|f": "e"}
    assert counts["sampled"] == {"rows": 4, "texts": 6, "groups": 2, "largest_group": 3, "mean_label": 0.5}


EDGES = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), min_size=1, max_size=40)


@settings(max_examples=60, deadline=None)
@given(EDGES)
def test_groups_are_the_connected_components_of_the_texts(edges: list[tuple[int, int]]) -> None:
    left, right = (pd.Series([f"t{edge[side]:02d}" for edge in edges]) for side in (0, 1))
    found = connected(left, right)
    parent = {name: name for name in [*left, *right]}

    def root(name: str) -> str:
        return name if parent[name] == name else root(parent[name])

    for one, other in zip(left, right, strict=True):
        low, high = sorted((root(one), root(other)))
        parent[high] = low
    assert found.tolist() == [root(name) for name in left]


def test_a_pair_is_the_same_in_both_orders() -> None:
    kept, counts = group(
        pairs(("a", "b", 1), ("b", "a", 1), ("c", "d", 1), ("d", "c", 0), ("e", " ", 0), ("g", "h", 0)),
        seed=1,
        max_pairs=None,
    )
    assert kept["book_id"].tolist() == ["a|b", "g|h"]
    dropped = {"empty_texts": 1, "contradictions": 2, "duplicates": 1, "leaked": 0, "beyond_max_pairs": 0}
    assert counts["dropped"] == dropped
    assert counts["raw"]["rows"] == counts["sampled"]["rows"] + sum(dropped.values())


def test_the_order_of_the_rows_changes_nothing() -> None:
    table = pairs(*[(f"t{n}", f"t{n * 7 % 31}", n % 2) for n in range(60)])
    first, counts = group(table, seed=1, max_pairs=40)
    again, same = group(table.sample(frac=1, random_state=5), seed=1, max_pairs=40)
    pd.testing.assert_frame_equal(first, again)
    assert counts == same


def test_max_pairs_keeps_whole_groups_and_is_filled_where_small_ones_are_left() -> None:
    table = pairs(*[(f"t{n}", f"t{n}-{copy}", copy % 2) for n in range(30) for copy in range(1 + n % 3)])
    small, counts = group(table, seed=1, max_pairs=20)
    everything, _ = group(table, seed=1, max_pairs=None)
    assert len(small) == 20 and len(everything) == len(table) == 60
    sizes = everything["user_id"].value_counts()
    assert all(sizes[name] == count for name, count in small["user_id"].value_counts().items())
    assert counts["dropped"]["beyond_max_pairs"] == 40


@pytest.mark.parametrize("seed", range(10))
def test_a_group_larger_than_max_pairs_takes_no_other_with_it(seed: int) -> None:
    large = [("t", f"t-{copy}", copy % 2) for copy in range(100)]
    table = pairs(*large, *[(f"u{n}", f"u{n}-{copy}", copy) for n in range(30) for copy in range(2)])
    kept, _ = group(table, seed=seed, max_pairs=50)
    assert len(kept) == 50 and kept["user_id"].nunique() == 25
    everything_else, _ = group(table, seed=seed, max_pairs=99)
    assert len(everything_else) == 60


def test_a_given_split_stays_and_only_training_gives_way() -> None:
    table = pairs(
        ("a", "b", 1.0, "train"),
        ("a", "c", 2.0, "train"),
        ("b", "a", 0.5, "test"),
        ("a", "b", 0.6, "test"),
        ("x", "y", 3.0, "dev"),
        ("y", "x", 3.0, "train"),
    )
    kept, counts = group(table, seed=1, max_pairs=None)
    assert counts["dropped"]["leaked"] == 2
    assert kept.groupby("split")["label"].apply(list).to_dict() == {
        "test": [0.6, 0.5],
        "train": [2.0],
        "validation": [3.0],
    }
    assert not kept.duplicated(["user_id", "book_id"]).any()
    assert kept.groupby("user_id")["split"].nunique().max() == 1


def test_a_split_of_another_name_and_nothing_left_are_one_clear_error() -> None:
    with pytest.raises(UserError, match="holds 'holdout'"):
        group(pairs(("a", "b", 1, "holdout")), seed=1, max_pairs=None)
    with pytest.raises(UserError, match=r"none of 2 pairs is left .*2 contradictions"):
        group(pairs(("a", "b", 1), ("b", "a", 0)), seed=1, max_pairs=None)


def project(folder: Path, table: pd.DataFrame, **changes: object) -> subprocess.CompletedProcess[str]:
    """Run the stage on a table of one file in a folder with params of its own."""
    params = {"user_column": None, "book_column": None, "context_column": "user_ctx", "text_column": "book_text"}
    params |= {"label_column": "label", "task": "duplicates", "max_grade": 1, "max_empty_share": 0.5, "seed": 1}
    params |= {"split_column": None, "max_pairs": None, **changes}
    (folder / "data/tables").mkdir(parents=True)
    (folder / "params.yaml").write_text(json.dumps(params))
    (folder / "dvc.yaml").write_text(json.dumps({"stages": {"group": {"params": list(params)}}}))
    table.to_parquet(folder / "data/tables/pairs.parquet", index=False)
    paths = ["--tables", "data/tables", "--sampled", "data/sampled", "--metrics", "metrics/data.json"]
    return subprocess.run(
        [sys.executable, "-m", "stages.group", *paths],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1] / "src")},
        capture_output=True,
        text=True,
    )


def test_the_stage_writes_the_groups_their_positives_and_the_counts(tmp_path: Path) -> None:
    result = project(tmp_path, pairs(("a", "b", 0.5), ("c", "b", 0), ("e", "f", 1.0), ("e", "", 1)), task="similarity")
    assert result.returncode == 0, result.stderr
    assert json.loads((tmp_path / "metrics/data.json").read_text()) == {"rows": 3, "groups": 2}
    counts = json.loads((tmp_path / "data/sampled/counts.json").read_text())
    assert counts["dropped"]["empty_texts"] == 1 and counts["sampled"]["texts"] == 5
    kept, positives = (pd.read_parquet(tmp_path / f"data/sampled/{name}.parquet") for name in ("pairs", "positives"))
    assert sorted(kept["label"]) == [0, 0.5, 1] and len(positives) == 2


def test_labels_must_be_whole_where_the_task_says_so(tmp_path: Path) -> None:
    result = project(tmp_path, pairs(("a", "b", 0.5), ("c", "d", 0)))
    assert result.returncode == 1 and not (tmp_path / "data/sampled").exists()
    assert result.stderr.startswith("error: data/tables: column 'label'") and result.stderr.count("\n") == 1
