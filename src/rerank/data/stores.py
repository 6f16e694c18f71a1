"""Files by address: in a local folder, on the web or in a bucket, by one client with one rule for endpoint and keys.

An address is a path, ``https://…``, ``s3://BUCKET/path`` (endpoint and keys from the environment or the AWS profile) or
``remote://NAME/path`` (those of DVC's configuration, see `dvc remote`): what DVC takes for a dependency too. A file
that is not local is read and written as a temporary copy, so that a long job holds no connection open and an object
appears only when it is whole.
"""

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from http import HTTPStatus
from pathlib import Path, PurePosixPath
from typing import IO, Any

from fsspec.callbacks import DEFAULT_CALLBACK, Callback
from fsspec.implementations.local import LocalFileSystem

from rerank.data.formats import check_whole, is_hidden, is_parquet
from rerank.errors import NO_SPACE, UserError
from rerank.files import replacing


def is_local(address: str) -> bool:
    """Whether ``address`` is a path of this machine."""
    return "://" not in address


@cache
def _root(address: str) -> tuple[Any, str]:
    """Return the file system of an address without a path, and what paths there begin with: once, it takes 0.3 s."""
    from dvc.config import Config
    from dvc.fs import parse_external_url

    store, start = parse_external_url(address, config=Config.from_cwd())
    return store.fs, start.rstrip("/")


def located(address: str) -> tuple[Any, str]:
    """Return the fsspec file system of an address, and the path there. Call it within `explaining`."""
    if is_local(address):
        return LocalFileSystem(), str(Path(address).absolute())
    protocol, _, place = address.partition("://")
    root, _, path = place.partition("/")
    store, start = _root(f"{protocol}://{root}")
    store.invalidate_cache()  # files may have come since it was asked last
    return store, f"{start}/{path}" if path else start


@contextmanager
def explaining(address: str) -> Iterator[None]:
    """Turn what a file system raises into one line that names the address and what to check."""
    if is_local(address):
        yield
        return
    from aiohttp import ClientError
    from botocore.exceptions import BotoCoreError, NoCredentialsError
    from dvc.config import RemoteNotFoundError
    from dvc.exceptions import DvcException
    from dvc_objects.fs.errors import AuthError, ConfigError, RemoteMissingDepsError

    try:
        yield
    except RemoteNotFoundError as error:
        raise UserError(f"{address}: {error}: see `dvc remote list`, and add it with `dvc remote add`") from None
    except NoCredentialsError as error:
        raise UserError(
            f"{address}: {error}: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or AWS_PROFILE, or put the keys into "
            ".dvc/config.local with `dvc remote modify --local`"
        ) from None
    except (BotoCoreError, ClientError, DvcException, AuthError, ConfigError, RemoteMissingDepsError, OSError) as error:
        if isinstance(error, OSError) and error.errno in NO_SPACE:
            raise
        # fsspec says "not found" of every failure of a web server, and has the reason as the cause
        cause = error.__cause__ if isinstance(error.__cause__, ClientError) else error
        words = " ".join(str(cause).split()) or type(cause).__name__
        if isinstance(cause, PermissionError):
            raise UserError(f"{address}: access is refused ({words}): check the keys and what they may read") from None
        if isinstance(cause, FileNotFoundError) or getattr(cause, "status", None) == HTTPStatus.NOT_FOUND:
            raise UserError(f"{address}: not found ({words}): correct the address") from None
        raise UserError(f"{address}: can't be reached ({words}): check address, endpoint, keys and network") from None
    except ValueError as error:
        if "Invalid endpoint" not in str(error):
            raise
        raise UserError(f"{address}: {error}: begin endpointurl with https:// in `dvc remote modify`") from None


def is_file(address: str) -> bool:
    """Whether there is a file at ``address``."""
    with explaining(address):
        store, path = located(address)
        return bool(store.isfile(path))


def _version(info: dict[str, Any]) -> str:
    """Return what changes when a file is written again: its ETag, or its size and time."""
    if "ETag" in info:
        return str(info["ETag"])
    time = next((info[name] for name in ("mtime", "LastModified", "Last-Modified") if name in info), None)
    return f"{info.get('size')} bytes at {time}"


