"""How each task of `rerank.tasks` is measured and drawn: one entry a task."""

import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from rerank.measure import duplicates, ranking, similarity


@dataclass(frozen=True)
class Measuring:
    """The measuring of a task.

    Attributes:
        main: the metric that compares systems.
        headings: metric → what tables call it, ``main`` first.
        evaluate: ``(validation, test, *, max_grade, seed, samples) -> dict``, the content of data/evaluation.json.
        sizes: what was measured, in words, from that content.
        drawer: ``module:function`` of ``(validation, test, *, evaluation, favourites) -> (pictures, points)``, by file
            name without ending; imported when it draws.
    """

    main: str
    headings: Mapping[str, str]
    evaluate: Callable[..., dict[str, Any]]
    sizes: Callable[[dict[str, Any]], str]
    drawer: str

    def draw(self, *args: Any, **options: Any) -> tuple[dict, dict]:
        """Call the function that ``drawer`` names."""
        return pkgutil.resolve_name(self.drawer)(*args, **options)


MEASURING = {
    "ranking": Measuring(
        ranking.MAIN, ranking.HEADINGS, ranking.evaluate, ranking.sizes, "rerank.measure.pictures.ranking:draw"
    ),
    "similarity": Measuring(
        similarity.MAIN,
        similarity.HEADINGS,
        similarity.evaluate,
        similarity.sizes,
        "rerank.measure.pictures.similarity:draw",
    ),
    "duplicates": Measuring(
        duplicates.MAIN,
        duplicates.HEADINGS,
        duplicates.evaluate,
        duplicates.sizes,
        "rerank.measure.pictures.duplicates:draw",
    ),
}
