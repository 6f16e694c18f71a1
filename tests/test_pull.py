"""Every kind of source gives the same pairs, and every bad one a line, an exit code and nothing half-written."""

import gzip
import io
import json
import os
import pty
import resource
import shutil
import stat
import struct
import subprocess
import sys
import tarfile
import tempfile
import termios
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import duckdb
import pandas as pd
import pull_project
import pytest
from checkout import set_params
from fsspec.implementations.http import DEFAULT_BLOCK_SIZE
from hypothesis import given
from hypothesis import strategies as st

from rerank.data.fetch import fetch
from rerank.data.formats import LEFT_OUT, left_out
from rerank.data.pairs import COLUMNS, SourceColumns, read
from rerank.errors import UserError
from stages import convert, pull

LIMIT = 1_000_000


def parquet() -> bytes:
    stream = io.BytesIO()
    pull_project.pairs().to_parquet(stream)
    return stream.getvalue()


def write_zip(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def write_tar(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


WRITERS = {"zip": write_zip, "tar.gz": write_tar}


def fails(source: Path | str, target: Path, message: str, *, limit: int = LIMIT) -> None:
    """Expect the one-line error ``message`` from fetching ``source``, which it names."""
    with pytest.raises(UserError, match=message) as caught:
        fetch(str(source), target, max_bytes=limit)
    assert str(caught.value).startswith(f"{source}: ")
    assert "\n" not in str(caught.value)


@contextmanager
def serving(handler: object) -> Iterator[str]:
    """Run a web server on this machine and give its address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:  # type: ignore[arg-type]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class Quiet(SimpleHTTPRequestHandler):
    """Serves a folder and says nothing."""

    def log_message(self, *args: object) -> None: ...


class Endless(BaseHTTPRequestHandler):
    """Sends a zip's first bytes and then zeros for ever, without saying how many."""

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.end_headers()

    def do_GET(self) -> None:
        self.do_HEAD()
        try:
            self.wfile.write(b"PK\3\4")
            while True:
                self.wfile.write(bytes(100_000))
        except OSError:
            self.close_connection = True

    def log_message(self, *args: object) -> None: ...


class Replaced(Endless):
    """Serves a table that is written again as soon as it is asked for."""

    asked = 0

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(parquet())))
        self.send_header("ETag", f'"{type(self).asked}"')
        self.end_headers()

    def do_GET(self) -> None:
        self.do_HEAD()
        type(self).asked += 1
        self.wfile.write(parquet())


class Cut(Endless):
    """Says how long its table is, and sends less without saying so."""

    def do_HEAD(self, length: bool = True) -> None:
        self.send_response(200)
        if length:
            self.send_header("Content-Length", "1000")
        self.end_headers()

    def do_GET(self) -> None:
        self.do_HEAD(length=False)
        self.wfile.write(b"user_id\n" * 100)
        self.close_connection = True


@pytest.mark.parametrize(
    ("handler", "words"),
    [(Replaced, "was written again while it was read: run it again"), (Cut, "came with 800 of 1,000 bytes")],
)
def test_a_download_that_is_not_one_whole_version_is_refused(tmp_path: Path, handler: type, words: str) -> None:
    with serving(handler) as address:
        fails(f"{address}/pairs.csv", tmp_path / "raw", words)


