"""Print one query's candidates as the cross-encoder ranks them, with their grades beside the scores.

A metric says how good a ranking is, an example what it looks like. The same table goes into a Markdown file, so that a
pull request shows what another model changes.
"""

import sys
from pathlib import Path

import pandas as pd

from rerank.errors import UserError, run
from rerank.files import replacing
from rerank.params import declared

SYSTEM = "cross_encoder"
HEADINGS = ("rank", "score", "grade", "document")
QUERIES_NAMED = 10


def show(pairs: pd.DataFrame, scores: pd.DataFrame, *, example_query: str | None) -> pd.DataFrame:
    """Return the ranked candidates of one query.

    Args:
        pairs: pairs with `rerank.data.pairs.COLUMNS`.
        scores: user_id, book_id and `SYSTEM` of the same pairs, from ``evaluate``.
        example_query: the query, a context of ``pairs`` in upper or lower case; of several users that have it, the
            first by id is taken.

    Returns:
        rank (from 1), score, grade and document (the first line of its text), best first; equal scores by document id.

    Raises:
        UserError: when the query is not in ``pairs``, or its scores are not in ``scores``.
    """
    wanted = pairs[pairs["user_ctx"].str.casefold() == (example_query or "").casefold()]
    if wanted.empty:
        queries = sorted(pairs["user_ctx"].unique())
        some = ", ".join(repr(query) for query in queries[:QUERIES_NAMED])
        raise UserError(
            f"params.yaml: example_query is {example_query!r}, and none of {len(queries):,} queries is that: give one "
            f"of them, for example {some}"
        )
    wanted = wanted[wanted["user_id"] == wanted["user_id"].min()]
    ranked = wanted.merge(
        scores[["user_id", "book_id", SYSTEM]], on=["user_id", "book_id"], how="left", validate="one_to_one"
    )
    if ranked[SYSTEM].isna().any():
        raise UserError(f"{example_query!r}: some of its candidates have no score: run `dvc repro` to score them all")
    ranked = ranked.sort_values([SYSTEM, "book_id"], ascending=[False, True])
    return pd.DataFrame(
        {
            "rank": range(1, len(ranked) + 1),
            "score": ranked[SYSTEM].to_numpy(),
            "grade": ranked["label"].to_numpy(),
            "document": [text.strip().splitlines()[0] for text in ranked["book_text"]],
        }
    )


def cells(ranked: pd.DataFrame) -> list[tuple[str, str, str, str]]:
    """Return the rows of the table as texts, `HEADINGS` first."""
    rows = [(f"{row.rank}", f"{row.score:.2f}", f"{row.grade}", str(row.document)) for row in ranked.itertuples()]
    return [HEADINGS, *rows]


def as_text(ranked: pd.DataFrame) -> str:
    """Return aligned columns with a heading."""
    rows = cells(ranked)
    widths = [max(map(len, column)) for column in list(zip(*rows, strict=True))[:-1]]
    return "\n".join("  ".join([*map(str.rjust, row[:-1], widths), row[-1]]) for row in rows)


def as_markdown(ranked: pd.DataFrame, *, query: str) -> str:
    """Return a heading with the query and the table, in which no title can break out of its cell."""
    heading, *rows = cells(ranked)
    lines = [heading, ("---:", "---:", "---:", "---"), *((*row[:-1], _escaped(row[-1])) for row in rows)]
    table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    return f"# {_escaped(' '.join(query.split()))}\n\n{table}\n"


def _escaped(text: str) -> str:
    return "".join("\\" + letter if letter in "\\|<>*_`[]" else letter for letter in text)


def main(pairs: Path, scores: Path, example: Path) -> None:
    """Read the candidates and the scores; print the table and write it to ``example`` as Markdown."""
    params = declared("show")
    query = params["example_query"]
    ranked = show(pd.read_parquet(pairs), pd.read_parquet(scores), example_query=query)
    with replacing(example) as partial:
        partial.write_text(as_markdown(ranked, query=query), encoding="utf-8")
    print(f"{query}\n{as_text(ranked)}")


if __name__ == "__main__":
    run(main, *map(Path, sys.argv[1:]))
