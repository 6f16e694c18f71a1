"""The picture of the fusion: what each system weighs, and what is lost without it."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from rerank.measure.pictures.drawing import coloured, label, titled


def weight_points(fusion: Mapping[str, Any]) -> pd.DataFrame:
    """Return system, colour, weight (0 for one left out) and lost, ascending by weight; ``fusion`` is what fuse writes.

    ``lost`` is the cross-validated nDCG@10 of the fusion minus that of one without the system.
    """
    measured = fusion["ndcg"]
    rows = [
        (system, fusion["weights"].get(system, 0.0), measured["fused"] - without)
        for system, without in measured["without"].items()
    ]
    return coloured(pd.DataFrame(rows, columns=["system", "weight", "lost"])).sort_values("weight")


def weights(points: pd.DataFrame, fusion: Mapping[str, Any]) -> Figure:
    """Draw a bar a system for its weight, and one for what is lost without it.

    Args:
        points: from `weight_points`.
    """
    ((single, alone),) = fusion["ndcg"]["single"].items()
    fused = fusion["ndcg"]["fused"]
    found = f"nDCG@10 of validation readers, cross-validated: fused {fused:.3f}, {label(single)} alone {alone:.3f}"
    title = f"No fusion ranks better than {label(single)}: it is taken alone" if fusion["penalty"] is None else found
    figure = titled(f"{title}\n{found}" if title != found else title, size=(8, 1.8 + 0.4 * len(points)))
    left, right = figure.subplots(1, 2, sharey=True)
    names = [label(system) for system in points["system"]]
    for axes, column, words in (
        (left, "weight", "weight of the standardised scores\n(larger counts more)"),
        (right, "lost", "nDCG@10 lost without the system\n(larger adds more)"),
    ):
        axes.barh(names, points[column], color=points["colour"])
        axes.axvline(0, color="#333333", linewidth=0.8)
        axes.set_xlabel(words)
        axes.grid(axis="y", visible=False)
    return figure
