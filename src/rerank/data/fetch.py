"""Fetch the source of the pairs into a folder of tables: from a path, the web or a bucket, unpacked.

What comes from elsewhere is not trusted: see `rerank.data.archives`.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from rerank.data.archives import Meter, Metered, gunzip, is_tar, places, rename, untar, unzip, write
from rerank.data.formats import FORMATS, LEFT_OUT, table_suffix, told
from rerank.data.stores import download, explaining, is_local, located, names
from rerank.errors import UserError

# A lone file always gets this name and the suffix of its kind, so that moving or packing the source re-runs nothing
# after `pull`.
LONE_FILE = "pairs"


@dataclass(frozen=True)
class Fetched:
    """What came of a source: how many tables, and the names of the files that are none or are left out by rule."""

    tables: int
    left_out: list[str]

    def words(self, source: str) -> str:
        """Return it in one line."""
        line = f"{self.tables:,} table{'s' if self.tables > 1 else ''} from {source}"
        return f"{line}; {told(self.left_out)}" if self.left_out else line


def _start(file: Path) -> bytes:
    with file.open("rb") as stream:
        return stream.read(4)


def _lone_name(file: Path, source: str) -> str:
    """Return what a lone, unpacked file is called: its content tells its kind, or else the source's name does."""
    start = _start(file)
    if start == b"PAR1":
        return f"{LONE_FILE}.parquet"
    name = urlsplit(source).path if "://" in source else source
    suffix = table_suffix(PurePosixPath(name))
    tables = [table for table in FORMATS if table != ".parquet"]
    if suffix not in tables:
        raise UserError(
            f"{source}: begins with {start!r}, so it is neither a parquet file nor an archive, and its name does not "
            f"end like another table's ({', '.join(tables)}): write it again"
        )
    return f"{LONE_FILE}{suffix}"


def _is_gzip(file: Path) -> bool:
    return _start(file).startswith(b"\x1f\x8b")


def _unpack(file: Path, target: Path, *, source: str, max_bytes: int, up_to: int) -> list[str] | None:
    """Unpack a lone file into ``target`` and return the names left out; None for one that is not packed."""
    if _start(file) in (b"PK\3\4", b"PK\5\6"):
        return unzip(file, target, source=source, max_bytes=max_bytes, up_to=up_to)
    if not _is_gzip(file):
        return None
    if is_tar(file):
        return untar(file, target, source=source, max_bytes=max_bytes, up_to=up_to)
    unpacked = target / ".unpacked"
    with Meter(source, "unpacking", size=None, max_bytes=max_bytes) as meter:
        gunzip(file, unpacked, source=source, meter=meter)
    unpacked.rename(target / _lone_name(unpacked, source))
    return []


def _places(source: str, *, up_to: int) -> dict[str, PurePosixPath | None]:
    """Return where each file of a folder goes below the target, None for one that is left out."""
    found = names(source)
    return dict(zip(found, places(source, found, up_to=up_to), strict=True))


def _copy(source: str, target: Path, *, max_bytes: int, up_to: int) -> list[str]:
    origin = Path(source)
    if origin.is_dir():
        found = _places(source, up_to=up_to)
        kept = [(origin / name, place) for name, place in found.items() if place]
        others = [name for name, place in found.items() if not place]
    elif not origin.is_file():
        raise UserError(f"{source}: no such file or folder: correct `source` in params.yaml")
    elif (unpacked := _unpack(origin, target, source=source, max_bytes=max_bytes, up_to=up_to)) is not None:
        return unpacked
    else:
        kept, others = [(origin, PurePosixPath(_lone_name(origin, source)))], []
    with Meter(source, "copying", size=sum(path.stat().st_size for path, _ in kept), max_bytes=max_bytes) as meter:
        for path, place in kept:
            with path.open("rb") as stream, _once(source, path):
                write(Metered(stream, meter), target / place)
    return others


@contextmanager
def _once(source: str, name: object) -> Iterator[None]:
    try:
        yield
    except FileExistsError:
        raise UserError(f"{source}: {name} has the place of another file, but for its ending: rename one") from None


def _download(source: str, target: Path, *, max_bytes: int, up_to: int) -> list[str]:
    others: list[str] = []
    with explaining(source):
        store, path = located(source)
        info = store.info(path)
        if info["type"] == "directory":
            found, start = _places(source, up_to=up_to), path.rstrip("/")
            files = {f"{start}/{name}": target / place for name, place in found.items() if place}
            others = [name for name, place in found.items() if not place]
            size = sum(store.size(name) or 0 for name in files)
        else:
            files = {path: target / ".download"}
            size = info.get("size")
        taken: set[Path] = set()
        for name, place in files.items():
            if place in taken:
                raise UserError(f"{source}: {name} has the place of another file, but for its ending: rename one")
            taken.add(place)
            place.parent.mkdir(parents=True, exist_ok=True)
        with Meter(source, "downloading", size=size, max_bytes=max_bytes) as meter:
            download(source, files, callback=meter)
    if info["type"] == "directory":
        return others
    file = target / ".download"
    unpacked = _unpack(file, target, source=source, max_bytes=max_bytes, up_to=up_to)
    if unpacked is not None:
        file.unlink()
        return unpacked
    file.rename(target / _lone_name(file, source))
    return []


def _settle(target: Path, *, source: str, max_bytes: int) -> int:
    """Unpack what is gzipped and let every file end like what it is; return how many files there are."""
    files = sorted(path for path in target.rglob("*") if path.is_file())
    if packed := [path for path in files if _is_gzip(path)]:
        with Meter(source, "unpacking", size=None, max_bytes=max_bytes) as meter:
            for path in packed:
                partial = path.with_name(f".{path.name}")
                gunzip(path, partial, source=f"{source}: {path.relative_to(target)}", meter=meter)
                partial.replace(path)
    for path in files:
        place = path.with_suffix("") if path.suffix == ".gz" else path
        if _start(path) == b"PAR1":
            place = place.with_suffix(".parquet")
        if place != path:
            with _once(source, path.name):
                rename(path, place)
    return len(files)


def fetch(source: str, target: Path, *, max_bytes: int, up_to: int = 0) -> Fetched:
    """Create the folder ``target`` with the tables of ``source``; a failure may leave some.

    Args:
        source: a .parquet file, another table (.csv, .tsv, .json, .jsonl, or .txt for a judgment list), either of them
            gzipped, a folder of them, or a zip or tar.gz of these: a path, or an address that DVC can read (https://,
            s3://, remote://NAME/path). What a lone file is decides its content, and its name only where that can't.
            Of a folder or an archive stay the files that `rerank.data.formats` wants, each named by what it holds; the
            names of the others are in the file `LEFT_OUT`.
        target: folder to create; nothing in it is packed.
        max_bytes: neither the source nor what it unpacks to may be larger.
        up_to: see `rerank.data.formats.wanted`.

    Raises:
        UserError: when the source is missing, refused, unreachable, damaged, hostile or too large.
    """
    target.mkdir()
    transfer = _copy if is_local(source) else _download
    others = transfer(source, target, max_bytes=max_bytes, up_to=up_to)
    tables = _settle(target, source=source, max_bytes=max_bytes)
    if not tables:
        suffixes = ", ".join(FORMATS)
        raise UserError(f"{source}: holds no table ({suffixes}): write one there, or correct `source` in params.yaml")
    if others:
        (target / LEFT_OUT).write_text(json.dumps(sorted(others), indent=2) + "\n")
    return Fetched(tables, sorted(others))
