"""The command line of a stage: a named argument for each of its main's, and one line for a user's mistake."""

import argparse
import atexit
import gc
import inspect
import sys
import typing
from collections.abc import Callable
from pathlib import Path
from types import UnionType

from rerank.errors import UserError, is_full_disk

# What imports make stays to the end. To look for garbage among it, while torch is loaded and again at the exit, took
# 2 of the 6 seconds of a stage that does little.
gc.set_threshold(100_000)


@atexit.register
def _leave_garbage() -> None:
    """Skip the searches for garbage at the exit; DuckDB's binding would call what they find leaked."""
    if "duckdb" not in sys.modules:
        gc.freeze()


def parser(main: Callable[..., None]) -> argparse.ArgumentParser:
    """Return a parser with ``--name`` for each parameter of ``main``: a text, a path, or a list of one of them.

    A parameter without a default is required. The help is the docstring of main's module, and of main.
    """
    module = inspect.getmodule(main)
    words = "\n\n".join(filter(None, (inspect.getdoc(module), inspect.getdoc(main))))
    found = argparse.ArgumentParser(description=words, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, kind in typing.get_type_hints(main).items():
        if name == "return":
            continue
        default = inspect.signature(main).parameters[name].default
        kind = next((one for one in typing.get_args(kind) if isinstance(kind, UnionType)), kind)  # X of X | None
        inner = typing.get_args(kind) or (kind,)
        found.add_argument(
            f"--{name.replace('_', '-')}",
            type=Path if Path in inner else str,
            nargs="+" if typing.get_origin(kind) is list else None,
            action="extend" if typing.get_origin(kind) is list else "store",
            required=default is inspect.Parameter.empty,
            default=None if default is inspect.Parameter.empty else default,
        )
    return found


def count(text: str) -> int:
    """Return the number that an argument is: 1 or more."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is below 1")
    return number


def run(main: Callable[..., None], *args: object) -> None:
    """Call ``main``, with ``args`` or what the command line names; a user's mistake is one line and exit code 1."""
    given = {} if args else vars(parser(main).parse_args())
    try:
        main(*args, **given)
    except UserError as error:
        sys.exit(f"error: {error}")
    except Exception as error:
        if is_full_disk(error):
            words = " ".join(str(error).split())
            full = f"the disk is full ({words}): free some space, or see `dvc gc --help`, and repeat"
            sys.exit(f"error: {UserError(full)}")
        raise
