"""Starting a stage again by the launcher that params.yaml names, as several processes, and never through a shell."""

import os
import shlex
import sys

from rerank.errors import UserError

ALONE = "python"
MARK = "RERANK_LAUNCHED"
# What accelerate and torchrun tell their processes, on other machines too.
LAUNCHED = (MARK, "RANK", "LOCAL_RANK")


def launch(module: str, launcher: str) -> None:
    """Become ``launcher -m module`` with the arguments of this process; return in what the launcher has started.

    Args:
        launcher: words as a shell would split them, of which nothing is expanded or run but the first.

    Raises:
        UserError: when it can't be split into words, or its first word is no program.
    """
    if any(name in os.environ for name in LAUNCHED) or launcher.split() == [ALONE]:
        return
    try:
        words = shlex.split(launcher)
    except ValueError as error:
        raise UserError(f"params.yaml: launcher is {launcher!r}: {error}: close it") from None
    if not words:
        raise UserError(f"params.yaml: launcher is {launcher!r}: give {ALONE}, or a program and its arguments")
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        os.execvpe(words[0], [*words, "-m", module, *sys.argv[1:]], {**os.environ, MARK: "1"})
    except OSError as error:
        told = f"{words[0]!r} can't be started ({error.strerror})"
        raise UserError(
            f"params.yaml: launcher is {launcher!r}: {told}: give {ALONE}, or a program and its arguments"
        ) from None
