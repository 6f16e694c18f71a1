"""Writing so that a reader sees the old file, the new file, or none: never half of one."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rerank.errors import UserError


def remove(path: Path) -> None:
    """Delete a file or a folder, and nothing when there is none."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Yield a free temporary path beside ``target``; rename it to ``target`` on success, delete it on failure.

    Works for a file and for a folder; an existing ``target`` is replaced, but a folder only by a folder. The caller
    creates what is yielded.

    Raises:
        UserError: when a file would replace a folder.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.partial")
    remove(partial)
    try:
        yield partial
        if target.is_dir():
            if not partial.is_dir():
                raise UserError(f"{target}: is a folder: give the path of a file")
            remove(target)
        partial.replace(target)
    finally:
        remove(partial)
