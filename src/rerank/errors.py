"""The one kind of error that a user can mend; everything else that goes wrong is ours and keeps its traceback."""

import errno
import re

NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# Writers in compiled code (DuckDB, safetensors, SQLite under DVC) wrap the system's error and keep only its words.
NO_SPACE_WORDS = re.compile("No space left on device|Disk quota exceeded|File too large|database or disk is full")


class UserError(Exception):
    """A mistake in the input or the set-up: its message names the culprit, its value and what to do."""


def is_full_disk(error: BaseException) -> bool:
    """Whether ``error`` says that nothing more can be written."""
    return (isinstance(error, OSError) and error.errno in NO_SPACE) or bool(NO_SPACE_WORDS.search(str(error)))
