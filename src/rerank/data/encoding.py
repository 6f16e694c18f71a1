"""What is said of a file of text that is not UTF-8: the line, and what to do."""

from pathlib import Path

from rerank.errors import UserError

UTF_16 = (b"\xff\xfe", b"\xfe\xff")


def check_start(start: bytes, *, name: str) -> None:
    """Check the first bytes of a file, in which every second one is 0 where each letter takes two.

    Raises:
        UserError: for UTF-16, with or without its mark, and for what is no text.
    """
    line = start.partition(b"\n")[0]
    if line.startswith(UTF_16):
        raise UserError(f"{name}: line 1 is UTF-16: save the file as UTF-8")
    if b"\0" in line:
        raise UserError(f"{name}: line 1 holds the byte 0, so it is UTF-16 or no text: save the file as UTF-8")


def not_utf8(table: Path, *, name: str) -> UserError:
    """Return the error for a file that is not UTF-8, which names the first line that is not."""
    number = 1
    with table.open("rb") as file:
        for line in file:
            try:
                line.decode()
            except UnicodeDecodeError as error:
                number += line.count(b"\r", 0, error.start)
                return UserError(f"{name}: line {number:,} is not UTF-8: save the file as UTF-8")
            number += 1 + line.removesuffix(b"\r\n").count(b"\r")
    return UserError(f"{name}: is not UTF-8: save the file as UTF-8")
