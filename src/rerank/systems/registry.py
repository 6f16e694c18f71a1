"""Every system that ranks candidate lists: one entry a system, which tables, pictures and stages follow.

A leaf without torch: what opens a system is named, and imported when it is opened.
"""

import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rerank.errors import UserError

FINE_TUNED = "cross_encoder"
CHANCE = "chance"
FUSED = "fused"


@dataclass(frozen=True)
class System:
    """A system.

    Attributes:
        name: what score tables and dvc.yaml call it.
        label: what tables and pictures call it.
        colour: its colour in every picture. #D55E00 is no system's: it marks what is worse, or best.
        opener: ``module:function`` of ``opened(source, *, max_length, precision, progress)``, which returns what scores
            pairs, see `rerank.systems.distinct.Scorer`, or None where this system does not exist. None: it follows
            from the lists (evaluate) or from other systems (fuse).
        source: what it scores with, in words; None when the pairs alone are enough.
        knows_warm_only: whether it knows only books that training readers have met.
        headline: whether `dvc metrics show` shows it where it has to choose; the printed table has all.
        may_tie: whether it may score all candidates alike for good reason; models never do.
    """

    name: str
    label: str
    colour: str
    opener: str | None
    source: str | None = None
    knows_warm_only: bool = False
    headline: bool = True
    may_tie: bool = False


BI_ENCODER, CROSS_ENCODER = "rerank.systems.bi_encoder:opened", "rerank.systems.cross_encoder:opened"
NEIGHBOURS = "rerank.systems.neighbours"
MODEL, TABLES = "model folder", "folder of neighbours"
READERS: dict[str, Any] = {"knows_warm_only": True, "may_tie": True}
SYSTEMS = {
    system.name: system
    for system in (
        System(CHANCE, "chance", "#8c8c8c", None, headline=False),
        System(
            "popularity",
            "popularity",
            "#E69F00",
            "rerank.systems.popularity:opened",
            "table",
            headline=False,
            **READERS,
        ),
        System("item_knn", "item-kNN", "#661100", f"{NEIGHBOURS}:item_knn", TABLES, **READERS),
        System("ease", "EASE", "#6A3D9A", f"{NEIGHBOURS}:ease", TABLES, headline=False, **READERS),
        System("bm25", "BM25", "#CC79A7", "rerank.systems.bm25:opened", headline=False, may_tie=True),
        System("bi_encoder", "bi-encoder", "#009E73", BI_ENCODER, MODEL, headline=False),
        System("bi_encoder_tuned", "tuned bi-encoder", "#117733", BI_ENCODER, MODEL),
        System("bi_encoder_cosine", "bi-encoder, cosine loss", "#882255", BI_ENCODER, MODEL),
        System("bi_encoder_contrastive", "bi-encoder, contrastive loss", "#999933", BI_ENCODER, MODEL),
        System("bi_encoder_ranking", "bi-encoder, ranking loss", "#332288", BI_ENCODER, MODEL),
        System("untuned_cross_encoder", "untuned cross-encoder", "#56B4E9", f"{CROSS_ENCODER}_untuned", MODEL),
        System(FINE_TUNED, "cross-encoder", "#0072B2", CROSS_ENCODER, MODEL),
        System(FUSED, "fusion", "#111111", None),
    )
}


def named(name: str, *, where: str) -> System:
    """Return the system of that name.

    Raises:
        UserError: when there is none; it begins with ``where``.
    """
    if name not in SYSTEMS:
        raise UserError(f"{where}: no system is called '{name}': the systems are {', '.join(SYSTEMS)}")
    return SYSTEMS[name]


def opener(system: System) -> Callable:
    """Import and return the function that opens ``system``, which has one."""
    assert system.opener, f"{system.name} has no opener"
    return pkgutil.resolve_name(system.opener)


def sources(systems: Sequence[str]) -> dict[str, Path | None]:
    """Return system → the path that it scores with, from texts such as ``bm25`` and ``bi_encoder=models/bi-encoder``.

    Raises:
        UserError: for an unknown system, one that is named twice, or a path that is missing or not wanted.
    """
    found: dict[str, Path | None] = {}
    for text in systems:
        name, equals, path = text.partition("=")
        where = f"--systems {text}"
        system = named(name, where=where)
        if system.opener is None:
            raise UserError(f"{where}: {name} is computed from what other systems and lists give: leave it out")
        if name in found:
            raise UserError(f"{where}: {name} is named twice: name it once")
        if system.source is None and equals:
            raise UserError(f"{where}: {name} scores with the pairs alone: write {name}")
        if system.source is not None and not path:
            raise UserError(f"{where}: {name} needs a {system.source}: write {name}=PATH")
        if path and not Path(path).exists():
            raise UserError(f"{where}: {path} does not exist: run `dvc repro`, or give the path of a {system.source}")
        found[name] = Path(path) if path else None
    return found
