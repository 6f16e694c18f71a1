"""A user's mistake is one line that a terminal shows whole, whatever the values in it."""

import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rerank.errors import LIMIT, UserError

ADVICE = "give a text, or drop these rows"
ANY = st.text(st.characters(codec=None), max_size=2_000)


def is_shown_whole(error: UserError) -> bool:
    return len(f"error: {error}") <= 300 and str(error).isprintable()


@settings(max_examples=300, deadline=None)
@given(value=ANY, quote=st.sampled_from(["'{}'", '"{}"', "({})", "{}"]))
def test_any_value_fits_into_one_line_between_the_culprit_and_the_advice(value: str, quote: str) -> None:
    error = UserError(f"pairs.csv: column 'label' holds {quote.format(value)}: {ADVICE}")
    assert is_shown_whole(error)
    assert str(error).startswith("pairs.csv: column 'label' holds ") and str(error).endswith(f": {ADVICE}")


@settings(max_examples=300, deadline=None)
@given(values=st.lists(ANY, min_size=3, max_size=3))
def test_several_values_of_any_length_fit_too(values: list[str]) -> None:
    error = UserError(f"pairs.csv: '{values[0]}' and {values[1]!r} ({values[2]}): {ADVICE}")
    assert is_shown_whole(error)
    assert str(error).startswith("pairs.csv: ") and str(error).endswith(f": {ADVICE}")


@settings(max_examples=300, deadline=None)
@given(message=ANY)
def test_any_message_is_one_line_and_making_it_again_changes_nothing(message: str) -> None:
    error = UserError(message)
    assert is_shown_whole(error)
    assert str(UserError(str(error))) == str(error) == str(pickle.loads(pickle.dumps(error)))


def test_a_message_that_fits_is_as_it_was_written() -> None:
    message = "parts/Käse  12.csv: row 3: label is '７': give a number from 0 to 1"
    assert str(UserError(message)) == message
    assert str(UserError("x" * LIMIT)) == "x" * LIMIT


@pytest.mark.parametrize(
    "raw", ["\x1b[2J\x1b[31m", "a\nb", "\r", "\x00", "\u202e", "\u2028", "\udcff", "\x9b", "\ttab"]
)
def test_what_would_steer_a_terminal_is_shown_as_its_number(raw: str) -> None:
    shown = str(UserError(f"{raw}.csv: no such file: correct the path"))
    assert shown.isprintable() and "\\" in shown and shown.endswith(".csv: no such file: correct the path")


def test_the_longest_value_is_shortened_first_and_keeps_its_two_ends() -> None:
    columns = ", ".join(f"column{number}" for number in range(200))
    shown = str(UserError(f"pairs.parquet: column 'label' is missing (it has {columns}): set label_column"))
    assert shown.startswith("pairs.parquet: column 'label' is missing (it has column0, ")
    assert shown.endswith("column199): set label_column") and len(shown) == LIMIT


def test_a_path_that_is_longer_than_a_line_keeps_its_two_ends() -> None:
    shown = str(UserError(f"/begin{'/folder' * 200}/end.csv: no such file: correct the path"))
    assert shown.startswith("/begin/folder") and shown.endswith("/end.csv: no such file: correct the path")
