"""The files of a revision: those of the working tree, or of a commit, from Git, the DVC cache or a remote at hand."""

import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from ruamel.yaml import YAMLError

from rerank.errors import UserError

Read = TypeVar("Read")

WORKING_TREE = "the working tree"
FETCH, PULL = "dvc fetch --all-commits", "dvc pull"


@dataclass
class Revision:
    """The files of a commit, or of the working tree.

    Attributes:
        name: what a person calls it.
        commit: its hash; None: the working tree.
        is_experiment: whether it is DVC's, on no branch.
        missing: the files that were asked for and are not there, in that order.
    """

    name: str
    commit: str | None
    is_experiment: bool = False
    missing: list[str] = field(default_factory=list)
    _files: Any = None

    def get(self, path: Path) -> bytes | None:
        """Return a file's content; None, and its name in ``missing``, when it is nowhere to be had."""
        content = path.read_bytes() if self.commit is None and path.is_file() else self._of_dvc(path)
        if content is None and str(path) not in self.missing:
            self.missing.append(str(path))
        return content

    def read(self, path: Path, reader: Callable[[bytes | None], Read]) -> Read:
        """Return what ``reader`` makes of a file's content, or of None.

        Raises:
            UserError: when it can't be read, such as with the marks of a merge conflict.
        """
        content = self.get(path)
        return self.checked(path, lambda: reader(content))

    def checked(self, path: Path, make: Callable[[], Read]) -> Read:
        """Return what ``make`` returns of a file's content.

        Raises:
            UserError: see `read`.
        """
        try:
            return make()
        except (ValueError, YAMLError, RecursionError) as error:
            words = " ".join(str(error).split())
            raise UserError(
                f"{path} of {self.name}: can't be read ({words}): correct it, or name another revision"
            ) from None

    def address(self, path: Path, repository: str | None) -> str:
        """Return where a picture is shown: by a GitHub repository, at the commit that changed it; or beside the page.

        "" where it lies nowhere: an experiment is not on a branch, and what no commit holds is on no server.
        """
        if repository is None:
            return f"../{path.as_posix()}" if self.commit is None else ""
        if self.is_experiment or (self.commit is None and _git("status", "--porcelain", "--", str(path))):
            return ""
        commit = _git("log", "-1", "--format=%H", self.commit or "HEAD", "--", str(path))
        return f"{repository.rstrip('/')}/blob/{commit}/{quote(path.as_posix())}?raw=true" if commit else ""

    def _of_dvc(self, path: Path) -> bytes | None:
        from botocore.exceptions import BotoCoreError
        from dvc.api import DVCFileSystem
        from dvc.exceptions import DvcException
        from dvc_data.index.index import DataIndexDirError

        try:
            self._files = self._files or DVCFileSystem(".", rev=self.commit)
            return self._files.read_bytes(path.as_posix())
        except (OSError, ImportError, BotoCoreError, DvcException, DataIndexDirError):
            return None


def _git(*words: str) -> str:
    done = subprocess.run(["git", *words], capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else ""


def revision(name: str | None) -> Revision:
    """Return the revision of that name: a commit, branch, tag or DVC experiment; None: the working tree.

    Raises:
        UserError: when there is none.
    """
    if name is None:
        return Revision(WORKING_TREE, None)
    commit = _git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
    experiments = _git("for-each-ref", "--format=%(objectname) %(refname)", "refs/exps").splitlines()
    found = [line.split()[0] for line in experiments if line.rpartition("/")[2] == name]
    if len(found) > 1 and not commit:
        raise UserError(
            f"{name!r}: {len(found)} experiments have this name: give the commit of one ({', '.join(found)})"
        )
    if commit or found:
        return Revision(name, commit or found[0], is_experiment=not commit)
    raise UserError(
        f"{name!r}: is no commit, branch, tag or experiment: see `git branch --all` and `dvc exp show`, or fetch it"
    )


def missing(revisions: Sequence[Revision]) -> list[str]:
    """Return a line for each revision that lacks files."""
    return [
        f"{one.name} lacks {', '.join(one.missing)}: `{FETCH if one.commit else PULL}` gets what DVC keeps"
        for one in revisions
        if one.missing
    ]
