"""Sample and split on a real local Ray of two workers: the rows and counts of one machine, also from a bucket."""

import json
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import test_sample
from test_s3 import KEYS, Server, server

ray = pytest.importorskip("ray", reason="an extra: pip install -r requirements-extras.txt")

from ray.data.context import ShuffleStrategy  # noqa: E402

from rerank.cluster import connection as on_ray  # noqa: E402
from rerank.cluster import sample as cluster_sample  # noqa: E402
from rerank.cluster import split as cluster_split  # noqa: E402
from rerank.data import sampling, schema, splitting, stores  # noqa: E402
from rerank.data.pairs import COLUMNS, SourceColumns  # noqa: E402
from rerank.errors import UserError  # noqa: E402
from stages import split  # noqa: E402

__all__ = ["server"]  # the fixture

SOURCE = str(Path(__file__).parents[1] / "src")
SHARES: dict[str, Any] = {"seed": 42, "validation_share": 0.3, "test_share": 0.3}


@pytest.fixture(scope="module", autouse=True)
def two_workers(server: Server) -> Iterator[None]:
    variables = {**KEYS, "AWS_ENDPOINT_URL": server.address, "AWS_EC2_METADATA_DISABLED": "true"}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        environment = {"env_vars": {"PYTHONPATH": SOURCE}}
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, runtime_env=environment)
        yield
        ray.shutdown()


def flawed(readers: int) -> list[test_sample.Row]:
    """Readers whose repeated, contradictory, leaked and empty rows are far from each other."""
    random = Random(1)
    table: list[test_sample.Row] = []
    for reader in range(readers):
        context = f"Favorite books: Book {random.randrange(12)}"
        for _ in range(random.randint(1, 20)):
            book, label = random.randrange(20), random.choice([0, 0, 0, 1])
            text = random.choice([f"Title: Book {book} | rest"] * 12 + ["no title", " ", None])
            row = (f"u{reader:02}", str(book), random.choice([context] * 12 + ["", None]), text, label)
            table += [row] * random.choice([1, 1, 1, 2])
    return random.sample(table, len(table))


def write_parts(table: list[test_sample.Row], folder: Path, *, parts: int) -> None:
    folder.mkdir()
    for part in range(parts):
        test_sample.frame(table[part::parts]).to_parquet(folder / f"part.{part}.parquet", index=False)


def test_the_rows_and_counts_are_those_of_one_machine(tmp_path: Path) -> None:
    table = flawed(60)
    write_parts(table, tmp_path / "raw", parts=3)
    expected, expected_counts = test_sample.take(table, max_users=12)
    connection = duckdb.connect()
    with on_ray.cluster():
        counts = cluster_sample.sample_on_ray(
            connection,
            on_ray.find(str(tmp_path / "raw")).read(),
            tmp_path,
            columns=SourceColumns(*COLUMNS),
            **{**test_sample.PARAMS, "max_users": 12},
            rows_per_bucket=len(table) - 1,
        )
    assert counts == expected_counts
    assert all(counts["dropped"][reason] for reason in ("contradictions", "leaked", "empty_texts", "duplicates"))
    assert sorted(connection.execute("FROM sampled").fetchall()) == expected


def test_a_sample_in_a_bucket_is_split_into_the_same_rows(server: Server, tmp_path: Path) -> None:
    connection = duckdb.connect()
    connection.register("pairs", test_sample.frame([row for n in range(30) for row in test_sample.reader(f"u{n}")]))
    counts = sampling.sample(connection, **test_sample.PARAMS)
    sampling.write(connection, tmp_path / "sampled", counts, seed=42)
    for path in (tmp_path / "sampled").glob("*.parquet"):
        server.client("s3").upload_file(str(path), "pairs", f"sampled/{path.name}")
    with on_ray.cluster():
        parts = cluster_split.split_on_ray(connection, "s3://pairs/sampled", tmp_path, **SHARES)
    pairs, positives = (
        connection.read_parquet(str(tmp_path / f"sampled/{name}.parquet")) for name in ("pairs", "positives")
    )
    for name, part in splitting.split(pairs, positives, **SHARES).items():
        assert part.fetchall() == parts[name].fetchall() != []
        assert part.columns == parts[name].columns and part.types == parts[name].types


