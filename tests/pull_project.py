"""A temporary DVC project with the real stages `pull` and `convert`, and real commands in it.

Away from the user's own settings.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from checkout import ROOT, set_params
from ruamel.yaml import YAML


def pairs(users: int = 3) -> pd.DataFrame:
    """Return 2 pairs for each user."""
    return pd.DataFrame(
        {
            "user_id": [f"reader {number // 2}" for number in range(2 * users)],
            "book_id": list(range(2 * users)),
            "user_ctx": "Favorite books: Emma",
            "book_text": "Title: Persuasion",
            "label": [1, 0] * users,
        }
    )


def make_project(folder: Path, **params: object) -> Path:
    """Create a Git and DVC repository whose dvc.yaml is the real one without all stages but `pull` and `convert`."""
    folder.mkdir()
    shutil.copytree(ROOT / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "params.yaml", folder)
    yaml = YAML()
    pipeline = yaml.load(ROOT / "dvc.yaml")
    pipeline["stages"] = {name: pipeline["stages"][name] for name in ("pull", "convert")}
    yaml.dump(pipeline, folder / "dvc.yaml")
    set_params(folder, **params)
    subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)
    command(folder, "dvc", "init", "--quiet").check_returncode()
    return folder


def environment(project: Path, variables: Mapping[str, str]) -> dict[str, str]:
    """Return an environment without the caller's keys, profiles, proxies and settings of DVC."""
    return {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(project / "home"),
        "PYTHONPATH": "src",
        "PYTHONDONTWRITEBYTECODE": "1",
        "DVC_NO_ANALYTICS": "1",
        "DVC_SITE_CACHE_DIR": str(project / "home"),
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_MAX_ATTEMPTS": "1",
        **variables,
    }


def command(project: Path, module: str, *args: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run ``python -m module args`` in the project, with ``variables`` in its environment."""
    return subprocess.run(
        [sys.executable, "-m", module, *args],
        cwd=project,
        env=environment(project, variables),
        capture_output=True,
        text=True,
        check=False,
    )


def pull(project: Path, source: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the stage itself with `source` set to ``source``."""
    set_params(project, source=source)
    return command(project, "stages.pull", "--param", "source", "--raw", "data/raw", **variables)


def convert(project: Path) -> subprocess.CompletedProcess[str]:
    """Run the stage itself on what `pull` has fetched."""
    return command(project, "stages.convert", "--raw", "data/raw", "--tables", "data/tables")


def contents(folder: Path) -> dict[str, bytes]:
    """Return relative path → bytes of every file, hidden ones too."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
