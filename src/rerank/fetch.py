"""Fetch the source of the pairs into a folder of parquet files: from a path, the web or a bucket, unpacked.

What comes from elsewhere is not trusted: no name leads out of the folder, no transfer writes more bytes than the
limit, and only .parquet files stay. Addresses go through DVC's own file systems, so that ``remote://NAME/path``,
endpoints and keys are those that DVC has for the dependency ``source``.
"""

import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, Any

from fsspec.callbacks import Callback
from tqdm import tqdm

from rerank.errors import NO_SPACE, UserError

CHUNK = 2**20
# A lone file always gets this name, so that moving or packing the source re-runs nothing after `pull`.
LONE_FILE = "pairs.parquet"
# What zipfile raises for a broken archive; the last two are a password and an unknown compression.
DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError)


class Meter(Callback):
    """Counts the bytes of one transfer, moves its progress bar, and stops it (UserError) at the limit."""

    def __init__(self, source: str, verb: str, *, size: int | None, max_bytes: int) -> None:
        super().__init__(size=size)
        self._source = source
        self._max_bytes = max_bytes
        self._bar = tqdm(desc=f"{verb} {source}", total=size, unit="B", unit_scale=True, disable=None)
        self.call()

    def set_size(self, size: int | None) -> None:
        """Take over the size that a server reports when none is known yet."""
        if self.size is None:
            super().set_size(size)

    def call(self, hook_name: str | None = None, **kwargs: Any) -> None:
        """Check the limit and draw the bar; every update of a callback ends here."""
        if max(self.value, self.size or 0) > self._max_bytes:
            raise UserError(
                f"{self._source}: is larger than max_source_gb ({self._max_bytes / 1e9:g}): raise it in params.yaml "
                "if the source is right"
            )
        self._bar.total = self.size
        self._bar.update(self.value - self._bar.n)

    def close(self) -> None:
        """Leave the bar as it is."""
        self._bar.close()


def _inside(source: str, name: str) -> PurePosixPath | None:
    """Return where the source's file ``name`` goes below the target, None for one that is not wanted."""
    path = PureWindowsPath(name)  # knows / and \, drives and network shares
    if path.anchor or ".." in path.parts:
        raise UserError(f"{source}: holds the path {name!r}, which leads outside the target: get a clean copy")
    if path.suffix != ".parquet" or any(part.startswith((".", "__MACOSX")) for part in path.parts):
        return None
    return PurePosixPath(*path.parts)


def _write(stream: IO[bytes], path: Path, meter: Meter) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as file:
        while chunk := stream.read(CHUNK):
            meter.relative_update(len(chunk))
            file.write(chunk)


def _is_zip(path: Path, source: str) -> bool:
    with path.open("rb") as file:
        start = file.read(4)
    if start not in (b"PAR1", b"PK\3\4", b"PK\5\6"):
        raise UserError(f"{source}: begins with {start!r}, so it is neither a parquet file nor a zip: write it again")
    return start != b"PAR1"


def unpack(archive: Path, target: Path, *, source: str, max_bytes: int) -> None:
    """Unpack the parquet files of a zip into the existing folder ``target``, with their paths.

    Raises:
        UserError: for a damaged or encrypted archive, one without parquet files, more than ``max_bytes`` in all, a
            link, a path that leads outside, or two files of one name.
    """
    name = ""
    try:
        with zipfile.ZipFile(archive) as packed:
            wanted = []
            for info in packed.infolist():
                name = info.filename
                place = _inside(source, name)
                if stat.S_ISLNK(info.external_attr >> 16):
                    raise UserError(f"{source}: {name!r} is a link to another file: pack the file itself")
                if place and not info.is_dir():
                    wanted.append((info, place))
            size = sum(info.file_size for info, _ in wanted)
            with Meter(source, "unpacking", size=size, max_bytes=max_bytes) as meter:
                for info, place in wanted:
                    name = info.filename
                    with packed.open(info) as stream:
                        _write(stream, target / place, meter)
    except DAMAGED as error:
        raise UserError(f"{source}: the zip can't be unpacked ({error}): download or pack it again") from None
    except (FileExistsError, NotADirectoryError):
        raise UserError(f"{source}: holds {name!r} more than once: pack each file once") from None


def _keep(file: Path, target: Path, *, source: str, max_bytes: int) -> None:
    """Turn a downloaded file in ``target`` into parquet files there."""
    if _is_zip(file, source):
        unpack(file, target, source=source, max_bytes=max_bytes)
        file.unlink()
    else:
        file.rename(target / LONE_FILE)