def test_partitioned_pairs_come_straight_from_a_bucket(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = flawed(90)
    project = tmp_path / "a reader's project"
    project.mkdir()
    test_sample.project(project, table, max_empty_share=0.5, cold_books_share=0.3)
    write_parts(table, tmp_path / "parts", parts=2)
    for path in (tmp_path / "parts").iterdir():
        server.client("s3").upload_file(str(path), "pairs", f"ray/of/{path.name}")
    assert test_sample.run_stage(project).returncode == 0
    monkeypatch.chdir(project)
    # Ray's other shuffle: without actors, whose start would take most of this test's time.
    monkeypatch.setattr(ray.data.DataContext.get_current(), "shuffle_strategy", ShuffleStrategy.SORT_SHUFFLE_PULL_BASED)
    here, there = Path("data/sampled"), Path("data/it's on ray")
    cluster_sample.main(source="s3://pairs/ray", sampled=there, metrics=Path("metrics/on_ray.json"))
    assert Path("metrics/on_ray.json").read_text() == Path("metrics/data.json").read_text()
    assert (there / "counts.json").read_text() == (here / "counts.json").read_text()
    leaked = (here / "leaked.csv").read_text()
    assert (there / "leaked.csv").read_text() == leaked and leaked.count("\n") == 21
    for name in ("pairs", "positives", "books"):
        pd.testing.assert_frame_equal(*(pd.read_parquet(folder / f"{name}.parquet") for folder in (there, here)))
    cluster_split.main(sampled=str(there), split=Path("data/split on ray's"))
    split.main(sampled=here, split=Path("data/split"))
    files = sorted(path.name for path in Path("data/split").iterdir())
    assert files == [f"{name}.parquet" for name in ("interactions", "popularity", "test", "train", "validation")]
    for name in files:
        folders = ("split on ray's", "split")
        pd.testing.assert_frame_equal(*(pd.read_parquet(f"data/{folder}/{name}") for folder in folders))
    found = sorted(path.name for path in Path("data").iterdir())
    assert found == ["it's on ray", "sampled", "split", "split on ray's", "tables"]


def test_rows_are_checked_as_the_stage_does(tmp_path: Path) -> None:
    table = test_sample.frame(test_sample.reader("u"))
    rows, columns = len(table), SourceColumns(*COLUMNS)
    limits: dict[str, Any] = {"source": "here", "columns": columns, "max_grade": 1, "max_empty_share": 0.01}
    flaws = {"book_id": None, "book_text": " ", "label": 2}
    (tmp_path / "none").mkdir()
    table.iloc[:0].to_parquet(tmp_path / "none/pairs.parquet")
    with on_ray.cluster():
        with pytest.raises(UserError, match=r"^here: has no rows"):
            cluster_sample.check(on_ray.find(str(tmp_path / "none")).read(), **limits)
        for name, value in flaws.items():
            flawed = table.astype({"book_id": "str"})
            flawed.loc[3, name] = value
            raw = tmp_path / name
            raw.mkdir()
            for half in range(2):
                flawed.iloc[half::2].to_parquet(raw / f"{half}.parquet")
            with pytest.raises(UserError) as here:
                schema.check(raw, **limits)
            with pytest.raises(UserError) as there:
                cluster_sample.check(on_ray.find(str(raw)).read(), **limits)
            assert str(there.value).startswith(f"here: column '{name}'") and f"1 of {rows} rows" in str(there.value)
            assert str(here.value).startswith(f"here: 1.parquet: column '{name}'")  # it can say which file
            assert str(here.value).rpartition(" rows")[2] == str(there.value).rpartition(" rows")[2]


PARTS = ["a.parquet", "a?.PARQUET", "a[1].pq", "a*.parquet.gzip", "label=7/b c.parquet.gz", "linked/d#.parq"]


def test_each_part_is_read_once_or_counted_whatever_it_is_called_and_whichever_types_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = test_sample.frame([row for n in range(30) for row in test_sample.reader(f"u{n}")])
    raw, project = tmp_path / "raw", tmp_path / "project"
    (tmp_path / "elsewhere").mkdir()
    (raw / "label=7").mkdir(parents=True)
    (raw / "linked").symlink_to("../elsewhere")
    for number, name in enumerate(PARTS):
        part = table[number :: len(PARTS)]
        part.astype({"label": "str"} if number % 2 else {}).to_parquet(raw / name, index=False)
    pq.write_table(pa.table({name: pa.nulls(0) for name in COLUMNS}), raw / "0 no rows.parquet")
    for name in ("_SUCCESS", "_old.parquet", "notes.csv"):
        (raw / name).touch()
    project.mkdir()
    test_sample.project(project, table.itertuples(index=False))  # type: ignore[arg-type]
    assert test_sample.run_stage(project).returncode == 0
    monkeypatch.chdir(project)
    monkeypatch.setattr(ray.data.DataContext.get_current(), "shuffle_strategy", ShuffleStrategy.SORT_SHUFFLE_PULL_BASED)
    cluster_sample.main(source=str(raw), sampled=Path("data/there"), metrics=Path("metrics/there.json"))
    counted = json.loads(Path("metrics/data.json").read_text())
    assert json.loads(Path("metrics/there.json").read_text()) == {**counted, "left_out": 3}
    found = (pd.read_parquet(f"data/{folder}/pairs.parquet") for folder in ("there", "sampled"))
    pd.testing.assert_frame_equal(*found)


@pytest.mark.parametrize(
    ("name", "columns", "message"),
    [
        ("b.parquet", {"Label": 1, "label": 0}, "'label' and 'Label' differ by case alone"),
        ("b.parquet", {"Label": 1}, "'label' is missing .it has .*Label.: set label_column"),
        ("label=1/b.parquet", {}, "'label' is in the name of a folder alone, which a cluster does not read"),
        ("b.parquet", None, "not a readable parquet file"),
    ],
)
def test_the_part_with_wrong_columns_is_named(
    tmp_path: Path, name: str, columns: dict[str, int] | None, message: str
) -> None:
    table = test_sample.frame(test_sample.reader("u"))
    (tmp_path / name).parent.mkdir(exist_ok=True)
    table.to_parquet(tmp_path / "a.parquet", index=False)
    if columns is None:
        (tmp_path / name).touch()
    else:
        table.drop(columns="label").assign(**columns).to_parquet(tmp_path / name, index=False)
    with pytest.raises(UserError, match=f"^{tmp_path}: {name}: .*{message}"):
        on_ray.find(str(tmp_path)).check(SourceColumns(*COLUMNS).by_key())


def test_a_shape_that_a_cluster_would_not_see_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    test_sample.project(tmp_path, test_sample.reader("u"), shape="triples")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"shape is 'triples': on a cluster .*: let the stage convert make them"):
        cluster_sample.main(source="data/tables", sampled=Path("there"), metrics=Path("there.json"))


def test_a_bucket_is_connected_to_once() -> None:
    first, second = (stores.located(f"s3://pairs/{name}") for name in ("one", "of/two"))
    assert first[0] is second[0]
    assert (first[1], second[1]) == ("pairs/one", "pairs/of/two")


@pytest.mark.parametrize("source", ["s3://nobody/pairs", "s3://pairs/nothing", "nowhere"])
def test_a_source_without_pairs_is_a_mistake_of_the_user(source: str) -> None:
    with pytest.raises(UserError, match=f"^{source}: (holds no .parquet file|not found)"):
        on_ray.find(source)
