"""Unpack what came from elsewhere and is not trusted.

No name leads out of the folder, nothing writes more bytes than the limit, links are refused, and only tables stay.
"""

import gzip
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import compress
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, Any

from fsspec.callbacks import Callback
from tqdm import tqdm

from rerank.data.formats import FORMATS, is_hidden, table_suffix, wanted
from rerank.errors import UserError

CHUNK = 2**20
# What a broken archive raises; RuntimeError is zipfile's for a password, and its NotImplementedError, which is one too,
# for an unknown compression.
DAMAGED = (
    zipfile.BadZipFile,
    tarfile.TarError,
    gzip.BadGzipFile,
    zlib.error,
    EOFError,
    RuntimeError,
)


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


class Metered:
    """A stream that only reads, and counts on a meter what it gives."""

    def __init__(self, stream: IO[bytes] | gzip.GzipFile, meter: Meter) -> None:
        self._stream = stream
        self._meter = meter

    def read(self, size: int = CHUNK) -> bytes:
        """Return at most ``size`` bytes, and none at the end."""
        chunk = self._stream.read(size)
        self._meter.relative_update(len(chunk))
        return chunk


def write(stream: IO[bytes] | Metered, path: Path) -> None:
    """Write the rest of ``stream`` to the new file ``path``; FileExistsError when there is one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as file:
        shutil.copyfileobj(stream, file, CHUNK)


def _inside(source: str, name: str) -> PurePosixPath:
    """Return where the source's file ``name`` goes below the target."""
    path = PureWindowsPath(name)  # knows / and \, drives and network shares
    if path.anchor or ".." in path.parts:
        raise UserError(f"{source}: holds the path {name!r}, which leads outside the target: get a clean copy")
    return PurePosixPath(*path.parts)


def places(source: str, names: Sequence[str], *, up_to: int) -> list[PurePosixPath | None]:
    """Return where each of the source's files goes below the target, None for one that is left out.

    Raises:
        UserError: for a path that leads outside, two files of one place, and see `rerank.data.formats.wanted`.
    """
    return wanted([_inside(source, name) for name in names], source=source, up_to=up_to)


def _left_out(names: Sequence[str], found: Sequence[PurePosixPath | None]) -> list[str]:
    return [name for name, place in zip(names, found, strict=True) if place is None]


def _unzip(archive: Path, target: Path, *, source: str, max_bytes: int, up_to: int) -> list[str]:
    with zipfile.ZipFile(archive) as packed:
        files = [info for info in packed.infolist() if not info.is_dir()]
        for info in files:
            if stat.S_ISLNK(info.external_attr >> 16):
                raise UserError(f"{source}: {info.filename!r} is a link to another file: pack the file itself")
        names = [info.filename for info in files]
        found = places(source, names, up_to=up_to)
        kept = [(info, place) for info, place in zip(files, found, strict=True) if place]
        size = sum(info.file_size for info, _ in kept)
        with Meter(source, "unpacking", size=size, max_bytes=max_bytes) as meter:
            for info, place in kept:
                with packed.open(info) as stream, _naming(source, info.filename):
                    write(Metered(stream, meter), target / place)
    return _left_out(names, found)


def _untar(archive: Path, target: Path, *, source: str, max_bytes: int, up_to: int) -> list[str]:
    """Read the stream once, so that the limit holds for all that the gzip gives; which files to keep is known last."""
    names, written = [], []
    with gzip.open(archive) as stream, Meter(source, "unpacking", size=None, max_bytes=max_bytes) as meter:
        metered = Metered(stream, meter)
        with tarfile.open(fileobj=metered, mode="r|") as packed:  # type: ignore[call-overload]  # it only calls read
            for info in packed:
                place = _inside(source, info.name)
                if info.issym() or info.islnk() or info.issparse():
                    raise UserError(f"{source}: {info.name!r} is a link or has holes: pack the file itself")
                content = packed.extractfile(info)
                if content is None:
                    continue
                names.append(info.name)
                written.append(not is_hidden(place) and table_suffix(place) in FORMATS)
                if written[-1]:
                    with _naming(source, info.name):
                        write(content, target / place)
        while metered.read():  # the checksum stands at the end
            pass
    found = places(source, names, up_to=up_to)
    for name, kept in zip(compress(names, written), compress(found, written), strict=True):
        old = target / _inside(source, name)
        if kept is None:
            old.unlink()
        elif target / kept != old:
            with _naming(source, name):
                rename(old, target / kept)
    return _left_out(names, found)


def rename(old: Path, new: Path) -> None:
    """Rename a file; FileExistsError when there is one of the new name."""
    if new.exists():
        raise FileExistsError(new)
    old.rename(new)


@contextmanager
def _naming(source: str, name: str) -> Iterator[None]:
    """Name the archive's file that has the place of an earlier one."""
    try:
        yield
    except (FileExistsError, NotADirectoryError):
        raise UserError(f"{source}: holds {name!r} more than once: pack each file once") from None


@contextmanager
def _explaining(source: str, noun: str) -> Iterator[None]:
    try:
        yield
    except DAMAGED as error:
        raise UserError(f"{source}: the {noun} can't be unpacked ({error}): download or pack it again") from None


def unzip(archive: Path, target: Path, *, source: str, max_bytes: int, up_to: int) -> list[str]:
    """Unpack the tables of a zip into the existing folder ``target``, with their paths; return the names left out.

    Raises:
        UserError: for a damaged or encrypted archive, more than ``max_bytes`` in all, a link, a path that leads
            outside, or two files of one name.
    """
    with _explaining(source, "zip"):
        return _unzip(archive, target, source=source, max_bytes=max_bytes, up_to=up_to)


def untar(archive: Path, target: Path, *, source: str, max_bytes: int, up_to: int) -> list[str]:
    """Unpack the tables of a gzipped tar into the existing folder ``target``, as `unzip` does.

    Raises:
        UserError: as `unzip`; ``max_bytes`` limits the whole tar.
    """
    with _explaining(source, "tar.gz"):
        return _untar(archive, target, source=source, max_bytes=max_bytes, up_to=up_to)


def gunzip(packed: Path, unpacked: Path, *, source: str, meter: Meter) -> None:
    """Unpack a gzipped file to the new file ``unpacked``.

    Raises:
        UserError: for a damaged file, one that is there already, or more than the meter's limit.
    """
    with _explaining(source, "gz"), gzip.open(packed) as stream, _naming(source, unpacked.name):
        write(Metered(stream, meter), unpacked)


def is_tar(packed: Path) -> bool:
    """Return whether a gzipped file begins as a tar does, or with a tar's end: an empty one."""
    try:
        with gzip.open(packed) as stream:
            tarfile.TarInfo.frombuf(stream.read(tarfile.BLOCKSIZE), tarfile.ENCODING, "surrogateescape")
    except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
        return True
    except DAMAGED:
        return False
    return True
