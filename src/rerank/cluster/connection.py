"""Tables beyond one machine: DuckDB on each block of a Ray Dataset, and what comes back as parquet files.

Ray is an extra, see README: this room is all that needs it. A cluster is found as Ray finds it
(``RAY_ADDRESS``); without one, this machine's cores are used. The workers get this package from here.
"""

import logging
import re
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq
from pyarrow.fs import FileSystem, FSSpecHandler, LocalFileSystem, PyFileSystem

from rerank.data.formats import check_whole, is_parquet
from rerank.data.schema import check_columns, footer, no_rows
from rerank.data.stores import explaining, is_local, located, names
from rerank.errors import UserError

try:
    import ray
    from ray.data import Dataset
    from ray.exceptions import RayTaskError
except ModuleNotFoundError as error:
    raise UserError(f"{error.name} is not installed: pip install -r requirements-extras.txt") from None

PACKAGE = Path(__file__).parent.parent
# Footers are read side by side: each one in a bucket takes a few requests.
FOOTERS_AT_ONCE = 16
MISTAKE = re.compile(rf"{UserError.__module__}\.{UserError.__name__}: (.+)")


@contextmanager
def cluster() -> Iterator[None]:
    """Use the cluster that is there, or one of this machine; a mistake that a worker finds is raised here.

    Raises:
        UserError: from a worker.
    """
    started = not ray.is_initialized()
    if started:
        runtime = {"py_modules": [str(PACKAGE)]}
        ray.init(runtime_env=runtime, log_to_driver=False, logging_level=logging.ERROR, include_dashboard=False)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.use_datasource_v2 = False  # which silently leaves out files by their name or size
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    try:
        yield
    except RayTaskError as error:
        told = MISTAKE.search(str(error))  # the exception itself does not survive the way back
        if told is None:
            raise
        raise UserError(told[1]) from None
    finally:
        if started:
            ray.shutdown()


@dataclass(frozen=True)
class Files:
    """Parquet files on a file system that every machine of the cluster reaches, and how many others there are."""

    source: str
    root: str
    paths: list[str]
    file_system: FileSystem
    left_out: int
    schema: pa.Schema | None = None

    def read(self) -> Dataset:
        """Return their rows; none is read yet. A folder called ``year=2020`` adds no column."""
        return ray.data.read_parquet(
            self.paths, filesystem=self.file_system, schema=self.schema, partitioning=None, file_extensions=None
        )

    def check(self, wanted: Mapping[str, str]) -> "Files":
        """Check the columns of each file by its footer, see `check_columns`.

        Returns:
            The files that have rows, with the wanted columns alone, as text where their types differ.

        Raises:
            UserError: also for a column that only a folder names, a file that can't be read, or no rows at all.
        """
        with ThreadPoolExecutor(FOOTERS_AT_ONCE) as threads:
            found = list(threads.map(lambda path: self._check(path, wanted), self.paths))
        filled = [schema for schema in found if schema is not None]
        if not filled:
            raise no_rows(self.source)
        fields = []
        for name in dict.fromkeys(wanted.values()):
            kinds = {schema.field(name).type for schema in filled} - {pa.null()}
            fields.append(pa.field(name, kinds.pop() if len(kinds) == 1 else pa.string()))
        paths = [path for path, schema in zip(self.paths, found, strict=True) if schema is not None]
        return replace(self, paths=paths, schema=pa.schema(fields))

    def _check(self, path: str, wanted: Mapping[str, str]) -> pa.Schema | None:
        """Return the columns of a file, None for one without rows."""
        place = path.removeprefix(f"{self.root}/")
        name = self.source if len(self.paths) == 1 else f"{self.source}: {place}"
        rows, schema = footer(path, name=name, filesystem=self.file_system)
        if not rows:
            return None
        for column in wanted.values():
            if column not in schema.names and f"/{column}=" in f"/{place}":
                raise UserError(
                    f"{name}: column '{column}' is in the name of a folder alone, which a cluster does not read: "
                    "write it into the file, or use the stages pull, convert and sample"
                )
        check_columns(schema, wanted, source=name)
        return schema


def find(source: str) -> Files:
    """Find the parquet files of a folder at any depth, or one file; the rule is that of `rerank.data.formats`.

    Args:
        source: a path or an address, see `rerank.data.stores`.

    Raises:
        UserError: when there are none, the bucket can't be read, and see `check_whole`.
    """
    with explaining(source):
        store, path = located(source)
        found = [] if store.isfile(path) else [PurePosixPath(name) for name in names(source)]
        check_whole(found, source=source)
        paths = [f"{path.rstrip('/')}/{name}" for name in found if is_parquet(name)]
        if store.isfile(path):
            paths = [path]
    files = LocalFileSystem() if is_local(source) else PyFileSystem(FSSpecHandler(store))
    if not paths:
        raise UserError(f"{source}: holds no .parquet file: correct the path or address")
    return Files(source, path.rstrip("/"), paths, files, max(len(found) - len(paths), 0))


def on_blocks(dataset: Dataset, function: Callable[..., pa.Table], **arguments: Any) -> Dataset:
    """Apply ``function(block, **arguments) -> table`` to every block."""
    return dataset.map_batches(function, batch_size=None, batch_format="pyarrow", fn_kwargs=arguments)


def query(block: pa.Table, *, name: str, sql: str) -> pa.Table:
    """Return what a query says about a block, which it calls ``name``."""
    return connect({name: block}).sql(sql).to_arrow_table()


def connect(tables: Mapping[str, pa.Table]) -> duckdb.DuckDBPyConnection:
    """Open DuckDB in a worker, with one thread, over Arrow tables."""
    connection = duckdb.connect(config={"threads": 1})
    for name, table in tables.items():
        connection.register(name, table)
    return connection


def fetch(dataset: Dataset, file: Path) -> pa.dataset.Dataset:
    """Write the blocks of a Dataset one by one to a parquet file here, and return it for DuckDB to read."""
    writer = None
    for block in dataset.iter_batches(batch_size=None, batch_format="pyarrow"):
        writer = writer or pq.ParquetWriter(file, block.schema, compression="zstd")
        writer.write_table(block.cast(writer.schema))
    if writer is None:  # Ray gives no block without rows
        schema = dataset.materialize().schema()
        assert schema is not None, f"{file.stem}: no blocks"
        writer = pq.ParquetWriter(file, schema.base_schema)
    writer.close()
    return pa.dataset.dataset(file)
