"""One query's candidates as the cross-encoder ranks them: a metric says how good it is, this what it looks like."""

import pandas as pd
from tabulate import tabulate

from rerank.errors import UserError
from rerank.measure.markdown import escaped
from rerank.measure.scores import column
from rerank.systems.registry import FINE_TUNED

HEADINGS = ("rank", "score", "grade", "document")
ALIGNED = ("right", "right", "right", "left")
QUERIES_NAMED = 10


def example(pairs: pd.DataFrame, scores: pd.DataFrame, *, query: str | None) -> pd.DataFrame:
    """Return the ranked candidates of one query.

    Args:
        pairs: pairs with `rerank.data.pairs.COLUMNS`.
        scores: a score table of the same rows, see `rerank.measure.scores`, that has the fine-tuned system.
        query: a context of ``pairs`` in upper or lower case; of several users that have it, the first by id is taken.

    Returns:
        `HEADINGS` as columns: rank from 1, score, grade and the first line of the document's text, best first; equal
        scores by document id.

    Raises:
        UserError: when the query is not in ``pairs``, or ``scores`` lacks the fine-tuned system.
    """
    if column(FINE_TUNED) not in scores:
        raise UserError(f"--scores: no folder has a column '{column(FINE_TUNED)}': give the folder that has")
    wanted = pairs.assign(score=scores[column(FINE_TUNED)].to_numpy())
    wanted = wanted[pairs["user_ctx"].str.casefold() == (query or "").casefold()]
    if wanted.empty:
        queries = sorted(pairs["user_ctx"].unique())
        some = ", ".join(repr(other) for other in queries[:QUERIES_NAMED])
        raise UserError(
            f"params.yaml: example_query is {query!r}, and none of {len(queries):,} queries is that: give one of them, "
            f"for example {some}"
        )
    wanted = wanted[wanted["user_id"] == wanted["user_id"].min()]
    ranked = wanted.sort_values(["score", "book_id"], ascending=[False, True])
    return pd.DataFrame(
        {
            "rank": range(1, len(ranked) + 1),
            "score": ranked["score"].to_numpy(),
            "grade": ranked["label"].to_numpy(),
            "document": ["".join(text.strip().splitlines()[:1]) for text in ranked["book_text"]],
        }
    )


def _rows(ranked: pd.DataFrame) -> list[tuple[str, str, str, str]]:
    return [(f"{row.rank}", f"{row.score:.2f}", f"{row.grade}", str(row.document)) for row in ranked.itertuples()]


def as_text(ranked: pd.DataFrame) -> str:
    """Return aligned columns with a heading."""
    return tabulate([HEADINGS, *_rows(ranked)], tablefmt="plain", colalign=ALIGNED, disable_numparse=True)


def as_markdown(ranked: pd.DataFrame, *, query: str) -> str:
    """Return a heading with the query and the table, in which no title can break out of its cell."""
    rows = [(*numbers, escaped(document)) for *numbers, document in _rows(ranked)]
    table = tabulate(rows, HEADINGS, "pipe", colalign=ALIGNED, disable_numparse=True)
    return f"# {escaped(query)}\n\n{table}\n"
