"""The one kind of error that a user can mend; everything else that goes wrong is ours and keeps its traceback."""

import errno
import re

NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# Writers in compiled code (DuckDB, safetensors, SQLite under DVC) wrap the system's error and keep only its words.
NO_SPACE_WORDS = re.compile("No space left on device|Disk quota exceeded|File too large|database or disk is full")


# Of what is printed: "error: " and the message.
LIMIT = 300 - len("error: ")
# What a message quotes or encloses, and words without a space, such as a path: the longest is shortened, down to this.
VALUES = (re.compile(r"(?<!\w)'.+?'(?!\w)|(?<!\w)\".+?\"(?!\w)|\([^()]+\)"), re.compile(r"\S+"))
SHORTEST = 40


class UserError(Exception):
    """A mistake in the input or the set-up: its message names the culprit, its value and what to do.

    Whatever the values in it, it is one line of at most `LIMIT` printable characters.
    """

    def __init__(self, message: str) -> None:
        super().__init__(_fitting("".join(map(_printable, message))))


def _printable(letter: str) -> str:
    return letter if letter.isprintable() else letter.encode("unicode_escape", "surrogatepass").decode("ascii")


def _cut(text: str, length: int) -> str:
    """Return ``text`` without its middle, ``length`` letters long."""
    head = (length - 1) // 2
    return f"{text[:head]}…{text[len(text) - (length - 1 - head) :]}"


def _fitting(message: str) -> str:
    """Shorten the longest values of a message until it fits: its beginning, a culprit, and its end, advice, stay."""
    for values in VALUES:
        while len(message) > LIMIT:
            longest = max(values.finditer(message), key=lambda value: len(value[0]), default=None)
            if longest is None or len(longest[0]) <= SHORTEST:
                break
            length = max(SHORTEST, len(longest[0]) - (len(message) - LIMIT))
            message = message[: longest.start()] + _cut(longest[0], length) + message[longest.end() :]
    return message if len(message) <= LIMIT else _cut(message, LIMIT)


def is_full_disk(error: BaseException) -> bool:
    """Whether ``error`` says that nothing more can be written."""
    return (isinstance(error, OSError) and error.errno in NO_SPACE) or bool(NO_SPACE_WORDS.search(str(error)))
