"""Pictures of candidate lists: the gain on each of them, and what the number of known favourites changes."""

import re

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy.stats import t

from rerank.measure.intervals import CONFIDENCE
from rerank.measure.pictures.drawing import INK, MARK, colour, coloured, label, legend_beside, line, one_panel
from rerank.systems.registry import CHANCE, FINE_TUNED

MAX_POINTS = 200
FAVOURITE_BINS = 5


def gain_points(differences: pd.Series) -> pd.DataFrame:
    """Return users_percent (0 to 100) and gain, ascending, from the difference of each user; `MAX_POINTS` at most."""
    gain = np.sort(differences.to_numpy())
    percent = 100 * (np.arange(len(gain)) + 0.5) / len(gain)
    kept = np.unique(np.linspace(0, len(gain) - 1, MAX_POINTS).round().astype(int))
    return pd.DataFrame({"users_percent": percent, "gain": gain}).iloc[kept]


def gain(points: pd.DataFrame, *, differences: pd.Series, baseline: str) -> Figure:
    """Draw the gain on each candidate list (of a user, or a query), sorted.

    Args:
        points: from `gain_points`, of nDCG@10 minus that of the baseline.
        differences: the gain on each list.
        baseline: the best other system.
    """
    better, equal, worse = (100 * (np.sign(differences) == sign).mean() for sign in (1, 0, -1))
    figure, axes = one_panel(
        f"Cross-encoder minus {label(baseline)} on {len(differences):,} lists: above 0 (better) on {better:.0f} %, "
        f"0 on {equal:.0f} %, below 0 on {worse:.0f} %\nmean {differences.mean():+.3f}",
        "lists, sorted by gain (%)",
        f"nDCG@10 minus that of {label(baseline)}",
    )
    x, y = points["users_percent"], points["gain"]
    axes.fill_between(x, y.clip(lower=0), step="mid", color=colour(FINE_TUNED), alpha=0.5, linewidth=0)
    axes.fill_between(x, y.clip(upper=0), step="mid", color=MARK, alpha=0.5, linewidth=0)
    axes.step(x, y, where="mid", color=INK, linewidth=1)
    axes.axhline(0, color=INK, linewidth=0.8)
    axes.set(xlim=(0, 100))
    return figure


def favourites_of(pairs: pd.DataFrame, pattern: str | None) -> pd.Series | None:
    """Return how often ``pattern`` matches in each user's context, indexed by user_id; None for no pattern."""
    if pattern is None:
        return None
    contexts = pairs.groupby("user_id")["user_ctx"].first()
    return contexts.map(lambda context: len(re.findall(pattern, context)))


def favourite_points(measured: dict[str, pd.Series], favourites: pd.Series) -> pd.DataFrame:
    """Group users into up to `FAVOURITE_BINS` bins of similar size by their number of favourites.

    Args:
        measured: system → nDCG@10 of each user, indexed by user_id.
        favourites: number of favourites that the context of each of these users names, indexed by user_id.

    Returns:
        system, colour, favourites (mean of the bin), bin (its range), users, ndcg@10 (mean), low, high: the 95 %
        interval of the mean by Student's t, within 0..1; empty for a bin of one user.
    """
    codes = pd.qcut(favourites, FAVOURITE_BINS, labels=False, duplicates="drop").fillna(0)
    tables = []
    for system, values in measured.items():
        users = pd.DataFrame({"favourites": favourites, "ndcg@10": values}).dropna()
        bins = users.groupby(codes.loc[users.index])
        mean, size = bins["ndcg@10"].mean(), bins.size()
        half = bins["ndcg@10"].sem() * t.ppf((1 + CONFIDENCE) / 2, size - 1)
        lowest, highest = bins["favourites"].min(), bins["favourites"].max()
        names = [f"{low}" if low == high else f"{low} to {high}" for low, high in zip(lowest, highest, strict=True)]
        table = {
            "system": system,
            "favourites": bins["favourites"].mean(),
            "bin": names,
            "users": size,
            "ndcg@10": mean,
            "low": (mean - half).clip(0, 1),
            "high": (mean + half).clip(0, 1),
        }
        tables.append(pd.DataFrame(table))
    return coloured(pd.concat(tables, ignore_index=True))


def favourites(points: pd.DataFrame) -> Figure:
    """Draw nDCG@10 by the number of favourites that the context names.

    The title finds nothing: a bin has few users, and nobody has tested for a trend.

    Args:
        points: from `favourite_points`; all systems have the same bins in the same order.
    """
    bins = points.drop_duplicates("bin")
    fewest, most = bins["users"].min(), bins["users"].max()
    sizes = f"{fewest:,}" if fewest == most else f"{fewest:,} to {most:,}"
    figure, axes = one_panel(
        f"nDCG@10 by the number of favourites that the context names: {sizes} users in a bin\n"
        "mean over the users of a bin with its 95 % interval (higher is better)",
        "favourites that the user's context names",
        "nDCG@10",
    )
    curves = list(points.groupby("system", sort=False))
    for shift, (system, curve) in zip(np.linspace(-0.07, 0.07, len(curves)), curves, strict=True):
        x, y = np.arange(len(curve)) + shift, curve["ndcg@10"]
        line(axes, str(system), x, y, label(str(system)))
        if system != CHANCE:
            spread = (y - curve["low"], curve["high"] - y)
            axes.errorbar(x, y, spread, fmt="o", color=colour(str(system)), capsize=3)
    axes.set_xticks(range(len(bins)), [f"{row.bin}\n{row.users} users" for row in bins.itertuples()])
    axes.set(xlim=(-0.5, len(bins) - 0.5))
    axes.set_ylim(bottom=0)
    legend_beside(axes)
    return figure
