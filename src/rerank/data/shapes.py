"""The shapes in which people have pairs: one entry a shape.

A leaf: it names the makers and imports none, so that fetching a source depends on none of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from rerank.errors import UserError

# Params that not every shape takes, and their values where nobody wants them.
OPTIONAL: dict[str, float | None] = {"positive_from": None, "sampled_negatives": 0}


@dataclass(frozen=True)
class Shape:
    """A way in which a source holds pairs.

    Attributes:
        maker: ``MODULE:FUNCTION`` that makes pairs of the tables, see `rerank.data.shaping`; None: a row is a pair.
        takes: those of `OPTIONAL` that mean something here.
        reader: ``MODULE:FUNCTION`` that turns the files into parquet files; None: `rerank.data.conversion.convert`.
        up_to: tables of this preference and lower belong to it together, see `rerank.data.formats.Format`: judgments in
            .txt beside documents in .jsonl.
    """

    maker: str | None
    takes: tuple[str, ...] = ("sampled_negatives",)
    reader: str | None = None
    up_to: int = 0


SHAPES = {
    "pairs": Shape(None, takes=()),
    "interactions": Shape("rerank.data.interactions:make", takes=tuple(OPTIONAL), up_to=1),
    "triples": Shape("rerank.data.nested:make_from_triples"),
    "lists": Shape("rerank.data.nested:make_from_lists"),
    "beir": Shape("rerank.data.collections:make_from_beir", up_to=1),
    "trec": Shape("rerank.data.collections:make_from_beir", reader="rerank.data.headerless:convert_trec", up_to=2),
    "letor": Shape("rerank.data.collections:make_from_letor", up_to=2),
}


def shape_of(name: str) -> Shape:
    """Return the shape of that name.

    Raises:
        UserError: when there is none.
    """
    if name not in SHAPES:
        raise UserError(f"params.yaml: shape is {name!r}: give one of {', '.join(SHAPES)}")
    return SHAPES[name]


def check_taken(name: str, given: Mapping[str, float | None]) -> None:
    """Check that what is set among `OPTIONAL` means something to the shape of that name.

    Raises:
        UserError: for a value without effect.
    """
    for key, unset in OPTIONAL.items():
        if given[key] != unset and key not in shape_of(name).takes:
            others = ", ".join(other for other, shape in SHAPES.items() if key in shape.takes)
            raise UserError(
                f"params.yaml: {key} is {given[key]:g}, which shape {name} does not take: set it to "
                f"{'null' if unset is None else unset}, or shape to one of {others}"
            )
