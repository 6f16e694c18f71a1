"""Tables beyond one machine: DuckDB on each block of a Ray Dataset, and what comes back as parquet files.

Ray is an extra, see README: this room is all that needs it. A cluster is found as Ray finds it
(``RAY_ADDRESS``); without one, this machine's cores are used. The workers get this package from here.
"""

import logging
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq
from pyarrow.fs import FileSystem, FSSpecHandler, LocalFileSystem, PyFileSystem

from rerank.data.formats import check_whole, is_hidden, table_suffix
from rerank.data.stores import explaining, is_local, located
from rerank.errors import UserError

try:
    import ray
    from ray.data import Dataset
    from ray.exceptions import RayTaskError
except ModuleNotFoundError as error:
    raise UserError(f"{error.name} is not installed: pip install -r requirements-extras.txt") from None

PACKAGE = Path(__file__).parent.parent
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
    ray.data.DataContext.get_current().enable_progress_bars = False
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

    paths: list[str]
    file_system: FileSystem
    left_out: int

    def read(self) -> Dataset:
        """Return their rows; nothing is read yet. A folder called ``year=2020`` adds no column."""
        return ray.data.read_parquet(self.paths, filesystem=self.file_system, partitioning=None)


def find(source: str) -> Files:
    """Find the parquet files of a folder at any depth, or one file; the rule is that of `rerank.data.formats`.

    Args:
        source: a path or an address, see `rerank.data.stores`.

    Raises:
        UserError: when there are none, or the bucket can't be read.
    """
    with explaining(source):
        store, path = located(source)
        found = [path] if store.isfile(path) else sorted(store.find(path))
        names = [PurePosixPath(name).relative_to(path) for name in found]
        check_whole(names, source=source)
        paths = [
            name
            for name, place in zip(found, names, strict=True)
            if name == path or (table_suffix(place) == ".parquet" and not is_hidden(place))
        ]
    files = LocalFileSystem() if is_local(source) else PyFileSystem(FSSpecHandler(store))
    if not paths:
        raise UserError(f"{source}: holds no .parquet file: correct the path or address")
    return Files(paths, files, len(found) - len(paths))


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
    """Write the blocks of a Dataset one by one to a parquet file here, and return it for DuckDB to read.

    Raises:
        AssertionError: when the Dataset has not even an empty block.
    """
    writer = None
    for block in dataset.iter_batches(batch_size=None, batch_format="pyarrow"):
        writer = writer or pq.ParquetWriter(file, block.schema, compression="zstd")
        writer.write_table(block.cast(writer.schema))
    assert writer is not None, f"{file.stem}: no blocks"
    writer.close()
    return pa.dataset.dataset(file)
