"""Parquet files by address, in a local folder or in a bucket: which there are, and reading and writing one.

A file of a bucket (``s3://BUCKET/path``) is read and written as a temporary local copy, so that a long job holds no
connection open and an object appears only when it is whole. Endpoint and keys come from the environment.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from rerank.errors import NO_SPACE, UserError
from rerank.files import replacing

BUCKET = "s3://"


def in_bucket(address: str) -> bool:
    """Whether ``address`` is an object or a folder of a bucket."""
    return address.startswith(BUCKET)


def _bucket() -> Any:
    from s3fs import S3FileSystem

    return S3FileSystem(use_listings_cache=False)


@contextmanager
def _explaining(address: str) -> Iterator[None]:
    """Turn what a bucket's file system raises into one line that names the address."""
    from botocore.exceptions import BotoCoreError

    try:
        yield
    except (BotoCoreError, OSError) as error:
        if isinstance(error, OSError) and error.errno in NO_SPACE:
            raise
        words = " ".join(str(error).split()) or type(error).__name__
        raise UserError(
            f"{address}: can't be reached ({words}): check the address, AWS_ENDPOINT_URL and its keys"
        ) from None


def is_file(address: str) -> bool:
    """Whether there is a file at ``address``."""
    if not in_bucket(address):
        return Path(address).is_file()
    with _explaining(address):
        return bool(_bucket().isfile(address))


def version(address: str) -> str:
    """Return what changes when the file at ``address`` is written again: its ETag, or its size and time."""
    if in_bucket(address):
        with _explaining(address):
            return str(_bucket().info(address)["ETag"])
    found = Path(address).stat()
    return f"{found.st_size} bytes at {found.st_mtime_ns}"


def parquet_files(folder: str) -> dict[str, str]:
    """Return relative name → `version` of the .parquet files of ``folder``, at any depth, sorted by name."""
    if not in_bucket(folder):
        paths = sorted(path for path in Path(folder).rglob("*.parquet") if path.is_file())
        return {path.relative_to(folder).as_posix(): version(str(path)) for path in paths}
    start = folder.removeprefix(BUCKET).rstrip("/") + "/"
    with _explaining(folder):
        found = _bucket().find(start, detail=True)
    return {path.removeprefix(start): str(found[path]["ETag"]) for path in sorted(found) if path.endswith(".parquet")}


@contextmanager
def opened(address: str) -> Iterator[IO[bytes]]:
    """Open the file at ``address`` for reading a few bytes, such as a parquet file's footer."""
    if not in_bucket(address):
        with Path(address).open("rb") as stream:
            yield stream
        return
    with _explaining(address), _bucket().open(address, "rb", cache_type="none") as stream:
        yield stream


@contextmanager
def copied(address: str) -> Iterator[Path]:
    """Yield the path of the file at ``address``; a bucket's is a copy that is deleted afterwards."""
    if not in_bucket(address):
        yield Path(address)
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "part.parquet"
        with _explaining(address):
            _bucket().get_file(address, str(copy))
        yield copy


@contextmanager
def written(address: str) -> Iterator[Path]:
    """Yield a free path for what ``address`` becomes on success; on failure ``address`` stays as it was."""
    if not in_bucket(address):
        with replacing(Path(address)) as partial:
            yield partial
        return
    with tempfile.TemporaryDirectory() as folder:
        partial = Path(folder) / "part.parquet"
        yield partial
        with _explaining(address):
            _bucket().put_file(str(partial), address)