@pytest.mark.parametrize(
    "kind",
    [
        "file",
        "name without suffix",
        "gzipped file",
        "folder",
        "zip",
        "zip of a folder named .parquet",
        "tar.gz",
        "web file",
        "web zip",
        "web tar.gz",
    ],
)
def test_every_kind_of_source_gives_the_same_pairs(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "in put"
    parts = folder / "training_pairs.parquet"
    parts.mkdir(parents=True)
    (folder / "pairs.parquet").write_bytes(parquet())
    (folder / "pairs").write_bytes(parquet())
    (parts / "part.0.parquet").write_bytes(parquet())
    write_zip(folder / "pairs.zip", {"pairs.parquet": parquet()})
    write_zip(
        folder / "parts.zip", {"training_pairs.parquet/": b"", "training_pairs.parquet/part.0.parquet": parquet()}
    )
    (folder / "pairs.gz").write_bytes(gzip.compress(parquet()))
    write_tar(folder / "parts.tgz", {"./training_pairs.parquet/part.0.parquet": parquet()})
    with serving(partial(Quiet, directory=folder)) as address:
        source = {
            "file": folder / "pairs.parquet",
            "gzipped file": folder / "pairs.gz",
            "tar.gz": folder / "parts.tgz",
            "web tar.gz": f"{address}/parts.tgz",
            "name without suffix": folder / "pairs",
            "folder": parts,
            "zip": folder / "pairs.zip",
            "zip of a folder named .parquet": folder / "parts.zip",
            "web file": f"{address}/pairs.parquet",
            "web zip": f"{address}/parts.zip?download=1",
        }[kind]
        fetch(str(source), tmp_path / "raw", max_bytes=LIMIT)
    assert all(name.endswith(".parquet") for name in pull_project.contents(tmp_path / "raw"))
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "raw"), pull_project.pairs())


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".json", ".jsonl", ".txt"])
def test_a_lone_table_gets_the_same_name_however_it_is_called_or_packed(tmp_path: Path, suffix: str) -> None:
    folder = tmp_path / "in put"
    folder.mkdir()
    (folder / f"my table{suffix}").write_bytes(b"a\n1\n")
    (folder / f"my table{suffix}.gz").write_bytes(gzip.compress(b"a\n1\n"))
    with serving(partial(Quiet, directory=folder)) as address:
        sources = [folder / f"my table{suffix}", folder / f"my table{suffix}.gz"]
        sources += [f"{address}/my%20table{suffix}?raw=1", f"{address}/my%20table{suffix}.gz"]  # type: ignore[list-item]
        for number, source in enumerate(sources):
            fetch(str(source), tmp_path / f"raw {number}", max_bytes=LIMIT)
            assert pull_project.contents(tmp_path / f"raw {number}") == {f"pairs{suffix}": b"a\n1\n"}


@pytest.mark.parametrize("kind", ["folder", "zip", "tar.gz"])
def test_a_folder_or_archive_gives_its_tables_unpacked_and_of_one_kind_only(tmp_path: Path, kind: str) -> None:
    tables = {"sets/train.csv": b"a\n1\n", "sets/test.tsv": b"a\n2\n"}
    packed = {"sets/train.csv.gz": gzip.compress(b"a\n1\n"), "sets/test.tsv": b"a\n2\n"}
    texts = {"judged.txt": b"hello"}
    records = {"meta.json": b"{}"}
    others = {"run.sh": b"", ".hidden.csv": b"", "README.txt": b"hello", "sets/LICENSE.TXT": b""}
    cases = [({**others, **texts}, texts), ({**texts, **records}, records), ({**texts, **records, **packed}, tables)]
    for number, (members, expected) in enumerate(cases):
        source = tmp_path / f"{number}.{kind}"
        if kind == "folder":
            for name, content in members.items():
                (source / name).parent.mkdir(parents=True, exist_ok=True)
                (source / name).write_bytes(content)
        else:
            WRITERS[kind](source, members)
        fetched = fetch(str(source), tmp_path / f"raw {number}", max_bytes=LIMIT)
        found = pull_project.contents(tmp_path / f"raw {number}")
        left_out = sorted(members.keys() - {name + packed for name in expected for packed in ("", ".gz")})
        assert json.loads(found.pop(LEFT_OUT)) == fetched.left_out == left_out
        assert found == expected and fetched.tables == len(expected)


def test_the_source_is_copied_and_never_linked(tmp_path: Path) -> None:
    source = tmp_path / "pairs.parquet"
    source.write_bytes(parquet())
    fetch(str(source), tmp_path / "raw", max_bytes=LIMIT)
    assert source.stat().st_nlink == 1
    assert not source.samefile(tmp_path / "raw/pairs.parquet")


