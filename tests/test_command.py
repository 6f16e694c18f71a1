"""A stage's command line: named arguments, help, and one line for a user's mistake."""

import errno
from pathlib import Path

import pytest

from rerank.command import parser, run
from rerank.errors import UserError


def main(*, split: Path, scores: list[Path], systems: list[str], curves: Path | None = None) -> None:
    """Say what came."""
    print(split, scores, systems, curves)


def test_arguments_are_named_and_may_stand_in_any_order(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["stage", "--systems", "a=1", "b", "--scores", "x", "y", "--split", "s"])
    run(main)
    assert capsys.readouterr().out == f"s {[Path('x'), Path('y')]} ['a=1', 'b'] None\n"


@pytest.mark.parametrize(
    "given", [[], ["--split", "s"], ["s", "x"], ["--split", "s", "--scores", "x", "--sistems", "a"]]
)
def test_what_is_missing_or_unknown_is_named_without_a_traceback(
    given: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        parser(main).parse_args(given)
    assert stopped.value.code == 2
    assert "--systems" in capsys.readouterr().err


def test_help_says_what_the_stage_does(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        parser(main).parse_args(["--help"])
    assert stopped.value.code == 0
    assert "Say what came." in (printed := capsys.readouterr().out) and "--curves" in printed


def test_a_users_mistake_and_a_full_disk_are_one_line_and_ours_is_a_traceback() -> None:
    def fails(error: Exception) -> None:
        raise error

    with pytest.raises(SystemExit, match=r"^error: lr is 0$"):
        run(fails, UserError("lr is 0"))
    with pytest.raises(SystemExit, match=r"^error: the disk is full"):
        run(fails, OSError(errno.ENOSPC, "No space left on device"))
    with pytest.raises(KeyError):
        run(fails, KeyError("ours"))
