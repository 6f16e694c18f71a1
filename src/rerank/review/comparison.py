"""Two score tables of the same readers: what each system gained, and how sure that is."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from rerank.lists import cold, warm
from rerank.measure.intervals import SAMPLES, is_finding, paired_test
from rerank.measure.metrics import METRICS, by_chance, per_user
from rerank.measure.ranking import MAIN, with_both_labels
from rerank.measure.scores import KEYS, scores_of, systems_of
from rerank.systems.registry import FINE_TUNED, FUSED, SYSTEMS

# As in data/evaluation.json: a list without a positive has no nDCG, and of a cold one without a negative every order is
# as good as another.
KINDS: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    "warm": lambda table: _with_positives(warm(table)),
    "cold": lambda table: with_both_labels(cold(table)),
}


@dataclass(frozen=True)
class Gain:
    """How a metric of a system differs on the same lists.

    Attributes:
        base, new: its means.
        difference: ``value``, ``low`` and ``high`` of new - base, see `rerank.measure.intervals.paired_test`.
        p_value: of the paired test.
    """

    base: float
    new: float
    difference: dict[str, float]
    p_value: float

    @property
    def verdict(self) -> str:
        """Better, worse or not told apart."""
        if self.difference["value"] == self.difference["low"] == self.difference["high"] == 0:
            return "the same"
        if not is_finding({"difference": self.difference, "p_value": self.p_value}):
            return "not told apart"
        return "better" if self.difference["value"] > 0 else "worse"

    def of_several(self, comparisons: int) -> "Gain":
        """Return it as one of several comparisons: its p-value times their number (Bonferroni; Dunn 1961)."""
        return replace(self, p_value=min(1.0, comparisons * self.p_value))


@dataclass(frozen=True)
class Compared:
    """The lists of one kind, warm or cold, of two revisions.

    Attributes:
        users: readers with a list to measure in base, in new, and with the same (books and labels) in both.
        gains: system → metric → gain over the same lists; of systems that both have.
        values: metric `MAIN` of each of the same lists: base and new by system, indexed by user_id.
        only: systems of base alone, and of new alone.
    """

    users: tuple[int, int, int]
    gains: dict[str, dict[str, Gain]]
    values: dict[str, pd.DataFrame]
    only: tuple[list[str], list[str]]


def _lists(table: pd.DataFrame) -> pd.Series:
    """Return what each user's list is: its books and labels, whatever their order."""
    keys = table[list(KEYS)].sort_values(["user_id", "book_id"])
    pairs = keys["book_id"].astype(str) + "\x1f" + keys["label"].astype(str)
    return pairs.groupby(keys["user_id"]).agg("\x1e".join)


def _of(table: pd.DataFrame, users: pd.Index) -> pd.DataFrame:
    return table[table["user_id"].isin(users)].sort_values(["user_id", "book_id"], ignore_index=True)


def _with_positives(lists: pd.DataFrame) -> pd.DataFrame:
    return lists[(lists["label"] > 0).groupby(lists["user_id"]).transform("any")]


def _measured(table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    users, books, labels = (table[key].to_numpy() for key in KEYS)
    return {system: per_user(users, books, labels, scores_of(table, system)) for system in systems_of(table)}


def compare(base: pd.DataFrame, new: pd.DataFrame, *, seed: int, samples: int = SAMPLES) -> Compared:
    """Compare two score tables, see `rerank.measure.scores`, on the lists that both have.

    Args:
        seed: of the resampled users and of the sign flips.
    """
    lists = [_lists(table) for table in (base, new)]
    both = lists[0].index.intersection(lists[1].index)
    same = both[(lists[0][both] == lists[1][both]).to_numpy()]
    systems = [systems_of(table) for table in (base, new)]
    only = tuple([name for name in mine if name not in others] for mine, others in (systems, systems[::-1]))
    gains: dict[str, dict[str, Gain]] = {}
    values: dict[str, pd.DataFrame] = {}
    if len(same):
        before, after = (_measured(_of(table, same)) for table in (base, new))
        for system in [name for name in SYSTEMS if name in before and name in after]:
            gains[system] = {
                metric: Gain(
                    float(np.nanmean(before[system][metric])),
                    float(np.nanmean(after[system][metric])),
                    *paired_test(after[system][metric], before[system][metric], seed=seed, samples=samples),
                )
                for metric in METRICS
                if not (before[system][metric].isna() | after[system][metric].isna()).all()
            }
            values[system] = pd.DataFrame({"base": before[system][MAIN], "new": after[system][MAIN]})
    return Compared((len(lists[0]), len(lists[1]), len(same)), gains, values, (only[0], only[1]))


def compare_kinds(base: pd.DataFrame, new: pd.DataFrame, *, seed: int) -> dict[str, Compared]:
    """Return warm and, where one of the tables has them, cold → the comparison of these lists."""
    tables = {kind: (choose(base), choose(new)) for kind, choose in KINDS.items()}
    return {kind: compare(*pair, seed=seed) for kind, pair in tables.items() if kind == "warm" or any(map(len, pair))}


def judged_system(compared: Compared) -> str | None:
    """Return the system that the verdict is about: the fusion, or else the fine-tuned model; None without both."""
    return next((name for name in (FUSED, FINE_TUNED) if name in compared.gains), None)


def chance_level(table: pd.DataFrame) -> float:
    """Return the mean nDCG@10 of a random order over the warm lists; 0 without any."""
    lists = KINDS["warm"](table)
    return float(by_chance(*(lists[key].to_numpy() for key in KEYS))[MAIN].mean()) if len(lists) else 0.0


def collapsed(table: pd.DataFrame) -> list[str]:
    """Return the systems that score all candidates of every list alike, though they are models."""
    lists = warm(table)
    return [
        system
        for system in systems_of(lists)
        if not SYSTEMS[system].may_tie
        and pd.Series(scores_of(lists, system)).groupby(lists["user_id"].to_numpy()).nunique().max() == 1
    ]
