"""Fetch the source of the pairs into a folder of tables: from a path, the web or a bucket, unpacked.

What comes from elsewhere is not trusted: see `rerank.data.archives`.
"""

from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from rerank.data.archives import Meter, Metered, gunzip, is_tar, places, untar, unzip, write
from rerank.data.formats import FORMATS, table_suffix
from rerank.data.stores import explaining, is_local, located
from rerank.errors import UserError

# A lone file always gets this name and the suffix of its kind, so that moving or packing the source re-runs nothing
# after `pull`.
LONE_FILE = "pairs"


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


def _unpack(file: Path, target: Path, *, source: str, max_bytes: int) -> bool:
    """Unpack a lone file into ``target``; return False for one that is not packed."""
    start = _start(file)
    if start in (b"PK\3\4", b"PK\5\6"):
        unzip(file, target, source=source, max_bytes=max_bytes)
    elif not start.startswith(b"\x1f\x8b"):
        return False
    elif is_tar(file):
        untar(file, target, source=source, max_bytes=max_bytes)
    else:
        unpacked = target / ".unpacked"
        with Meter(source, "unpacking", size=None, max_bytes=max_bytes) as meter:
            gunzip(file, unpacked, source=source, meter=meter)
        unpacked.rename(target / _lone_name(unpacked, source))
    return True


def _copy(source: str, target: Path, *, max_bytes: int) -> None:
    origin = Path(source)
    if origin.is_dir():
        files = [path for path in sorted(origin.rglob("*")) if path.is_file()]
        found = places(source, [path.relative_to(origin).as_posix() for path in files])
        wanted = [(path, place) for path, place in zip(files, found, strict=True) if place]
    elif not origin.is_file():
        raise UserError(f"{source}: no such file or folder: correct `source` in params.yaml")
    elif _unpack(origin, target, source=source, max_bytes=max_bytes):
        return
    else:
        wanted = [(origin, PurePosixPath(_lone_name(origin, source)))]
    with Meter(source, "copying", size=sum(path.stat().st_size for path, _ in wanted), max_bytes=max_bytes) as meter:
        for path, place in wanted:
            with path.open("rb") as stream:
                write(Metered(stream, meter), target / place)


def _download(source: str, target: Path, *, max_bytes: int) -> None:
    with explaining(source):
        store, path = located(source)
        info = store.info(path)
        if info["type"] == "directory":
            names = sorted(name for name in store.find(path) if not name.endswith("/"))
            found = places(source, [name.removeprefix(path.rstrip("/") + "/") for name in names])
            files = [(name, target / place) for name, place in zip(names, found, strict=True) if place]
            size = sum(store.size(name) or 0 for name, _ in files)
        else:
            files = [(path, target / ".download")]
            size = info.get("size")
        with Meter(source, "downloading", size=size, max_bytes=max_bytes) as meter:
            for name, place in files:
                place.parent.mkdir(parents=True, exist_ok=True)
                store.get_file(name, str(place), callback=meter)
    if info["type"] != "directory":
        file = target / ".download"
        if _unpack(file, target, source=source, max_bytes=max_bytes):
            file.unlink()
        else:
            file.rename(target / _lone_name(file, source))


def fetch(source: str, target: Path, *, max_bytes: int) -> int:
    """Create the folder ``target`` with the tables of ``source`` and return how many; a failure may leave some.

    Args:
        source: a .parquet file, another table (.csv, .tsv, .json, .jsonl, or .txt for a judgment list), either of them
            gzipped, a folder of them, or a zip or tar.gz of these: a path, or an address that DVC can read (https://,
            s3://, remote://NAME/path). What a lone file is decides its content, and its name only where that can't.
            Of a folder or an archive stay only the kinds that `rerank.data.formats` prefers.
        target: folder to create; nothing in it is packed.
        max_bytes: neither the source nor what it unpacks to may be larger.

    Raises:
        UserError: when the source is missing, refused, unreachable, damaged, hostile or too large.
    """
    target.mkdir()
    transfer = _copy if is_local(source) else _download
    transfer(source, target, max_bytes=max_bytes)
    if packed := sorted(target.rglob("*.gz")):
        with Meter(source, "unpacking", size=None, max_bytes=max_bytes) as meter:
            for path in packed:
                gunzip(path, path.with_suffix(""), source=f"{source}: {path.relative_to(target)}", meter=meter)
                path.unlink()
    if not (files := sum(path.is_file() for path in target.rglob("*"))):
        suffixes = ", ".join(FORMATS)
        raise UserError(f"{source}: holds no table ({suffixes}): write one there, or correct `source` in params.yaml")
    return files
