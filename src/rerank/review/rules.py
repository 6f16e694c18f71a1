"""A gate: rules, one a line, that say which losses a change must not have.

``fused.ndcg@10 < -0.01`` fails when the difference is below -0.01 and the readers are sure of a loss: its 95 % interval
lies below 0 and the paired test has p < 0.05. ``strictly`` at the end fails at the number alone. ``cold.`` in front
means the lists of cold books.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from rerank.errors import UserError
from rerank.measure.metrics import METRICS
from rerank.review.comparison import Compared
from rerank.systems.registry import SYSTEMS

RULE = re.compile(r"(?:(cold)\.)?(\w+)\.([\w@]+)\s*<\s*(-?\d*\.?\d+)(\s+strictly)?")
FORM = (
    "write SYSTEM.METRIC < NUMBER, such as fused.ndcg@10 < -0.01, with 'strictly' behind it to leave out the interval"
)


@dataclass(frozen=True)
class Rule:
    """A loss that is not allowed: the difference of a system's metric below ``limit``."""

    text: str
    kind: str
    system: str
    metric: str
    limit: float
    strict: bool


def rule(text: str, *, where: str) -> Rule:
    """Read a rule; ``where`` it stands, for the message.

    Raises:
        UserError: for one of another form, or an unknown system or metric.
    """
    found = RULE.fullmatch(text.strip())
    if not found:
        raise UserError(f"{where}: {text.strip()!r} is no rule: {FORM}")
    kind, system, metric, limit, strict = found.groups()
    for noun, name, known in (("system", system, SYSTEMS), ("metric", metric, METRICS)):
        if name not in known:
            raise UserError(f"{where}: {name!r} is no {noun}: give one of {', '.join(known)}")
    return Rule(text.strip(), kind or "warm", system, metric, float(limit), bool(strict))


def read_rules(text: str, *, where: str) -> list[Rule]:
    """Read the rules of a file: one a line; blank lines and what follows # say nothing."""
    lines = ((number, line.partition("#")[0]) for number, line in enumerate(text.splitlines(), start=1))
    return [rule(line, where=f"{where}: line {number}") for number, line in lines if line.strip()]


def broken(rules: list[Rule], compared: Mapping[str, Compared]) -> list[str]:
    """Return a line for each rule that is broken, or that can't be judged: most of its lists are others, or none is."""
    lines = []
    for one in rules:
        kind = compared.get(one.kind)
        gain = kind.gains.get(one.system, {}).get(one.metric) if kind else None
        if kind is None or gain is None:
            lines.append(f"{one.text}: can't be judged: the revisions have no list of it in common")
            continue
        if 2 * kind.users[2] < kind.users[1]:
            same = f"only {kind.users[2]:,} of {kind.users[1]:,} lists are those of before"
            lines.append(f"{one.text}: can't be judged: {same}")
            continue
        value, low, high = (gain.difference[name] for name in ("value", "low", "high"))
        if value < one.limit and (one.strict or gain.verdict == "worse"):
            lines.append(f"{one.text}: it is {value:+.3f} ({low:+.3f} to {high:+.3f}), p = {gain.p_value:.3f}")
    return lines
