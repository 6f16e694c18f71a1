"""Pairs that share a text are one group; what is dropped is counted; a given split is respected."""

from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rerank.errors import UserError
from stages.group import connected, group


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


def test_max_pairs_keeps_whole_groups_and_a_larger_one_only_adds() -> None:
    table = pairs(*[(f"t{n}", f"t{n}-{copy}", copy % 2) for n in range(30) for copy in range(1 + n % 3)])
    small, counts = group(table, seed=1, max_pairs=20)
    large, _ = group(table, seed=1, max_pairs=40)
    everything, _ = group(table, seed=1, max_pairs=None)
    assert 15 < len(small) <= 20 and len(everything) == len(table) == 60
    assert set(small["book_id"]) < set(large["book_id"])
    sizes = everything["user_id"].value_counts()
    assert all(sizes[name] == count for name, count in small["user_id"].value_counts().items())
    assert counts["dropped"]["beyond_max_pairs"] == 60 - len(small)


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