def version(address: str) -> str:
    """Return what changes when the file at ``address`` is written again."""
    with explaining(address):
        store, path = located(address)
        return _version(store.info(path))


def _walk(folder: str) -> Iterator[Path]:
    seen = set()
    for here, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(here)
        # A folder that is left out comes last: what a link leads to there is read through the link.
        folders[:] = [] if real in seen else sorted(folders, key=lambda name: (is_hidden(Path(name)), name))
        for name in [] if real in seen else names:
            path = Path(here, name)
            if not path.exists() and not is_hidden(path.relative_to(folder)):
                raise UserError(f"{path}: is a link to nothing: mend or delete it")
            if path.is_file() or path.is_symlink():
                yield path
        seen.add(real)


def names(folder: str) -> list[str]:
    """Return the names of a folder's files, at any depth, sorted: those of linked folders too, each folder once.

    Raises:
        UserError: for a link to nothing, or a bucket that can't be read.
    """
    if is_local(folder):
        return sorted(path.relative_to(folder).as_posix() for path in _walk(folder))
    with explaining(folder):
        store, path = located(folder)
        start = path.rstrip("/") + "/"
        return sorted(name.removeprefix(start) for name in store.find(path) if not name.endswith("/"))


def parquet_files(folder: str) -> tuple[dict[str, str], list[str]]:
    """Return relative name → `version` of the parquet files of ``folder``, see `is_parquet`, and the other names.

    Raises:
        UserError: see `names` and `check_whole`.
    """
    with explaining(folder):
        store, path = located(folder)
        start = path.rstrip("/") + "/"
        if is_local(folder):
            found = {name: store.info(start + name) for name in names(folder)}
        else:
            found = {name.removeprefix(start): info for name, info in sorted(store.find(start, detail=True).items())}
    check_whole(map(PurePosixPath, found), source=folder)
    files = {name: _version(info) for name, info in found.items() if is_parquet(PurePosixPath(name))}
    return files, [name for name in found if name not in files]


def download(address: str, places: Mapping[str, Path], *, callback: Callback = DEFAULT_CALLBACK) -> None:
    """Copy files of one address, each whole and all as they were when it began. Call it within `explaining`.

    A transfer that is cut goes on where it was, so that a file that is written again meanwhile would become half of
    each; and of a body without a length the end may be missing.

    Args:
        address: of the file or the folder.
        places: path in the file system of `located` → the file to write.

    Raises:
        UserError: when a file is not the same after it was read, or came with another number of bytes.
    """

    def known() -> dict[str, tuple[str, int | None]]:
        store, path = located(address)
        found = {path: store.info(path)} if path in places else store.find(path, detail=True)
        return {name: (_version(info), info.get("size")) for name, info in found.items()}

    store, _ = located(address)
    before = known()
    for path, place in places.items():
        store.get_file(path, str(place), callback=callback)
    after = known()
    for path, place in places.items():
        if path not in before or before[path] != after.get(path):
            raise UserError(f"{address}: {path} was written again while it was read: run it again when it is whole")
        size, came = before[path][1], place.stat().st_size
        if size is not None and came != size:
            raise UserError(f"{address}: {path} came with {came:,} of {size:,} bytes: check the network, run it again")


@contextmanager
def opened(address: str) -> Iterator[IO[bytes]]:
    """Open the file at ``address`` for reading a few bytes, such as a parquet file's footer."""
    with explaining(address):
        store, path = located(address)
        options = {} if is_local(address) else {"cache_type": "none"}
        with store.open(path, "rb", **options) as stream:
            yield stream


@contextmanager
def copied(address: str) -> Iterator[Path]:
    """Yield the path of the file at ``address``; one that is not local is a copy that is deleted afterwards."""
    if is_local(address):
        yield Path(address)
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "part.parquet"
        with explaining(address):
            _, path = located(address)
            download(address, {path: copy})
        yield copy


@contextmanager
def written(address: str) -> Iterator[Path]:
    """Yield a free path for what ``address`` becomes on success; on failure ``address`` stays as it was."""
    if is_local(address):
        with replacing(Path(address)) as partial:
            yield partial
        return
    with tempfile.TemporaryDirectory() as folder:
        partial = Path(folder) / "part.parquet"
        yield partial
        with explaining(address):
            store, path = located(address)
            store.put_file(str(partial), path)
