"""How each task of `rerank.tasks` is measured: one entry a task; how it is drawn: `rerank.measure.pictures`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from rerank.measure import duplicates, ranking, similarity
from rerank.systems.registry import FINE_TUNED, SYSTEMS


@dataclass(frozen=True)
class Measuring:
    """The measuring of a task.

    Attributes:
        headings: metric → what tables call it; the first compares systems.
        evaluate: ``(validation, test, *, max_grade, seed, samples) -> dict``, the content of data/evaluation.json.
        sizes: what was measured, in words, from that content.
    """

    headings: Mapping[str, str]
    evaluate: Callable[..., dict[str, Any]]
    sizes: Callable[[dict[str, Any]], str]


MEASURING = {
    "ranking": Measuring(ranking.HEADINGS, ranking.evaluate, ranking.sizes),
    "similarity": Measuring(similarity.HEADINGS, similarity.evaluate, similarity.sizes),
    "duplicates": Measuring(duplicates.HEADINGS, duplicates.evaluate, duplicates.sizes),
}


def summary(evaluation: dict[str, Any]) -> dict[str, Any]:
    """Return the few values that `dvc metrics show` shows: the main metric of every system, the gain and its p.

    The gain is that of the fused system where there is one; then only the systems whose `System.headline` is true are
    shown. Of cold lists it is the fine-tuned model's metric.
    """
    comparison = evaluation.get("fusion", evaluation["comparison"])
    metric = comparison["metric"]
    cold = evaluation.get("cold", {}).get("systems", {})
    return {
        metric: {
            system: measured[metric]["value"]
            for system, measured in evaluation["systems"].items()
            if SYSTEMS[system].headline or "fusion" not in evaluation
        },
        **({f"cold_{metric}": cold[FINE_TUNED][metric]["value"]} if cold else {}),
        "gain": comparison["difference"]["value"],
        "p": comparison["p_value"],
    }
