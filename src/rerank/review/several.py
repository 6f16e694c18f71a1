"""The page on several revisions, such as a queue of learning rates: one table, one plot, the base among them."""

from collections.abc import Sequence

import pandas as pd

from rerank.review.comparison import MAIN, judged_system
from rerank.review.content import HEADING, Page, Review, Section, Table, interval, page
from rerank.review.gathering import plots
from rerank.review.plots import Plot
from rerank.review.revisions import Revision
from rerank.systems.registry import SYSTEMS

# Lines that a picture holds: of more revisions the table says all.
MANY = 6


def _results(reviews: Sequence[Review]) -> list[Plot]:
    """Return the plot of what each revision gained over the base, where all are judged by the same system."""
    systems = {judged_system(one.compared["warm"]) if "warm" in one.compared else None for one in reviews}
    if len(systems) != 1 or not (system := systems.pop()):
        return []
    gains = {one.new: one.compared["warm"].gains[system][MAIN] for one in reviews}
    rows = [
        (name, SYSTEMS[system].colour, *(gain.difference[key] for key in ("value", "low", "high")))
        for name, gain in reversed(gains.items())
    ]
    table = pd.DataFrame(rows, columns=["revision", "colour", "difference", "low", "high"])
    title = f"{HEADING} of the {SYSTEMS[system].label} minus that of {reviews[0].base} (above 0 is better)"
    label = f"difference in {HEADING} with its 95 % interval"
    return [Plot(title, "intervals", "difference", "revision", label, "", {reviews[0].base: table})]


def _params(review: Review) -> str:
    return ", ".join(f"{key}={now}" for key, _, now in review.params) or "none"


def _known(value: float | None) -> float:
    return float("-inf") if value is None else value


def _shown(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def several(base: Revision, revisions: Sequence[Revision], reviews: Sequence[Review]) -> Page:
    """Return the page on several revisions against one base, best validation first.

    Args:
        reviews: of each of the revisions.

    Each p-value is multiplied by the number of comparisons (Bonferroni): the best of many looks good by chance.
    """
    ordered = sorted(reviews, key=lambda one: _known(one.validation[1]), reverse=True)
    known_before = reviews[0].validation[0]
    rows = [[base.name, "", _shown(known_before), *([""] * 5), "the base"]]
    for review in ordered:
        compared = review.compared.get("warm")
        system = judged_system(compared) if compared else None
        measured = ["", "", "", "", "nothing to compare"]
        if compared and system:
            gain = compared.gains[system][MAIN].of_several(len(reviews))
            value = f"{gain.difference['value']:+.3f}"
            measured = [f"{gain.new:.3f}", value, interval(gain), f"{gain.p_value:.3f}", gain.verdict]
            rows[0][3:5] = [SYSTEMS[system].label, f"{gain.base:.3f}"]
        label = SYSTEMS[system].label if system else ""
        rows.append([review.new, _params(review), _shown(review.validation[1]), label, *measured])
    headings = ["revision", "params", "validation", "system", f"test {HEADING}", "difference", "95 % interval"]
    candidates = [(base.name, known_before), *((one.new, one.validation[1]) for one in ordered)]
    best = max(candidates, key=lambda named: _known(named[1]))
    drawn = _results(reviews)
    if len(revisions) <= MANY:
        drawn += [plot for plot in plots({one.name: one for one in (base, *revisions)}) if plot.template == "simple"]
    details = [
        Section(
            review.new,
            [],
            [f"broken: {line}" for line in review.broken] + list(review.warnings),
            folded={section.title: section.table for section in page(review).sections if section.table},
        )
        for review in ordered
    ]
    return Page(
        f"{len(reviews)} revisions against {base.name}",
        "No validation metric is known" if best[1] is None else f"{best[0]} is best on validation",
        ": choose by that column; test figures are for the one chosen.",
        [
            Section(
                "Revisions",
                [f"Each p is multiplied by {len(reviews)}, the number of comparisons: of many, some look good."],
                table=Table([*headings, "p", "verdict"], rows, (2, 4, 5, 6, 7)),
            ),
            *([Section("Plots", plots=drawn)] if drawn else []),
            *details,
        ],
    )
