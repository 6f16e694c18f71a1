"""The show stage: one query's candidates, best first, the same in the terminal and in the file."""

from pathlib import Path

import pandas as pd
import pytest
from dvc.repo import Repo

from rerank.errors import UserError
from stages import show


def search_set() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the candidates of two queries, and their scores in another order."""
    rows = [
        ("1", "10", "Sea stories", "Moby-Dick\n\nA whale.", 2, 1.5),
        ("1", "11", "Sea stories", "Emma | an *English* village\n\nMatches.", 0, -3.25),
        ("1", "12", "Sea stories", "\nLord Jim\n\nA ship.", 1, 7.0),
        ("2", "10", "gardens", "Moby-Dick\n\nA whale.", 0, 9.0),
    ]
    table = pd.DataFrame(rows, columns=["user_id", "book_id", "user_ctx", "book_text", "label", "cross_encoder"])
    return table.drop(columns="cross_encoder"), table[["user_id", "book_id", "label", "cross_encoder"]][::-1]


def test_candidates_come_best_first_with_grade_score_and_first_line() -> None:
    ranked = show.show(*search_set(), example_query="Sea stories")
    assert ranked.to_numpy().tolist() == [
        [1, 7.0, 1, "Lord Jim"],
        [2, 1.5, 2, "Moby-Dick"],
        [3, -3.25, 0, "Emma | an *English* village"],
    ]


def test_a_query_is_found_in_upper_and_lower_case() -> None:
    assert len(show.show(*search_set(), example_query="sea STORIES")) == 3


def test_equal_scores_come_in_the_order_of_the_documents() -> None:
    pairs, scores = search_set()
    ranked = show.show(pairs, scores.assign(cross_encoder=0.0), example_query="Sea stories")
    assert ranked["document"].tolist() == ["Moby-Dick", "Emma | an *English* village", "Lord Jim"]


@pytest.mark.parametrize("query", ["rivers", None])
def test_a_query_that_is_not_there_is_one_line_that_names_some(query: str | None) -> None:
    with pytest.raises(UserError, match=rf"example_query is {query!r}, .* for example 'Sea stories', 'gardens'$"):
        show.show(*search_set(), example_query=query)


def test_scores_of_another_set_are_refused() -> None:
    pairs, scores = search_set()
    with pytest.raises(UserError, match="some of its candidates have no score: run `dvc repro`"):
        show.show(pairs, scores.iloc[2:], example_query="Sea stories")


def test_the_table_in_the_terminal_is_aligned() -> None:
    text = show.as_text(show.show(*search_set(), example_query="Sea stories"))
    assert text.splitlines() == [
        "rank  score  grade  document",
        "   1   7.00      1  Lord Jim",
        "   2   1.50      2  Moby-Dick",
        "   3  -3.25      0  Emma | an *English* village",
    ]


def test_a_title_cannot_break_the_markdown_table() -> None:
    ranked = show.show(*search_set(), example_query="Sea stories")
    lines = show.as_markdown(ranked, query="Sea [stories]").splitlines()
    assert lines[0] == r"# Sea \[stories\]"
    assert lines[-1] == r"| 3 | -3.25 | 0 | Emma \| an \*English\* village |"


def test_the_stage_prints_the_table_and_writes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Repo.init(no_scm=True).close()
    Path("params.yaml").write_text("example_query: sea stories\n")
    Path("dvc.yaml").write_text("stages: {show: {cmd: 'true', params: [example_query]}}\n")
    pairs, scores = search_set()
    pairs.to_parquet("pairs.parquet")
    scores.to_parquet("scores.parquet")
    show.main(Path("pairs.parquet"), Path("scores.parquet"), Path("metrics/example.md"))
    printed = capsys.readouterr().out
    assert "   1   7.00      1  Lord Jim" in printed
    assert "| 1 | 7.00 | 1 | Lord Jim |" in Path("metrics/example.md").read_text()
    assert [path.name for path in Path("metrics").iterdir()] == ["example.md"]
