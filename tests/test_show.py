"""The show stage: one query's candidates, best first, the same in the terminal and in the file."""

from pathlib import Path

import pandas as pd
import pytest
from score_tables import write_params, write_split

from rerank.errors import UserError
from rerank.measure.example import as_markdown, as_text, example
from stages.show import main


def search_set() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the candidates of two queries, and their scores."""
    rows = [
        ("1", "10", "Sea stories", "Moby-Dick\n\nA whale.", 2, 1.5),
        ("1", "11", "Sea stories", "Emma | an *English* village\n\nMatches.", 0, -3.25),
        ("1", "12", "Sea stories", "\nLord Jim\n\nA ship.", 1, 7.0),
        ("2", "10", "gardens", "Moby-Dick\n\nA whale.", 0, 9.0),
    ]
    column = "score/cross_encoder"
    table = pd.DataFrame(rows, columns=["user_id", "book_id", "user_ctx", "book_text", "label", column])
    return table.drop(columns=column), table[["user_id", "book_id", "label", column]]


def test_candidates_come_best_first_with_grade_score_and_first_line() -> None:
    ranked = example(*search_set(), query="Sea stories")
    assert ranked.to_numpy().tolist() == [
        [1, 7.0, 1, "Lord Jim"],
        [2, 1.5, 2, "Moby-Dick"],
        [3, -3.25, 0, "Emma | an *English* village"],
    ]


def test_a_query_is_found_in_upper_and_lower_case() -> None:
    assert len(example(*search_set(), query="sea STORIES")) == 3


def test_equal_scores_come_in_the_order_of_the_documents() -> None:
    pairs, scores = search_set()
    ranked = example(pairs, scores.assign(**{"score/cross_encoder": 0.0}), query="Sea stories")
    assert ranked["document"].tolist() == ["Moby-Dick", "Emma | an *English* village", "Lord Jim"]


@pytest.mark.parametrize("query", ["rivers", None])
def test_a_query_that_is_not_there_is_one_line_that_names_some(query: str | None) -> None:
    with pytest.raises(UserError, match=rf"example_query is {query!r}, .* for example 'Sea stories', 'gardens'$"):
        example(*search_set(), query=query)


def test_scores_without_the_cross_encoder_are_refused() -> None:
    pairs, scores = search_set()
    with pytest.raises(UserError, match="no folder has a column 'score/cross_encoder'"):
        example(pairs, scores[["user_id", "book_id", "label"]], query="Sea stories")


def test_the_table_in_the_terminal_is_aligned() -> None:
    text = as_text(example(*search_set(), query="Sea stories"))
    assert [line.rstrip() for line in text.splitlines()] == [
        "rank  score  grade  document",
        "   1   7.00      1  Lord Jim",
        "   2   1.50      2  Moby-Dick",
        "   3  -3.25      0  Emma | an *English* village",
    ]


def test_a_title_cannot_break_the_markdown_table() -> None:
    ranked = example(*search_set(), query="Sea stories")
    lines = as_markdown(ranked, query="Sea [stories]").splitlines()
    assert lines[0] == r"# Sea \[stories\]"
    cells = [line.replace(r"\|", "").strip("|").split("|") for line in lines[2:]]
    assert {len(row) for row in cells} == {4}
    assert lines[-1].endswith(r"Emma \| an \*English\* village |")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_params(example_query="sea stories")
    pairs, scores = search_set()
    write_split(Path("judged"), test=pairs)
    write_split(Path("scores"), test=scores)


def show() -> None:
    main(judged=Path("judged"), scores=[Path("scores")], example=Path("data/example.md"))


def test_the_stage_prints_the_table_and_writes_it(project: None, capsys: pytest.CaptureFixture[str]) -> None:
    show()
    assert "sea stories\nrank  score  grade  document\n   1   7.00      1  Lord Jim" in capsys.readouterr().out
    written = Path("data/example.md").read_text()
    assert written.startswith("# sea stories\n") and "Lord Jim" in written
    assert [path.name for path in Path("data").iterdir()] == ["example.md"]


def test_scores_of_another_set_are_refused(project: None) -> None:
    write_split(Path("scores"), test=search_set()[1].iloc[1:])
    with pytest.raises(UserError, match=r"scores/test\.parquet: has 3 rows, judged/test\.parquet has 4: run"):
        show()
