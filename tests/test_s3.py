"""A bucket over the wire: a real server process that speaks S3, and the real dvc command as the README has it."""

import contextlib
import json
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import boto3
import pandas as pd
import pull_project
import pytest
from fsspec.callbacks import Callback

from rerank.data import stores
from rerank.errors import UserError

KEYS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}
OBJECT = "training_pairs.parquet.zip"
SOURCE = f"remote://r2/{OBJECT}"


@dataclass(frozen=True)
class Server:
    """A running S3 server and its log of requests."""

    address: str
    log: Path

    def client(self, service: str) -> "boto3.client":
        return boto3.client(
            service,
            endpoint_url=self.address,
            region_name="us-east-1",
            aws_access_key_id="testing",
            aws_secret_access_key="testing",
        )

    def put(self, users: int, key: str = OBJECT) -> None:
        """Put a zip with part files of pairs into the bucket."""
        path = self.log.with_name("put.zip")
        with zipfile.ZipFile(path, "w") as archive, archive.open("training_pairs.parquet/part.0.parquet", "w") as part:
            pull_project.pairs(users).to_parquet(part)
        self.client("s3").upload_file(str(path), "pairs", key)

    def downloads(self) -> int:
        """Return how often the object was sent."""
        return self.log.read_text().count(f'"GET /pairs/{OBJECT} HTTP/1.1" 20')

    def admit(self, anybody: bool) -> None:
        """Let in every key, or only those that the server has given out."""
        body = b"inf" if anybody else b"0"
        headers = {"Content-Type": "text/plain"}
        urllib.request.urlopen(urllib.request.Request(f"{self.address}/moto-api/reset-auth", body, headers)).close()

    def new_keys(self) -> dict[str, str]:
        """Give out keys that may do everything with S3."""
        statement = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        client = self.client("iam")
        client.create_user(UserName="reader")
        client.put_user_policy(UserName="reader", PolicyName="all", PolicyDocument=policy)
        key = client.create_access_key(UserName="reader")["AccessKey"]
        return {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("s3") / "requests.log"
    with log.open("w") as stream:
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
        process = subprocess.Popen(command, stdout=stream, stderr=stream)
        try:
            for _ in range(300):
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                    break
                time.sleep(0.1)
            running = Server(f"http://127.0.0.1:{port}", log)
            running.client("s3").create_bucket(Bucket="pairs")
            yield running
        finally:
            process.terminate()
            process.wait()


@pytest.fixture(scope="module")
def template(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Path:
    project = pull_project.make_project(tmp_path_factory.mktemp("s3") / "project", source=SOURCE)
    for arguments in (
        ("add", "--default", "r2", "s3://pairs"),
        ("modify", "r2", "endpointurl", server.address),
        ("modify", "r2", "region", "auto"),
    ):
        pull_project.command(project, "dvc", "remote", *arguments).check_returncode()
    return project


@pytest.fixture
def project(template: Path, tmp_path: Path) -> Path:
    return shutil.copytree(template, tmp_path / "project")


def dvc(project: Path, *args: str, **variables: str) -> str:
    """Run dvc with the keys, expect success, and return what it says."""
    result = pull_project.command(project, "dvc", *args, **{**KEYS, **variables})
    assert result.returncode == 0, result.stderr
    return result.stdout


def fails(project: Path, source: str, message: str, **variables: str) -> str:
    """Expect one line with ``message`` from the stage itself, and return the line of `dvc repro`."""
    stage = pull_project.pull(project, source, **variables)
    assert stage.returncode == 1
    assert stage.stderr.startswith(f"error: {source}: {message}"), stage.stderr
    assert stage.stderr.count("\n") == 1
    result = pull_project.command(project, "dvc", "repro", **variables)
    assert result.returncode != 0
    assert "Traceback" not in result.stderr
    assert not list(project.glob("data/.raw*"))
    return result.stderr


def rows(project: Path) -> int:
    return len(pd.read_parquet(project / "data/tables"))


def test_a_new_object_is_fetched_and_an_unchanged_one_is_not(server: Server, project: Path) -> None:
    server.put(users=3)
    before = server.downloads()
    dvc(project, "repro")
    assert (rows(project), server.downloads()) == (6, before + 1)
    assert "didn't change, skipping" in dvc(project, "repro")
    assert server.downloads() == before + 1
    server.put(users=5)
    assert "Running stage 'pull'" in dvc(project, "repro")
    assert (rows(project), server.downloads()) == (10, before + 2)


def test_wrong_keys_are_one_line_and_the_earlier_data_can_be_restored(server: Server, project: Path) -> None:
    server.put(users=3)
    right = server.new_keys()
    server.admit(anybody=False)
    try:
        dvc(project, "repro", **right)
        before = pull_project.contents(project / "data")
        server.admit(anybody=True)
        server.put(users=4)
        server.admit(anybody=False)
        said = fails(project, SOURCE, "access is refused (Forbidden): check the keys", **KEYS)
        assert "failed to reproduce 'pull': Forbidden" in said
        dvc(project, "checkout")
        assert pull_project.contents(project / "data") == before
        dvc(project, "repro", **right)
        assert rows(project) == 8
    finally:
        server.admit(anybody=True)


def test_no_keys_are_one_line(project: Path) -> None:
    said = fails(project, SOURCE, "Unable to locate credentials: set AWS_ACCESS_KEY_ID")
    assert said == "ERROR: failed to reproduce 'pull': Unable to locate credentials\n"


def test_a_missing_object_is_one_line(project: Path) -> None:
    said = fails(project, "remote://r2/nothing.zip", "not found (pairs/nothing.zip)", **KEYS)
    assert said == "ERROR: failed to reproduce 'pull': dependency 'remote://r2/nothing.zip' does not exist\n"


def test_a_missing_bucket_is_one_line(server: Server, project: Path) -> None:
    keys = {**KEYS, "AWS_ENDPOINT_URL": server.address}
    said = fails(project, "s3://nobody/pairs.zip", "not found (The specified bucket does not exist)", **keys)
    assert said == "ERROR: failed to reproduce 'pull': dependency 's3://nobody/pairs.zip' does not exist\n"


def test_an_unreachable_endpoint_is_one_line(project: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{closed.getsockname()[1]}"
        keys = {**KEYS, "AWS_ENDPOINT_URL": address}
        message = f"can't be reached (Could not connect to the endpoint URL: \"{address}"
        said = fails(project, "s3://pairs/pairs.zip", message, **keys)
    assert f"failed to reproduce 'pull': Could not connect to the endpoint URL: \"{address}" in said


def test_an_unknown_remote_is_one_line(project: Path) -> None:
    pull_project.set_params(project, source="remote://nobody/pairs.zip")
    result = pull_project.command(project, "dvc", "repro", **KEYS)
    assert result.returncode != 0
    assert result.stderr == "ERROR: configuration error - config file error: remote 'nobody' doesn't exist\n"


def test_a_folder_and_a_plain_address_of_the_bucket_work_too(server: Server, project: Path) -> None:
    for number in range(2):
        path = project / "part.parquet"
        pull_project.pairs().to_parquet(path)
        server.client("s3").upload_file(str(path), "pairs", f"parts/part.{number}.parquet")
    result = pull_project.pull(project, "remote://r2/parts", **KEYS)
    assert result.stdout == "2 tables from remote://r2/parts\n"
    pull_project.convert(project).check_returncode()
    assert rows(project) == 12
    server.put(users=3)
    pull_project.set_params(project, source=f"s3://pairs/{OBJECT}")
    dvc(project, "repro", AWS_ENDPOINT_URL=server.address)
    assert rows(project) == 6


@pytest.mark.parametrize("address", ["s3://pairs/twice/part.csv", "s3://pairs/twice"])
def test_an_object_that_is_written_again_while_it_is_read_is_refused(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    for name, value in {"AWS_ENDPOINT_URL": server.address, "AWS_DEFAULT_REGION": "us-east-1", **KEYS}.items():
        monkeypatch.setenv(name, value)
    stores._root.cache_clear()
    client = server.client("s3")
    client.put_object(Bucket="pairs", Key="twice/part.csv", Body=b"old\n" * 100_000)

    class Writing(Callback):
        def relative_update(self, inc: int = 1) -> None:
            client.put_object(Bucket="pairs", Key="twice/part.csv", Body=b"new\n" * 100_000)

    places = {"pairs/twice/part.csv": tmp_path / "part.csv"}
    with pytest.raises(UserError, match=r"part\.csv was written again while it was read"):
        stores.download(address, places, callback=Writing())
    stores.download(address, places)
    assert places["pairs/twice/part.csv"].read_bytes() == b"new\n" * 100_000
    stores._root.cache_clear()


def test_an_object_larger_than_the_limit_is_refused_without_a_download(server: Server, project: Path) -> None:
    server.put(users=3)
    before = server.downloads()
    pull_project.set_params(project, max_source_gb=1e-6)
    result = pull_project.pull(project, SOURCE, **KEYS)
    assert result.stderr.startswith(f"error: {SOURCE}: is larger than max_source_gb (1e-06)")
    assert server.downloads() == before


def test_the_whole_cache_survives_push_and_pull(server: Server, project: Path) -> None:
    server.put(users=3)
    checksums = {
        "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
        "AWS_RESPONSE_CHECKSUM_VALIDATION": "when_required",
    }
    dvc(project, "repro", **checksums)
    before = pull_project.contents(project / "data")
    dvc(project, "push", **checksums)
    shutil.rmtree(project / ".dvc/cache")
    shutil.rmtree(project / "data/raw")
    dvc(project, "pull", **checksums)
    assert pull_project.contents(project / "data") == before
    assert (project / ".dvc/cache").is_dir()


def test_parts_in_a_bucket_become_scored_parts_in_the_bucket(
    server: Server, cross_encoder: Path, tmp_path: Path
) -> None:
    for number in range(2):
        pull_project.pairs().to_parquet(tmp_path / "part.parquet")
        server.client("s3").upload_file(str(tmp_path / "part.parquet"), "pairs", f"to-score/shelf/{number}.parquet")
    arguments = ("--model", str(cross_encoder), "--pairs", "s3://pairs/to-score", "--output", "s3://pairs/scored")
    variables = {**KEYS, "AWS_ENDPOINT_URL": server.address, "PYTHONPATH": str(pull_project.ROOT / "src")}

    def score(*more: str) -> str:
        result = pull_project.command(tmp_path, "rerank", *arguments, *more, **variables)
        assert result.returncode == 0, result.stderr
        return result.stderr

    score()
    server.client("s3").download_file("pairs", "scored/shelf/1.parquet", str(tmp_path / "scored.parquet"))
    scored = pd.read_parquet(tmp_path / "scored.parquet")
    pd.testing.assert_frame_equal(scored.drop(columns="score"), pull_project.pairs())
    assert scored["score"].notna().all()
    server.client("s3").delete_object(Bucket="pairs", Key="scored/shelf/0.parquet")
    assert "s3://pairs/scored: parts finished already: 1 of 2\n" in score()
    variables["AWS_ENDPOINT_URL"] = "http://127.0.0.1:1"
    result = pull_project.command(tmp_path, "rerank", *arguments, **variables)
    assert result.returncode == 1
    assert result.stderr.startswith("error: s3://pairs/to-score: can't be reached ("), result.stderr
    assert result.stderr.count("\n") == 1
