"""The readers that gained and lost most: what they like, and their top ten before and after."""

from dataclasses import dataclass

import pandas as pd

from rerank.lists import warm
from rerank.measure.scores import column

SHOWN = 3
TOP = 10


@dataclass(frozen=True)
class Example:
    """A reader's list before and after.

    Attributes:
        user, context: the reader's id, and what it likes.
        base, new: nDCG@10.
        top: the new top ten: rank, rank before, label, text.
        fallen: what stood in the top ten before and no longer does, in the same columns.
    """

    user: str
    context: str
    base: float
    new: float
    top: pd.DataFrame
    fallen: pd.DataFrame


def _ranks(table: pd.DataFrame, system: str) -> pd.Series:
    """Return each pair's rank in its list, from 1; equal scores by book."""
    ordered = table.sort_values(["user_id", column(system), "book_id"], ascending=[True, False, True])
    return ordered.groupby("user_id").cumcount().add(1).set_axis([ordered["user_id"], ordered["book_id"]])


def examples(
    base: pd.DataFrame, new: pd.DataFrame, pairs: pd.DataFrame, values: pd.DataFrame, *, system: str, shown: int = SHOWN
) -> tuple[list[Example], list[Example]]:
    """Return the readers that gained most, and those that lost most, each most first.

    Args:
        base, new: score tables with ``system``.
        pairs: the test pairs of new, with the texts.
        values: nDCG@10 of the same lists, columns base and new, see `rerank.review.comparison.Compared`.
        system: whose lists.
        shown: how many of each.
    """
    difference = (values["new"] - values["base"]).dropna()
    ordered = difference[difference != 0].sort_values(kind="stable")
    chosen = ordered[ordered > 0].iloc[::-1].index[:shown], ordered[ordered < 0].index[:shown]
    users = chosen[0].union(chosen[1])
    ranks = pd.DataFrame(
        {
            name: _ranks(warm(table)[warm(table)["user_id"].isin(users)], system)
            for name, table in (("rank", new), ("before", base))
        }
    )
    lists = warm(pairs)[warm(pairs)["user_id"].isin(users)].join(ranks, on=["user_id", "book_id"])

    def example(user: str) -> Example:
        own = lists[lists["user_id"] == user].sort_values("rank")
        columns = own[["rank", "before", "label", "book_text"]]
        top = own["rank"] <= TOP
        return Example(
            str(user),
            str(own["user_ctx"].iloc[0]),
            float(values.loc[user, "base"]),
            float(values.loc[user, "new"]),
            columns[top],
            columns[~top & (own["before"] <= TOP)],
        )

    gained, lost = ([example(user) for user in names] for names in chosen)
    return gained, lost