def _copy(source: str, target: Path, *, max_bytes: int) -> None:
    origin = Path(source)
    if origin.is_dir():
        files = [path for path in sorted(origin.rglob("*.parquet")) if path.is_file()]
        places = [(path, _inside(source, path.relative_to(origin).as_posix())) for path in files]
    elif not origin.is_file():
        raise UserError(f"{source}: no such file or folder: correct `source` in params.yaml")
    elif _is_zip(origin, source):
        return unpack(origin, target, source=source, max_bytes=max_bytes)
    else:
        places = [(origin, PurePosixPath(LONE_FILE))]
    with Meter(source, "copying", size=sum(path.stat().st_size for path, _ in places), max_bytes=max_bytes) as meter:
        for path, place in places:
            if place:
                with path.open("rb") as stream:
                    _write(stream, target / place, meter)


@contextmanager
def _explaining(source: str) -> Iterator[None]:
    """Turn what DVC's file systems raise for a source that can't be had into one line that names it."""
    from aiohttp import ClientError
    from botocore.exceptions import BotoCoreError, NoCredentialsError
    from dvc.config import RemoteNotFoundError
    from dvc.exceptions import DvcException
    from dvc_objects.fs.errors import AuthError, ConfigError, RemoteMissingDepsError

    try:
        yield
    except RemoteNotFoundError as error:
        raise UserError(f"{source}: {error}: see `dvc remote list`, and add it with `dvc remote add`") from None
    except NoCredentialsError as error:
        raise UserError(
            f"{source}: {error}: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or AWS_PROFILE, or put the keys into "
            ".dvc/config.local with `dvc remote modify --local`"
        ) from None
    except (BotoCoreError, ClientError, DvcException, AuthError, ConfigError, RemoteMissingDepsError, OSError) as error:
        if isinstance(error, OSError) and error.errno in NO_SPACE:
            raise
        # fsspec says "not found" of every failure of a web server, and has the reason as the cause
        cause = error.__cause__ if isinstance(error.__cause__, ClientError) else error
        words = " ".join(str(cause).split()) or type(cause).__name__
        if isinstance(cause, PermissionError):
            raise UserError(f"{source}: access is refused ({words}): check the keys and what they may read") from None
        if isinstance(cause, FileNotFoundError):
            raise UserError(f"{source}: not found ({words}): correct the bucket or path in `source`") from None
        raise UserError(f"{source}: can't be fetched ({words}): check address, endpoint, keys and network") from None
    except ValueError as error:
        if "Invalid endpoint" not in str(error):
            raise
        raise UserError(f"{source}: {error}: begin endpointurl with https:// in `dvc remote modify`") from None


def _download(source: str, target: Path, *, max_bytes: int) -> None:
    from dvc.config import Config
    from dvc.fs import parse_external_url

    with _explaining(source):
        fs, path = parse_external_url(source, config=Config.from_cwd())
        info = fs.info(path)
        if info["type"] == "directory":
            names = sorted(name for name in fs.find(path) if not name.endswith("/"))
            found = [(name, _inside(source, "/".join(fs.relparts(name, path)))) for name in names]
            files = [(name, target / place) for name, place in found if place]
            size = sum(fs.size(name) or 0 for name, _ in files)
        else:
            files = [(path, target / ".download")]
            size = info.get("size")
        with Meter(source, "downloading", size=size, max_bytes=max_bytes) as meter:
            for name, place in files:
                place.parent.mkdir(parents=True, exist_ok=True)
                fs.get_file(name, str(place), callback=meter)
    if info["type"] != "directory":
        _keep(target / ".download", target, source=source, max_bytes=max_bytes)


def fetch(source: str, target: Path, *, max_bytes: int) -> None:
    """Create the folder ``target`` with the parquet files of ``source``; on failure it may be left half-written.

    Args:
        source: a .parquet file, a folder of them or a zip of either: a path, or an address that DVC can read
            (https://, s3://, remote://NAME/path). What a file is decides its content, not its name.
        target: folder to create.
        max_bytes: neither the source nor what it unpacks to may be larger.

    Raises:
        UserError: when the source is missing, refused, unreachable, damaged, hostile or too large.
    """
    target.mkdir()
    transfer = _download if "://" in source else _copy
    transfer(source, target, max_bytes=max_bytes)
    if not any(target.rglob("*.parquet")):
        raise UserError(f"{source}: holds no .parquet file: write one there, or correct `source` in params.yaml")