def test_only_parquet_files_are_kept(tmp_path: Path) -> None:
    others = [
        "README.md",
        "__MACOSX/._part.0.parquet",
        "._part.0.parquet",
        ".hidden/part.parquet",
        "run.sh",
        "link.parquet/",
    ]
    members = {"a/part.0.parquet": parquet(), **dict.fromkeys(others, b"")}
    fetch(str(write_zip(tmp_path / "pairs.zip", members)), tmp_path / "from zip", max_bytes=LIMIT)
    with zipfile.ZipFile(tmp_path / "pairs.zip") as archive:
        archive.extractall(tmp_path / "folder")
    fetch(str(tmp_path / "folder"), tmp_path / "from folder", max_bytes=LIMIT)
    for kept in ("from zip", "from folder"):
        found = pull_project.contents(tmp_path / kept)
        assert json.loads(found.pop(LEFT_OUT)) == sorted(name for name in others if not name.endswith("/"))
        assert found == {"a/part.0.parquet": parquet()}


NAMES = {
    "A.PARQUET": "A.parquet",
    "b.pq": "b.parquet",
    "c.Parq": "c.parquet",
    "d.parquet.gzip": "d.parquet",
    "e.parquet.gz": "e.parquet",
    "f.CSV.GZ": "f.csv",
    "g.ndjson": "g.jsonl",
    "h.tab": "h.tsv",
    "_x=1/part.csv": "_x=1/part.csv",
    "part[1].parquet": "part[1].parquet",
}


@pytest.mark.parametrize("kind", ["folder", "zip", "tar.gz"])
def test_every_spelling_of_an_ending_is_read_and_what_other_tools_write_beside_is_left_out(
    tmp_path: Path, kind: str
) -> None:
    members = {name: parquet() if place.endswith(".parquet") else b"a\n1\n" for name, place in NAMES.items()}
    for name in ("e.parquet.gz", "f.CSV.GZ"):
        members[name] = gzip.compress(members[name])
    beside = ["_SUCCESS", "_committed_1", ".part.crc", "notes.md", "_temporary/0/part.parquet", "sheet.xlsx"]
    source = tmp_path / "source"
    if kind == "folder":
        for name, content in {**members, **dict.fromkeys(beside, b"x")}.items():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes(content)
    else:
        WRITERS[kind](source, {**members, **dict.fromkeys(beside, b"x")})
    fetched = fetch(str(source), tmp_path / "raw", max_bytes=LIMIT)
    assert fetched.left_out == sorted(beside) and fetched.tables == len(NAMES)
    assert "; left out 6: .part.crc, _SUCCESS, _committed_1, …" in fetched.words("x")
    found = pull_project.contents(tmp_path / "raw")
    assert found.keys() - {LEFT_OUT} == set(NAMES.values())
    assert found["e.parquet"] == found["d.parquet"] == parquet() and found["f.csv"] == b"a\n1\n"


def test_two_files_of_one_place_are_refused(tmp_path: Path) -> None:
    for name in ("a.pq", "a.PARQUET"):
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / name).write_bytes(parquet())
    fails(tmp_path / "in", tmp_path / "raw", "a.pq has the place of another file, but for its ending: rename one")


@pytest.mark.parametrize("kind", ["folder", "zip", "tar.gz"])
def test_a_file_of_a_folder_is_what_it_holds_whatever_its_ending_says(tmp_path: Path, kind: str) -> None:
    members = {"a.csv": parquet(), "b.parquet": gzip.compress(parquet()), "c.json.gz": parquet()}
    members |= {"d.csv": gzip.compress(b"a\n1\n"), "e.csv.gz": b"a\n2\n"}
    source = tmp_path / "source"
    if kind == "folder":
        source.mkdir()
        for name, content in members.items():
            (source / name).write_bytes(content)
    else:
        WRITERS[kind](source, members)
    members.pop("c.json.gz")  # of a worse kind by its name
    fetched = fetch(str(source), tmp_path / "raw", max_bytes=LIMIT)
    assert (fetched.tables, fetched.left_out) == (4, ["c.json.gz"])
    found = pull_project.contents(tmp_path / "raw")
    assert found.pop(LEFT_OUT)
    assert found == {"a.parquet": parquet(), "b.parquet": parquet(), "d.csv": b"a\n1\n", "e.csv": b"a\n2\n"}


