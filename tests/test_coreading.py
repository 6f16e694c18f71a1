"""Item-kNN and EASE: the formulas, what they know and don't, the choice on validation, and the stage."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rerank.data import favourites
from rerank.data.favourites import found
from rerank.systems import coreading
from rerank.systems.coreading import Interactions, ease, item_knn
from rerank.systems.fitting import fit
from rerank.systems.registry import sources
from rerank.systems.scoring import score
from stages.coreading import main

TITLE_PATTERN = "^Title: ([^|]+)"
PARAMS = {
    "title_pattern": TITLE_PATTERN,
    "item_knn_exponents": [0.5],
    "item_knn_shrinkages": [0.0, 5.0],
    "ease_regularisations": [1.0, 100.0],
}
BOOKS = 12


def liked(seed: int = 0, readers: int = 40) -> pd.DataFrame:
    """Readers of even and of odd books, with a few exceptions."""
    generator = np.random.default_rng(seed)
    rows = [
        (f"u{reader}", f"b{book}")
        for reader in range(readers)
        for book in range(BOOKS - 2)
        if generator.random() < (0.6 if book % 2 == reader % 2 else 0.05)
    ]
    return pd.DataFrame(rows, columns=["user_id", "book_id"])


def catalogue() -> pd.DataFrame:
    """The last two books are cold, and nobody has read them."""
    numbers = range(BOOKS)
    return pd.DataFrame(
        {
            "book_id": [f"b{number}" for number in numbers],
            "book_text": [f"Title: Book {number} | and more" for number in numbers],
            "cold": [number >= BOOKS - 2 for number in numbers],
        }
    )


def lists(users: list[str], favourites: list[int], *, cold: bool = False) -> pd.DataFrame:
    """A list a user: who names an even book likes even ones."""
    books = range(BOOKS - 2, BOOKS) if cold else range(BOOKS - 2)
    rows = [
        (user, f"b{book}", f"Favorite books: Book {favourite}", f"Title: Book {book}", int(book % 2 == favourite % 2))
        for user, favourite in zip(users, favourites, strict=True)
        for book in books
        if book != favourite
    ]
    return pd.DataFrame(rows, columns=["user_id", "book_id", "user_ctx", "book_text", "label"]).assign(cold=cold)


def dense(interactions: Interactions) -> np.ndarray:
    return interactions.liked.toarray().astype(float)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 99), st.sampled_from([0.3, 0.5, 0.7]), st.sampled_from([0.0, 3.0]))
def test_item_knn_is_the_shrunk_cosine_of_the_readers_of_two_books(
    seed: int, exponent: float, shrinkage: float
) -> None:
    interactions = Interactions.of(liked(seed, readers=12))
    matrix = dense(interactions)
    found = item_knn(interactions, exponent=exponent, shrinkage=shrinkage).toarray()
    readers = matrix.sum(axis=0)
    for book in range(matrix.shape[1]):
        for other in range(matrix.shape[1]):
            common = (matrix[:, book] * matrix[:, other]).sum()
            expected = common / ((readers[book] * readers[other]) ** exponent + shrinkage) if book != other else 0
            assert found[book, other] == pytest.approx(expected, rel=1e-5)


def test_ease_is_the_ridge_regression_of_each_book_on_the_others() -> None:
    interactions = Interactions.of(liked())
    matrix = dense(interactions)
    found = ease(interactions, regularisation=3.0).toarray()
    for book in range(matrix.shape[1]):
        others = np.delete(np.arange(matrix.shape[1]), book)
        gram = matrix[:, others].T @ matrix[:, others] + 3 * np.eye(len(others))
        expected = np.linalg.solve(gram, matrix[:, others].T @ matrix[:, book])
        np.testing.assert_allclose(found[others, book], expected, rtol=1e-4, atol=1e-5)
        assert found[book, book] == 0


def test_only_the_strongest_neighbours_stay_and_a_matrix_in_blocks_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    interactions = Interactions.of(liked())
    whole = item_knn(interactions, exponent=0.5, shrinkage=0).toarray()
    monkeypatch.setattr(coreading, "BLOCK", 3)
    np.testing.assert_array_equal(item_knn(interactions, exponent=0.5, shrinkage=0).toarray(), whole)
    monkeypatch.setattr(coreading, "NEIGHBOURS", 4)
    few = item_knn(interactions, exponent=0.5, shrinkage=0).toarray()
    assert ((few > 0).sum(axis=1) <= 4).all()
    for row, kept in zip(whole, few, strict=True):
        assert sorted(kept[kept > 0]) == pytest.approx(sorted(row[row > 0])[-4:])


def test_the_size_of_a_block_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    train = lists(["u0", "u1", "u2"], [2, 5, 8])
    names = favourites.catalogue(catalogue(), title_pattern=TITLE_PATTERN)
    interactions = Interactions.of(liked())

    def all_of_it() -> list[np.ndarray]:
        neighbours = item_knn(interactions, exponent=0.5, shrinkage=0)
        pairs = train["user_ctx"].tolist(), train["book_id"].tolist()
        values = coreading.scores(*pairs, catalogue=names, known=interactions.books, neighbours=neighbours)
        taught = coreading.taught(train, interactions, catalogue=names, exponent=0.5, shrinkage=0)
        return [neighbours.toarray(), values, taught]

    whole = all_of_it()
    for name, size in (("BLOCK", 2), ("PRODUCTS", 30)):
        monkeypatch.setattr(coreading, name, size)
        for one, other in zip(all_of_it(), whole, strict=True):
            np.testing.assert_array_equal(one, other)


def test_of_many_books_ease_weighs_those_with_the_most_readers(monkeypatch: pytest.MonkeyPatch) -> None:
    interactions = Interactions.of(liked())
    readers = dense(interactions).sum(axis=0)
    monkeypatch.setattr(coreading, "EASE_BOOKS", 4)
    weights = ease(interactions, regularisation=1.0).toarray()
    used = set(np.flatnonzero(np.abs(weights).sum(axis=0) + np.abs(weights).sum(axis=1)))
    assert used == set(np.argsort(-readers, kind="stable")[:4])


def test_favourites_are_found_by_their_whole_titles() -> None:
    names = favourites.catalogue(catalogue(), title_pattern=TITLE_PATTERN)
    named = found(["Favorite books: Book 3 by A; Book 1 by B", "Book 33", "Favorite books: Book 11"], names)
    assert list(named.itertuples(index=False, name=None)) == [(0, "b1", 1), (0, "b3", 1), (2, "b11", 1)]
    assert found(["Book 3"], favourites.catalogue(catalogue(), title_pattern=None)).empty


def test_a_text_is_the_book_of_the_same_text_or_else_of_the_same_title() -> None:
    names = favourites.catalogue(catalogue(), title_pattern=TITLE_PATTERN)
    texts = [" Title: Book 3 | and more\r", "Title: book 4 (a series)", "Title: Book 40", "Book 3", ""]
    assert favourites.books_of(texts, names, title_pattern=TITLE_PATTERN).tolist() == ["b3", "b4", "", "", ""]
    assert favourites.books_of(texts[:2], names, title_pattern=None).tolist() == ["b3", ""]


def twins() -> pd.DataFrame:
    """A catalogue in which book 4 has two twins of its title, the first of them cold."""
    more = pd.DataFrame({"book_id": ["a", "z"], "book_text": "Title: Book 4 | another", "cold": [True, False]})
    return pd.concat([catalogue(), more], ignore_index=True)


def test_of_books_with_one_title_each_is_meant_a_little_and_a_text_is_a_warm_one() -> None:
    names = favourites.catalogue(twins(), title_pattern=TITLE_PATTERN)
    named = found(["Favorite books: Book 4 by A; Book 1 by B"], names)
    assert named.set_index("book_id")["share"].to_dict() == pytest.approx(
        {"a": 1 / 3, "b1": 1, "b4": 1 / 3, "z": 1 / 3}
    )
    texts = ["Title: Book 4 | another", "Title: Book 4 | a third text"]
    assert favourites.books_of(texts, names, title_pattern=TITLE_PATTERN).tolist() == ["z", "b4"]
    train = lists(["u0"], [4])
    plain = fit(train.assign(user_ctx="?"), lists(["v"], [2]), liked(), twins(), **PARAMS)
    assert (fit(train, lists(["v"], [2]), liked(), twins(), **PARAMS).books == plain.books).all()


def fitted(**changes: object):
    train = lists([f"u{n}" for n in range(10)], list(range(10)))
    validation = lists(["v0", "v1"], [2, 5])
    return fit(train, validation, liked(), catalogue(), **{**PARAMS, **changes})


def test_the_setting_with_the_best_validation_metric_is_taken_and_the_choice_is_told() -> None:
    chosen = fitted().chosen
    assert chosen["item_knn"]["shrinkage"] in (0, 5) and chosen["ease"]["regularisation"] in (1, 100)
    for shrinkage in (0.0, 5.0):
        alone = fitted(item_knn_shrinkages=[shrinkage]).chosen["item_knn"]["validation_ndcg@10"]
        assert alone <= chosen["item_knn"]["validation_ndcg@10"]
    assert chosen["favourites_found_per_context"] == {"train": 1.0, "validation": 1.0}


def test_the_favourites_of_training_readers_count_but_no_cold_book_does() -> None:
    train = lists(["u0", "u1"], [10, 2])  # book 10 is cold
    names_nothing = fit(train.assign(user_ctx="?"), lists(["v"], [2]), liked(), catalogue(), **PARAMS)
    names_two = fit(train, lists(["v"], [2]), liked(), catalogue(), **PARAMS)
    assert "b10" not in names_two.books and (names_two.books == names_nothing.books).all()
    assert (names_two.neighbours["item_knn"] != names_nothing.neighbours["item_knn"]).nnz > 0


def write_project() -> None:
    """Write what the stage reads, below the current folder."""
    Path("params.yaml").write_text(json.dumps(PARAMS))
    Path("dvc.yaml").write_text(json.dumps({"stages": {"coreading": {"params": list(PARAMS)}}}))
    for name in ("split", "sampled"):
        Path(name).mkdir()
    lists([f"u{n}" for n in range(10)], list(range(10))).to_parquet("split/train.parquet")
    lists(["v0", "v1"], [2, 5]).to_parquet("split/validation.parquet")
    liked().to_parquet("split/interactions.parquet")
    catalogue().to_parquet("sampled/books.parquet")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_STAGE", raising=False)
    write_project()
    main(split=Path("split"), sampled=Path("sampled"), coreading=Path("coreading"), teacher=Path("teacher.parquet"))
    return tmp_path


def scored(pairs: pd.DataFrame) -> dict[str, np.ndarray]:
    systems = sources(["item_knn=coreading", "ease=coreading"])
    return score(pairs, systems, max_length=8, precision="fp32")


def test_the_stage_writes_the_same_bytes_again_and_its_folder_ranks(folder: Path) -> None:
    before = {path.name: path.read_bytes() for path in Path("coreading").iterdir()}
    assert before.keys() == {"books.parquet", "catalogue.parquet", "item_knn.parquet", "ease.parquet", "chosen.json"}
    main(split=Path("split"), sampled=Path("sampled"), coreading=Path("coreading"), teacher=Path("teacher.parquet"))
    assert {path.name: path.read_bytes() for path in Path("coreading").iterdir()} == before
    test = lists(["t0", "t1"], [4, 7])
    for system, values in scored(test).items():
        liked_ones, others = values[test["label"] == 1], values[test["label"] == 0]
        assert liked_ones.min() > others.max(), system


def test_books_that_nobody_has_read_score_0_and_so_does_a_context_without_a_known_favourite(folder: Path) -> None:
    cold = lists(["t0"], [4], cold=True)
    unknown = lists(["t1"], [4]).assign(user_ctx="Favorite books: Something Else")
    table = pd.concat([lists(["t2"], [4]), cold, unknown], ignore_index=True)
    for values in scored(table).values():
        assert values[: BOOKS - 3].any() and not values[BOOKS - 3 :].any()
    assert scored(unknown) == {}


def test_a_text_without_titles_has_no_co_reading() -> None:
    assert fitted(title_pattern=None).chosen["favourites_found_per_context"]["train"] == 0


@pytest.mark.parametrize(("exponent", "shrinkage"), [(0.5, 0.0), (0.6, 4.0)])
def test_a_teacher_says_what_item_knn_would_say_without_the_reader(exponent: float, shrinkage: float) -> None:
    train = lists(["u0", "u1", "u2"], [2, 5, 8])
    train["user_ctx"] += " by Nobody; Book 4 by Somebody"
    names = favourites.catalogue(catalogue(), title_pattern=TITLE_PATTERN)
    named = pd.DataFrame({"user_id": ["u0", "u1", "u2"] * 2, "book_id": ["b2", "b5", "b8", "b4", "b4", "b4"]})
    rows = pd.concat([liked(), named], ignore_index=True)
    settings = {"exponent": exponent, "shrinkage": shrinkage}
    found = coreading.taught(train, Interactions.of(rows), catalogue=names, **settings)
    for user in ("u0", "u1", "u2"):
        others = Interactions.of(rows[rows["user_id"] != user])
        own = train[train["user_id"] == user]
        expected = coreading.scores(
            own["user_ctx"].tolist(),
            own["book_id"].tolist(),
            catalogue=names,
            known=others.books,
            neighbours=item_knn(others, **settings),
        )
        np.testing.assert_allclose(found[train["user_id"] == user], expected, rtol=1e-4)


def test_the_teacher_is_standardised_within_the_list_of_each_training_reader() -> None:
    teacher = fitted().teacher
    assert teacher.columns.tolist() == ["user_id", "book_id", "teacher"] and len(teacher) == 90
    by_reader = teacher.groupby("user_id")["teacher"]
    assert by_reader.mean().abs().max() < 1e-6 and (by_reader.std(ddof=0) - 1).abs().max() < 1e-6
    assert not fitted(title_pattern=None).teacher["teacher"].any()


def test_nobody_who_liked_anything_is_no_error() -> None:
    nothing = fit(
        lists(["u0"], [2]).assign(user_ctx="?"),
        lists(["v0"], [2]),
        liked().iloc[:0],
        catalogue(),
        **PARAMS,
    )
    assert len(nothing.books) == 0 and nothing.neighbours["ease"].shape == nothing.neighbours["item_knn"].shape == (
        0,
        0,
    )
