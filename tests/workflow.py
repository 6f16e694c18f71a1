"""The shell steps of .github/workflows/review.yaml as a runner takes them, and as much of GitHub as they call."""

import json
import os
import re
import socketserver
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path

from checkout import BIN, ROOT
from ruamel.yaml import YAML

JOBS = YAML(typ="safe").load(ROOT / ".github/workflows/review.yaml")["jobs"]


def run_job(name: str, folder: Path, env: Mapping[str, str], expressions: Mapping[str, str]) -> tuple[int, str]:
    """Run a job's shell steps in ``folder``; return the exit code of the first that fails, or 0, and what they print.

    Args:
        expressions: the value of each ``${{ … }}`` in the env of a step; one that is not given is a KeyError.

    After a failure only steps that are to run then, too, are run.
    """
    code, printed = 0, ""
    for step in JOBS[name]["steps"]:
        if "run" not in step or (code and "!cancelled()" not in str(step.get("if"))):
            continue
        own = {
            key: re.sub(r"\$\{\{ (.*?) \}\}", lambda found: expressions[found[1]], str(value))
            for key, value in step.get("env", {}).items()
        }
        assert "${{" not in step["run"], "an expression in a script is a hole: give it through env"
        shell = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]
        clean = {
            key: value for key, value in os.environ.items() if not key.startswith(("DVC", "PYTHON", "MAKE", "GIT"))
        }
        done = subprocess.run(
            shell,
            cwd=folder,
            env={**clean, **env, **own},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=400,
        )
        printed += done.stdout
        code = code or done.returncode
    return code, printed


def runner(folder: Path, summary: Path) -> dict[str, str]:
    """Return the environment of a runner with this environment's programs, installed already, for ``folder``."""
    (folder / ".venv").symlink_to(BIN.parent)
    return {
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "MAKEFLAGS": f"--old-file=environment -- VENV={BIN.parent}",
        "PYTHONDONTWRITEBYTECODE": "1",
        "HF_HUB_OFFLINE": "1",
        "GITHUB_SERVER_URL": "https://example.org",
        "GITHUB_REPOSITORY": "owner/name",
        "GITHUB_RUN_ID": "99",
        "GITHUB_STEP_SUMMARY": str(summary),
    }


class _Comments(BaseHTTPRequestHandler):
    comments: list[dict]

    def address_string(self) -> str:
        return "socket"

    def log_message(self, format: str, *args: object) -> None:
        pass

    def _answer(self, content: object) -> None:
        body = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _text(self) -> str:
        return json.loads(self.rfile.read(int(self.headers["Content-Length"])))["body"]

    def do_GET(self) -> None:
        assert self.path.startswith("/repos/owner/name/issues/12/comments")
        self._answer(self.comments)

    def do_POST(self) -> None:
        assert self.path == "/repos/owner/name/issues/12/comments"
        comment = {"id": len(self.comments), "user": {"login": "github-actions[bot]"}, "body": self._text()}
        self.comments.append(comment)
        self._answer(comment)

    def do_PATCH(self) -> None:
        place = int(self.path.removeprefix("/repos/owner/name/issues/comments/"))
        self.comments[place]["body"] = self._text()
        self._answer(self.comments[place])


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True

    def get_request(self) -> tuple:
        return super().get_request()[0], ("socket", 0)


@contextmanager
def github(folder: Path, comments: list[dict]) -> Iterator[dict[str, str]]:
    """Serve the comments of pull request 12, and yield the environment in which `gh` talks to it, over a socket."""
    socket = folder / "gh.sock"
    handler = type("Comments", (_Comments,), {"comments": comments})
    with _Server(str(socket), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        (folder / "gh").mkdir()
        (folder / "gh/config.yml").write_text(f"http_unix_socket: {socket}\n")
        yield {"GH_CONFIG_DIR": str(folder / "gh")}
        server.shutdown()