def test_a_link_into_a_folder_that_is_left_out_is_followed_and_one_that_is_left_out_may_be_broken(
    tmp_path: Path,
) -> None:
    for name in ("_blobs/1", ".cache/2"):
        (tmp_path / "in" / name).parent.mkdir(parents=True)
        (tmp_path / "in" / name).with_suffix(".parquet").write_bytes(parquet())
    (tmp_path / "in/x").symlink_to("_blobs")
    (tmp_path / "in/y.parquet").symlink_to(".cache/2.parquet")
    (tmp_path / "in/.#lock").symlink_to("user@host:1")
    fetched = fetch(str(tmp_path / "in"), tmp_path / "raw", max_bytes=LIMIT)
    assert (fetched.tables, fetched.left_out) == (2, [".#lock", ".cache/2.parquet"])
    assert pull_project.contents(tmp_path / "raw").keys() == {"x/1.parquet", "y.parquet", LEFT_OUT}


def test_linked_folders_are_read_once_and_a_link_to_nothing_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/part.parquet").write_bytes(parquet())
    (tmp_path / "in").mkdir()
    (tmp_path / "in/linked").symlink_to("../elsewhere")
    (tmp_path / "elsewhere/back").symlink_to("../in")
    assert fetch(str(tmp_path / "in"), tmp_path / "raw", max_bytes=LIMIT).tables == 1
    assert pull_project.contents(tmp_path / "raw") == {"linked/part.parquet": parquet()}
    (tmp_path / "in/gone.parquet").symlink_to("nowhere")
    with pytest.raises(UserError, match=r"in/gone.parquet: is a link to nothing: mend or delete it"):
        fetch(str(tmp_path / "in"), tmp_path / "again", max_bytes=LIMIT)


@pytest.mark.parametrize(
    ("log", "noun"),
    [
        ("_delta_log/00000000000000000000.json", "a Delta table"),
        ("x/.hoodie/hoodie.properties", "a Hudi table"),
        ("metadata/v1.metadata.json", "an Iceberg table"),
    ],
)
def test_a_folder_in_which_a_log_says_what_is_in_the_table_is_refused(tmp_path: Path, log: str, noun: str) -> None:
    for name, content in {log: b"{}", "data/part.parquet": parquet()}.items():
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes(content)
    fails(tmp_path / "in", tmp_path / "raw", f"is {noun} .*: write its rows as plain parquet")


EVIL = ["/evil.parquet", "../evil.parquet", "a/../../evil.parquet", "a/../evil.parquet", "..", r"..\evil.parquet"]
EVIL += [
    r"C:\evil.parquet",
    "C:evil.parquet",
    "c:/evil.parquet",
    r"\\server\share\evil.parquet",
    "//server/evil.parquet",
]
EVIL += ["../evil.txt", "/etc/passwd"]


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("name", EVIL)
def test_no_member_leads_outside_the_target(tmp_path: Path, name: str, kind: str) -> None:
    archive = WRITERS[kind](tmp_path / "evil", {"good.parquet": parquet(), name: parquet()})
    fails(archive, tmp_path / "raw", "leads outside the target")
    assert set(pull_project.contents(tmp_path)) <= {"evil", "raw/good.parquet"}


