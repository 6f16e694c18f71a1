"""Print one query's candidates as the cross-encoder ranks them, with their grades beside the scores.

The same table goes into a Markdown file, so that a pull request shows what another model changes.
"""

from pathlib import Path

from rerank.command import run
from rerank.files import replacing
from rerank.measure.example import as_markdown, as_text
from rerank.measure.example import example as ranked_example
from rerank.measure.scores import check_rows, read, read_pairs
from rerank.params import Show
from rerank.params_file import declared


def main(*, judged: Path, scores: list[Path], example: Path) -> None:
    """Read the test pairs and their scores; print the table and write it to EXAMPLE as Markdown."""
    params = declared(Show, "show")
    pairs = read_pairs(judged)["test"]
    _, test = read(scores)
    check_rows(test, pairs, file=scores[0] / "test.parquet", other=judged / "test.parquet")
    ranked = ranked_example(pairs, test, query=params.example_query)
    with replacing(example) as partial:
        partial.write_text(as_markdown(ranked, query=params.example_query or ""), encoding="utf-8")
    print(f"{params.example_query}\n{as_text(ranked)}")


if __name__ == "__main__":
    run(main)
