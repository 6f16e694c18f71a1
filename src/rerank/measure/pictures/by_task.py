"""How each task of `rerank.tasks` is drawn: one entry a task.

Apart from how it is measured, so that another picture measures nothing again.
"""

from collections.abc import Callable
from typing import Any

from rerank.measure.pictures import duplicates, ranking, similarity

# (validation, test, *, evaluation, favourites) -> (pictures, points), by file name without ending.
DRAW: dict[str, Callable[..., Any]] = {
    "ranking": ranking.draw,
    "similarity": similarity.draw,
    "duplicates": duplicates.draw,
}