@given(st.lists(st.sampled_from(["..", ".", "a", "/", "\\", "C:", "~", "b.parquet", ""]), min_size=1, max_size=6))
def test_whatever_the_members_are_called_nothing_appears_outside(pieces: list[str]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        archive = write_zip(folder / "evil.zip", {"/".join(pieces) + ".parquet": parquet()})
        (folder / "deep").mkdir()
        with suppress(UserError):
            fetch(str(archive), folder / "deep/raw", max_bytes=LIMIT)
        assert all(path == "evil.zip" or path.startswith("deep/raw/") for path in pull_project.contents(folder))


def test_a_link_in_an_archive_is_refused(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("part.0.parquet")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "link.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    fails(tmp_path / "link.zip", tmp_path / "raw", "'part.0.parquet' is a link")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.GNUTYPE_SPARSE])
def test_a_link_or_a_file_with_holes_in_a_tar_is_refused(tmp_path: Path, kind: bytes) -> None:
    info = tarfile.TarInfo("part.0.csv")
    info.type, info.linkname = kind, "/etc/passwd"
    with tarfile.open(tmp_path / "link.tgz", "w:gz") as archive:
        archive.addfile(info)
    fails(tmp_path / "link.tgz", tmp_path / "raw", "'part.0.csv' is a link or has holes")


def test_a_device_in_a_tar_is_left_out(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "device.tgz", "w:gz") as archive:
        for name, kind in (("pipe.csv", tarfile.FIFOTYPE), ("disk.csv", tarfile.BLKTYPE)):
            info = tarfile.TarInfo(name)
            info.type = kind
            archive.addfile(info)
    fails(tmp_path / "device.tgz", tmp_path / "raw", "holds no table")
    assert list((tmp_path / "raw").iterdir()) == []


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("second", ["part.parquet", "./part.parquet", "part.parquet/part.parquet"])
def test_two_members_in_one_place_are_refused(tmp_path: Path, second: str) -> None:
    with zipfile.ZipFile(tmp_path / "twice.zip", "w") as archive:
        archive.writestr("part.parquet", parquet())
        archive.writestr(second, parquet())
    fails(tmp_path / "twice.zip", tmp_path / "raw", "more than once")


def test_an_archive_that_unpacks_to_more_than_the_limit_is_refused_before_it_writes(tmp_path: Path) -> None:
    bomb = write_zip(tmp_path / "bomb.zip", {"a.parquet": bytes(LIMIT // 2 + 1), "b.parquet": bytes(LIMIT // 2 + 1)})
    assert bomb.stat().st_size < LIMIT / 100
    fails(bomb, tmp_path / "raw", r"larger than max_source_gb \(0.001\): raise it in params.yaml")
    assert not pull_project.contents(tmp_path / "raw")


@pytest.mark.parametrize("inner", ["a.csv", "README.md"])
def test_nothing_in_a_tar_counts_less_than_the_limit(tmp_path: Path, inner: str) -> None:
    bomb = write_tar(tmp_path / "bomb.tgz", {inner: bytes(50 * LIMIT), "b.csv": b"a"})
    fails(bomb, tmp_path / "raw", r"larger than max_source_gb")
    assert sum(map(len, pull_project.contents(tmp_path / "raw").values())) <= LIMIT


def test_gzipped_tables_unpack_to_no_more_than_the_limit_together(tmp_path: Path) -> None:
    half = gzip.compress(bytes(LIMIT // 2 + 1))
    (tmp_path / "lone.csv.gz").write_bytes(gzip.compress(bytes(50 * LIMIT)))
    fails(tmp_path / "lone.csv.gz", tmp_path / "raw 1", "larger than max_source_gb")
    archive = write_zip(tmp_path / "bomb.zip", {"a.csv.gz": half, "b.csv.gz": half})
    fails(archive, tmp_path / "raw 2", "larger than max_source_gb")


def test_an_archive_that_lies_about_its_sizes_never_writes_more_than_the_limit(tmp_path: Path) -> None:
    bomb = write_zip(tmp_path / "bomb.zip", {"a.parquet": bytes(10 * LIMIT)})
    lie = bomb.read_bytes().replace(struct.pack("<I", 10 * LIMIT), struct.pack("<I", 1000))
    bomb.write_bytes(lie)
    fails(bomb, tmp_path / "raw", "can't be unpacked|larger than")
    assert sum(map(len, pull_project.contents(tmp_path / "raw").values())) <= LIMIT


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_source_larger_than_the_limit_is_refused(tmp_path: Path, kind: str) -> None:
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts/part.0.parquet").write_bytes(parquet())
    source = tmp_path / "parts" if kind == "folder" else tmp_path / "parts/part.0.parquet"
    fails(source, tmp_path / "raw", "larger than max_source_gb", limit=1000)


def test_a_download_of_unknown_size_stops_within_a_block_of_the_limit(tmp_path: Path) -> None:
    with serving(Endless) as address:
        fails(f"{address}/pairs.zip", tmp_path / "raw", "larger than max_source_gb")
    assert sum(map(len, pull_project.contents(tmp_path / "raw").values())) <= LIMIT + DEFAULT_BLOCK_SIZE


def test_a_damaged_archive_is_named(tmp_path: Path) -> None:
    whole = write_zip(tmp_path / "whole.zip", {"part.parquet": os.urandom(5000)}).read_bytes()
    damaged = {
        "cut.zip": whole[:-100],
        "bit.zip": whole[:2000] + bytes([whole[2000] ^ 1]) + whole[2001:],
        "locked.zip": whole[:6] + b"\1" + whole[7:].replace(b"PK\1\2\x14\3\x14\0\0", b"PK\1\2\x14\3\x14\0\1"),
    }
    for name, content in damaged.items():
        (tmp_path / name).write_bytes(content)
        fails(tmp_path / name, tmp_path / f"raw {name}", r"the zip can't be unpacked \(.*\): download or pack it again")


def test_a_damaged_tar_or_gz_is_named(tmp_path: Path) -> None:
    whole = write_tar(tmp_path / "whole.tgz", {"part.csv": os.urandom(50_000)}).read_bytes()
    lone = gzip.compress(os.urandom(50_000))
    end = len(whole) - 8  # where the checksum stands
    damaged = {
        "cut.tgz": whole[:-30_000],
        "checksum.tgz": whole[:end] + bytes([whole[end] ^ 1]) + whole[end + 1 :],
        "bit.tgz": whole[:20_000] + bytes([whole[20_000] ^ 1]) + whole[20_001:],
        "half.tgz": gzip.compress(gzip.decompress(whole)[:5_000]),
        "cut.csv.gz": lone[:-100],
        "start.csv.gz": lone[:2] + bytes(100),
    }
    for name, content in damaged.items():
        (tmp_path / name).write_bytes(content)
        fails(
            tmp_path / name, tmp_path / f"raw {name}", r"the (tar\.)?gz can't be unpacked \(.+\): download or pack it"
        )


def test_two_files_in_one_place_of_a_tar_or_after_unpacking_are_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "twice.tgz", "w:gz") as archive:
        for name in ("part.csv", "./part.csv"):
            archive.addfile(tarfile.TarInfo(name))
    fails(
        tmp_path / "twice.tgz", tmp_path / "raw 1", "holds './part.csv' more than once|holds 'part.csv' more than once"
    )
    both = write_zip(tmp_path / "both.zip", {"part.csv": b"a", "part.csv.gz": gzip.compress(b"a")})
    fails(both, tmp_path / "raw 2", "part.csv.gz has the place of another file, but for its ending: rename one")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("page.zip", b"<!DOCTYPE html>", "begins with b'<!DO', so it is neither a parquet file nor an archive"),
        ("empty.parquet", b"", "begins with b'', so it is neither"),
        ("pairs.xlsx", b"user_id,book_id", r"begins with b'user', so it is neither.*\.csv, \.tsv, \.json"),
        ("pairs.doc.gz", gzip.compress(b"user_id,book_id", mtime=0), "begins with b'user', so it is neither"),
    ],
)
def test_a_file_of_another_kind_is_named_with_its_first_bytes(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    fails(tmp_path / name, tmp_path / "raw", message)


def test_a_source_that_is_missing_or_holds_no_table_is_named(tmp_path: Path) -> None:
    fails(tmp_path / "nowhere.zip", tmp_path / "raw 1", "no such file or folder: correct `source` in params.yaml")
    fails(write_zip(tmp_path / "doc.zip", {"pairs.doc": b"a,b"}), tmp_path / "raw 2", r"holds no table \(\.parquet, ")
    (tmp_path / "empty").mkdir()
    fails(tmp_path / "empty", tmp_path / "raw 3", "holds no table")


def test_an_address_that_gives_nothing_is_named_with_the_reason(tmp_path: Path) -> None:
    with serving(partial(Quiet, directory=tmp_path)) as address:
        fails(f"{address}/nothing.zip", tmp_path / "raw 1", r"not found \(404")
    fails(f"{address}/nothing.zip", tmp_path / "raw 2", r"can't be reached \(Cannot connect")
    fails("remote://nobody/pairs.zip", tmp_path / "raw 3", "remote 'nobody' doesn't exist: see `dvc remote list`")
    fails("floppy://a/pairs.zip", tmp_path / "raw 4", "can't be reached .*Unsupported URL type floppy://")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pull_project.make_project(tmp_path_factory.mktemp("pull") / "project")


@pytest.fixture
def project(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = shutil.copytree(template, tmp_path / "project")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "site"))
    return folder


def pulled(project: Path, source: str) -> pd.DataFrame:
    """Run both stages in this process and return the rows."""
    pull_project.set_params(project, source=source)
    pull.main(param="source", raw=Path("data/raw"))
    convert.main(raw=Path("data/raw"), tables=Path("data/tables"))
    return pd.read_parquet("data/tables")


AWKWARD = ["007", "1e5", "NULL", "NA", "true", "nan", "-0", 'say "x, y"', "a;b", "two\nlines", "tab\there", "Ünïcode ✓"]


def test_the_stages_make_the_same_pairs_of_every_kind_of_table(project: Path) -> None:
    pairs = pd.DataFrame({"user_id": AWKWARD, "book_id": AWKWARD[::-1], "user_ctx": AWKWARD, "book_text": AWKWARD})
    pairs = pairs.assign(label=[0, 1] * 6)
    pairs.to_parquet("pairs.parquet")
    pairs.to_csv("pairs.csv", index=False)
    pairs.to_csv("semicolons.csv", index=False, sep=";")
    pairs.to_csv("pairs.tsv", index=False, sep="\t")
    pairs.to_json("pairs.json", orient="records")
    pairs.to_json("columns.json")
    pairs.to_json("pairs.ndjson", orient="records", lines=True)
    write_tar(Path("pairs.tgz"), {"pairs.csv": Path("pairs.csv").read_bytes()})
    set_params(project, tsv_quote='"')
    sources = ("pairs.parquet", "pairs.csv", "semicolons.csv", "pairs.tsv", "pairs.json", "columns.json")
    for source in (*sources, "pairs.ndjson", "pairs.tgz"):
        pulled(project, source)
        assert list(pull_project.contents(Path("data/tables"))) == ["pairs.parquet"]
        connection = duckdb.connect()
        read(connection, Path("data/tables"), SourceColumns(*COLUMNS))
        found = connection.sql(f"SELECT {', '.join(COLUMNS)} FROM pairs").df()
        pd.testing.assert_frame_equal(found, pairs, check_dtype=False)


def test_parts_of_every_kind_are_one_table_with_the_pairs_of_one_file(project: Path) -> None:
    texts = [text for text in AWKWARD if not set(text) & set("\t\n")]
    pairs = pd.DataFrame({"user_id": texts, "book_id": texts[::-1], "user_ctx": texts, "book_text": texts})
    pairs = pairs.assign(label=[0, 1] * 5)
    pairs["notes"] = ["", None] * 5  # a column that nobody names, and which some parts do not have
    pairs.loc[3, "book_text"] = None
    Path("in").mkdir()
    pairs[0:2].to_parquet("in/a.pq")
    pairs[2:4].to_csv("in/b.CSV", index=False)
    lines = ["\t".join(map(str, row)) for row in [pairs.columns[:5], *pairs.iloc[4:6, :5].itertuples(index=False)]]
    Path("in/c.tab").write_text("\r\n".join(lines))  # nothing is quoted
    pairs[6:8].to_json("in/d.ndjson", orient="records", lines=True)
    pairs[8:].to_csv("in/e.csv.gz", index=False, sep=";")
    pairs.to_parquet("pairs.parquet")
    found = []
    for source in ("in", "pairs.parquet"):
        set_params(project, source=source)
        pull.main(param="source", raw=Path("data/raw"))
        convert.main(raw=Path("data/raw"), tables=Path("data/tables"))
        connection = duckdb.connect()
        read(connection, Path("data/tables"), SourceColumns(*COLUMNS))
        found.append(connection.sql(f"SELECT {', '.join(COLUMNS)} FROM pairs ORDER BY ALL").fetchall())
    assert found[0] == found[1]
    assert {row[0] for row in found[0]} == set(texts) and [row[3] for row in found[0]].count(None) == 1


def test_what_is_left_out_of_a_source_is_told_and_counted_to_the_end(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs = pull_project.pairs(users=40)
    Path("in").mkdir()
    pairs[:40].to_csv("in/a.csv", index=False)
    pairs[40:].to_parquet("in/b.parquet", index=False)
    for name in ("_SUCCESS", "notes.json", "README.txt", "old.xlsx"):
        Path("in", name).touch()
    assert len(pulled(project, "in")) == len(pairs)
    assert "2 tables from in; left out 4: README.txt, _SUCCESS, notes.json, …" in capsys.readouterr().out
    assert json.loads(Path("data/raw", LEFT_OUT).read_text()) == ["README.txt", "_SUCCESS", "notes.json", "old.xlsx"]
    assert left_out(Path("data/tables")) == 4
    pulled(project, "in/b.parquet")
    assert left_out(Path("data/tables")) == 0


def test_a_param_that_names_no_address_is_one_line(project: Path) -> None:
    result = pull_project.command(project, "stages.pull", "--param", "documents", "--raw", "data/raw")
    assert result.returncode == 1
    assert result.stderr.startswith("error: --param: 'documents' is no param with an address")


def test_the_stage_names_the_line_of_a_table_that_it_cannot_read_and_keeps_the_earlier_data(project: Path) -> None:
    pull_project.pairs().to_csv("pairs.csv", index=False)
    pulled(project, "pairs.csv")
    before = pull_project.contents(project / "data/tables")
    Path("bad.csv").write_text(Path("pairs.csv").read_text() + "one,field,more,than,there,are\n")
    pull_project.pull(project, "bad.csv").check_returncode()
    result = pull_project.convert(project)
    assert result.returncode == 1
    assert result.stderr.startswith("error: data/raw/pairs.csv: line 8 has 6 fields, and its header 5: correct it")
    assert result.stderr.count("\n") == 1
    assert pull_project.contents(project / "data/tables") == before


def test_the_stage_ends_with_one_line_and_exit_code_1(project: Path) -> None:
    result = pull_project.pull(project, "nowhere.zip")
    assert result.returncode == 1
    assert result.stderr == "error: nowhere.zip: no such file or folder: correct `source` in params.yaml\n"
    result = pull_project.pull(project, "remote://nobody/pairs.zip")
    assert result.returncode == 1
    assert "remote 'nobody' doesn't exist" in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_full_disk_is_one_line_and_leaves_nothing(project: Path) -> None:
    noise = pull_project.pairs().assign(book_text=[os.urandom(200_000).hex() for _ in range(6)])
    noise.to_parquet("large.parquet")
    write_zip(Path("large.zip"), {"part.parquet": Path("large.parquet").read_bytes()})
    for source in ("large.parquet", "large.zip"):
        pull_project.set_params(project, source=source)
        result = subprocess.run(
            [sys.executable, "-m", "stages.pull", "--param", "source", "--raw", "data/raw"],
            env=pull_project.environment(project, {}),
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000)),
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 1
        assert result.stderr.startswith("error: the disk is full (")
        assert result.stderr.count("\n") == 1
        assert not pull_project.contents(project / "data")


def test_a_terminal_sees_the_progress(project: Path) -> None:
    write_zip(Path("pairs.zip"), {"part.parquet": parquet()})
    terminal, stderr = pty.openpty()
    termios.tcsetwinsize(terminal, (24, 120))
    pull_project.set_params(project, source="pairs.zip")
    command = [sys.executable, "-m", "stages.pull", "--param", "source", "--raw", "data/raw"]
    subprocess.run(command, env=pull_project.environment(project, {}), stderr=stderr, check=True)
    seen = os.read(terminal, 10_000).decode()
    os.close(terminal)
    os.close(stderr)
    assert "unpacking pairs.zip: 100%" in seen


def test_dvc_restores_the_earlier_data_after_a_failure_whatever_the_source_is_called(project: Path) -> None:
    write_zip(Path("my pairs, 2024.zip"), {"part.parquet": parquet()})
    pull_project.set_params(project, source="my pairs, 2024.zip")
    result = pull_project.command(project, "dvc", "repro")
    assert result.returncode == 0, result.stderr
    before = pull_project.contents(project / "data")
    assert "raw/part.parquet" in before
    Path("broken.zip").write_bytes(b"PK\3\4 and no more")
    pull_project.set_params(project, source="broken.zip")
    result = pull_project.command(project, "dvc", "repro")
    assert result.returncode != 0
    assert "error: broken.zip: the zip can't be unpacked" in result.stderr
    pull_project.command(project, "dvc", "checkout").check_returncode()
    assert pull_project.contents(project / "data") == before
