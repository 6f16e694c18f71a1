"""The plots that dvc.yaml declares, with the points of two revisions or more."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from rerank.measure.markdown import shown
from rerank.systems.registry import SYSTEMS

# The templates of .dvc/plots, and DVC's own, that are drawn over each other: the column that says whose a curve is.
TEMPLATES = {
    "intervals": None,
    "curves": "system",
    "curves_with_intervals": "system",
    "shares": "label",
    "simple": None,
}


@dataclass(frozen=True)
class Plot:
    """A plot as dvc.yaml declares it, and the points of each revision by its name, the oldest first."""

    title: str
    template: str
    x: str
    y: str
    x_label: str
    y_label: str
    points: Mapping[str, pd.DataFrame]

    @property
    def is_by_system(self) -> bool:
        """Whether each row of the points is a system's, as in an interval a system."""
        return self.template == "intervals"

    @property
    def rows(self) -> list[str]:
        """The systems, or what stands for them, of the last revision that has them, in its order."""
        tables = [*self.points.values()][::-1]
        return list(dict.fromkeys(str(name) for table in tables for name in table[self.y]))

    def alternative(self) -> str:
        """Return what the picture shows, in words."""
        if not self.is_by_system:
            return f"{self.title}: {', '.join(self.points)} over each other"
        said = []
        for row in reversed(self.rows):
            values = (
                f"{table.loc[table[self.y].astype(str) == row, self.x].iloc[0]:.3f} {name}"
                for name, table in self.points.items()
                if (table[self.y].astype(str) == row).any()
            )
            said.append(f"{label(row)} {', '.join(values)}")
        return f"{self.title}: {'; '.join(said)}"


def label(name: str) -> str:
    """Return what pages call a system; another name stays as far as it prints."""
    return SYSTEMS[name].label if name in SYSTEMS else shown(name)


def declared(stages: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the properties of each plot of a dvc.yaml's stages by its path; of a picture they are empty."""
    found: dict[str, dict[str, Any]] = {}
    for stage in stages.values():
        for entry in stage.get("plots", []):
            pairs = entry.items() if isinstance(entry, Mapping) else [(str(entry), {})]
            found |= {str(path): dict(properties or {}) for path, properties in pairs}
    return found


def overlaid(properties: Mapping[str, Any], points: Mapping[str, pd.DataFrame | None]) -> Plot | None:
    """Return a declared plot with the points of all revisions.

    None where they are the same, where one lacks them, and for what is no such plot: several columns on an axis,
    another template, texts in place of numbers, two metrics on one axis.

    Raises:
        ValueError: for points without a column that the plot needs.
    """
    there = [table for table in points.values() if table is not None]
    template, x, y = (properties.get(key) for key in ("template", "x", "y"))
    if template not in TEMPLATES or not (isinstance(x, str) and isinstance(y, str)) or len(there) < len(points):
        return None
    if len(there) > 1 and all(there[0].equals(table) for table in there):
        return None
    numbers = [x] if template == "intervals" else [x, y]
    for table in there:
        if missing := [name for name in (x, y, TEMPLATES[template]) if name and name not in table]:
            raise ValueError(f"it has no column '{missing[0]}'")
        if not all(pd.api.types.is_numeric_dtype(table[name]) for name in numbers):
            return None
    if len({tuple(sorted(set(table["metric"].astype(str)))) for table in there if "metric" in table}) > 1:
        return None
    named = {"title": "", "x_label": x, "y_label": y}
    title, x_label, y_label = (str(properties.get(key, default)) for key, default in named.items())
    return Plot(title, template, x, y, x_label, y_label, dict(zip(points, there, strict=True)))


def series(plot: Plot, *, most: int) -> tuple[list[str], list[list[float]]] | None:
    """Return places on x and the values of each revision there, of at most ``most`` places that all have; or None.

    Only of an interval a system and of a single line; None, too, for fewer than two places or values that are no finite
    numbers.
    """
    if plot.template not in ("intervals", "simple"):
        return None
    key, value = (plot.y, plot.x) if plot.is_by_system else (plot.x, plot.y)
    tables = [table.groupby(key, sort=False)[value].last() for table in plot.points.values()]
    shared: Sequence[Any] = [place for place in tables[-1].index if all(place in table.index for table in tables)]
    if plot.is_by_system:
        shared = shared[::-1]
    shared = shared[:: -(-len(shared) // most) or 1]
    values = [[float(table[place]) for place in shared] for table in tables]
    if len(shared) < 2 or not np.isfinite(values).all():
        return None
    return [label(place) if plot.is_by_system else f"{place:.4g}" for place in shared], values
