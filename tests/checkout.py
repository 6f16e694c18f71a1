"""A fresh checkout of this repository's files, and commands in it as a user types them."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from ruamel.yaml import YAML

ROOT = Path(__file__).parent.parent
BIN = Path(sys.executable).parent


def make_checkout(folder: Path) -> Path:
    """Copy the files that Git has or would add, and commit them: what a clone of this working tree would hold."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0"):
        if name and ((ROOT / name).is_file() or (ROOT / name).is_symlink()):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name, follow_symlinks=False)
    command(folder, "git init --quiet --initial-branch main")
    commit(folder, "Begin")
    return folder


def command(folder: Path, line: str, *, fails: bool = False, timeout: int = 400) -> str:
    """Run ``line`` in a shell in ``folder``, with this environment's programs first; return all that it prints.

    The exit code has to be 0, or anything else where the command ``fails``.
    """
    env = {name: value for name, value in os.environ.items() if not name.startswith(("DVC", "PYTHON", "MAKE"))}
    env |= {"PATH": f"{BIN}{os.pathsep}{env['PATH']}", "PYTHONDONTWRITEBYTECODE": "1", "HF_HUB_OFFLINE": "1"}
    env |= {f"GIT_{who}_{what}": "test" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    done = subprocess.run(line, shell=True, cwd=folder, env=env, capture_output=True, text=True, timeout=timeout)
    printed = done.stdout + done.stderr
    assert (done.returncode != 0) == fails, f"{line}: exit code {done.returncode}\n{printed[-4000:]}"
    return printed


def commit(folder: Path, message: str) -> None:
    """Commit all changes."""
    command(folder, f"git add --all && git commit --quiet --message '{message}'")


def set_params(folder: Path, **values: object) -> None:
    """Write ``values`` into params.yaml and leave everything else as it is."""
    yaml = YAML()
    yaml.preserve_quotes = True
    params = yaml.load(folder / "params.yaml")
    params.update(values)
    yaml.dump(params, folder / "params.yaml")
