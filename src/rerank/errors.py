"""The one kind of error that a user can mend, and the entry point that prints it as one line.

Everything else that goes wrong is our mistake and keeps its full traceback.
"""

import errno
import re
import sys
from collections.abc import Callable

NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# Writers in compiled code (DuckDB, safetensors, SQLite under DVC) wrap the system's error and keep only its words.
NO_SPACE_WORDS = re.compile("No space left on device|Disk quota exceeded|File too large|database or disk is full")


class UserError(Exception):
    """A mistake in the input or the set-up: its message names the culprit, its value and what to do."""


def _is_full_disk(error: BaseException) -> bool:
    return (isinstance(error, OSError) and error.errno in NO_SPACE) or bool(NO_SPACE_WORDS.search(str(error)))


def run(main: Callable[..., None], *args: object) -> None:
    """Call ``main`` and turn a user's mistake, or a full disk, into one line on stderr and exit code 1."""
    try:
        main(*args)
    except UserError as error:
        sys.exit(f"error: {error}")
    except Exception as error:
        if _is_full_disk(error):
            words = " ".join(str(error).split())
            sys.exit(f"error: the disk is full ({words}): free some space, or see `dvc gc --help`, and repeat")
        raise
