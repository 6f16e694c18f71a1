"""The readers that gained and lost most: what they like, and their top ten before and after."""

from dataclasses import dataclass

import pandas as pd

from rerank.lists import warm
from rerank.measure.rankings import Rankings
from rerank.measure.scores import scores_of

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


def _ranks(table: pd.DataFrame, users: pd.Index, system: str) -> pd.Series:
    """Return the rank of each pair of the users' warm lists, from 1, as the metrics have it."""
    lists = warm(table[table["user_id"].isin(users)])
    users_of, books = lists["user_id"], lists["book_id"]
    ranks = Rankings(users_of, books, lists["label"], scores_of(lists, system)).ranks()
    return pd.Series(ranks, index=[users_of, books])


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
    ranks = pd.DataFrame({name: _ranks(table, users, system) for name, table in (("rank", new), ("before", base))})
    lists = warm(pairs[pairs["user_id"].isin(users)]).join(ranks, on=["user_id", "book_id"])

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
