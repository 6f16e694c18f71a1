"""Sample and split on a real local Ray of two workers: the rows and counts of one machine, also from a bucket."""

import json
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import duckdb
import pandas as pd
import pytest
import test_sample
from test_s3 import KEYS, Server, server

ray = pytest.importorskip("ray", reason="an extra: pip install -r requirements-extras.txt")

from ray.data.context import ShuffleStrategy  # noqa: E402

from rerank.cluster import on_ray, split_on_ray  # noqa: E402
from rerank.cluster.sample_on_ray import check, main, sample_on_ray  # noqa: E402
from rerank.data import pairs, sampling, splitting  # noqa: E402
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
        counts = sample_on_ray(
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
    test_sample.sample(connection, **test_sample.PARAMS)
    sampling.write(connection, tmp_path / "sampled", seed=42, positives=sampling.POSITIVES)
    for path in (tmp_path / "sampled").iterdir():
        server.client("s3").upload_file(str(path), "pairs", f"sampled/{path.name}")
    with on_ray.cluster():
        parts = split_on_ray.split_on_ray(connection, "s3://pairs/sampled", tmp_path, **SHARES)
    pairs, positives = (
        connection.read_parquet(str(tmp_path / f"sampled/{name}.parquet")) for name in ("pairs", "positives")
    )
    for name, part in splitting.split(pairs, positives, **SHARES).items():
        assert part.fetchall() == parts[name].fetchall() != []
        assert part.columns == parts[name].columns and part.types == parts[name].types


def test_partitioned_pairs_come_straight_from_a_bucket(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = flawed(30)
    test_sample.project(tmp_path, table, max_length=8, min_positives=1, max_empty_share=0.5)
    write_parts(table, tmp_path / "parts", parts=2)
    for path in (tmp_path / "parts").iterdir():
        server.client("s3").upload_file(str(path), "pairs", f"ray/of/{path.name}")
    assert test_sample.run_stage(tmp_path).returncode == 0
    monkeypatch.chdir(tmp_path)
    # Ray's other shuffle: without actors, whose start would take most of this test's time.
    monkeypatch.setattr(ray.data.DataContext.get_current(), "shuffle_strategy", ShuffleStrategy.SORT_SHUFFLE_PULL_BASED)
    main("s3://pairs/ray", Path("models/base"), Path("data/on_ray"), Path("metrics/on_ray.json"))
    counts = {name: json.loads(Path(f"metrics/{name}.json").read_text()) for name in ("on_ray", "data")}
    assert counts["on_ray"] == counts["data"]
    for name in ("pairs", "positives"):
        tables = [pd.read_parquet(f"data/{folder}/{name}.parquet") for folder in ("on_ray", "sampled")]
        pd.testing.assert_frame_equal(*tables)
    split_on_ray.main("data/on_ray", Path("data/split_on_ray"))
    split.main(Path("data/sampled"), Path("data/split"))
    files = sorted(path.name for path in Path("data/split").iterdir())
    assert files == ["popularity.parquet", "test.parquet", "train.parquet", "validation.parquet"]
    for name in files:
        pd.testing.assert_frame_equal(
            *(pd.read_parquet(f"data/{folder}/{name}") for folder in ("split_on_ray", "split"))
        )
    assert sorted(path.name for path in Path("data").iterdir()) == ["on_ray", "raw", "sampled", "split", "split_on_ray"]


def test_rows_are_checked_as_pull_does(tmp_path: Path) -> None:
    table = test_sample.frame(test_sample.reader("u"))
    rows, columns = len(table), SourceColumns(*COLUMNS)
    limits: dict[str, Any] = {"source": "here", "columns": columns, "max_grade": 1, "max_empty_share": 0.01}
    flaws = {"book_id": None, "book_text": " ", "label": 2}
    (tmp_path / "none").mkdir()
    table.iloc[:0].to_parquet(tmp_path / "none/pairs.parquet")
    with on_ray.cluster():
        with pytest.raises(UserError, match=r"^here: the pairs have no rows"):
            check(on_ray.find(str(tmp_path / "none")).read(), **limits)
        for name, value in flaws.items():
            flawed = table.astype({"book_id": "str"})
            flawed.loc[3, name] = value
            raw = tmp_path / name
            raw.mkdir()
            for half in range(2):
                flawed.iloc[half::2].to_parquet(raw / f"{half}.parquet")
            with pytest.raises(UserError) as here:
                pairs.check(raw, **limits)
            with pytest.raises(UserError) as there:
                check(on_ray.find(str(raw)).read(), **limits)
            assert str(there.value) == str(here.value)
            assert f"column '{name}'" in str(here.value) and f"1 of {rows} rows" in str(here.value)


@pytest.mark.parametrize("source", ["s3://nobody/pairs", "s3://pairs/nothing", "nowhere"])
def test_a_source_without_pairs_is_a_mistake_of_the_user(source: str) -> None:
    with pytest.raises(UserError, match=f"^{source}: (holds no .parquet file|can't be read)"):
        on_ray.find(source)
