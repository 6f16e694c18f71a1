"""What is different between two revisions before anything is measured: data, params, stages and libraries."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ruamel.yaml import YAML

Change = tuple[str, Any, Any]
# What stands for a key that one of two revisions does not have.
NONE = "-"


def flat(content: Any, prefix: str = "") -> dict[str, Any]:
    """Return the values of nested mappings by their keys, joined with dots."""
    if not isinstance(content, Mapping):
        return {prefix: content}
    found: dict[str, Any] = {}
    for key, value in content.items():
        found |= flat(value, f"{prefix}.{key}" if prefix else str(key))
    return found


def changes(base: Mapping[str, Any], new: Mapping[str, Any]) -> list[Change]:
    """Return key, value before and value after of all that differs, in the order of ``new``, then of ``base``."""
    keys = [*new, *(key for key in base if key not in new)]
    return [(key, base.get(key, NONE), new.get(key, NONE)) for key in keys if _differ(base, new, key)]


def _differ(base: Mapping[str, Any], new: Mapping[str, Any], key: str) -> bool:
    """Whether a key has another value, true and 1 apart, or is in one of the two alone."""
    if not (key in base and key in new):
        return True
    return base[key] != new[key] or isinstance(base[key], bool) != isinstance(new[key], bool)


def of_yaml(content: bytes | None) -> dict[str, Any]:
    """Return the flat content of a YAML file; empty for None."""
    return flat(YAML(typ="safe").load(content.decode()) or {}) if content else {}


def of_json(content: bytes | None) -> dict[str, Any]:
    """Return the flat content of a JSON file; empty for None."""
    return flat(json.loads(content)) if content else {}


def of_requirements(content: bytes | None) -> dict[str, str]:
    """Return library → pinned version of a requirements.txt."""
    lines = content.decode().splitlines() if content else []
    pins = (line.partition(";")[0].partition("==") for line in lines)
    return {name.strip(): version.strip() for name, equals, version in pins if equals}


@dataclass(frozen=True)
class StageChange:
    """How a stage differs in two dvc.lock files.

    Attributes:
        name: the stage's.
        reasons: the params, inputs and code that differ, or the command.
        outputs: how many of its outputs differ, and how many it has.
    """

    name: str
    reasons: list[str]
    outputs: tuple[int, int]


def _hashes(stage: Mapping[str, Any], kind: str) -> dict[str, str]:
    return {entry["path"]: str(entry.get("md5") or entry.get("etag")) for entry in stage.get(kind, [])}


def stages_of(content: bytes | None) -> dict[str, Any]:
    """Return the stages of a dvc.yaml or dvc.lock; empty for None.

    Raises:
        ValueError: when it has none.
    """
    if content is None:
        return {}
    parsed = YAML(typ="safe").load(content.decode())
    stages = parsed.get("stages", {}) if isinstance(parsed, dict) else None
    if not isinstance(stages, dict) or not all(isinstance(stage, dict) for stage in stages.values()):
        raise ValueError("it holds no stages")
    return stages


def stage_changes(base: Mapping[str, Any], new: Mapping[str, Any], *, declared: Mapping[str, Any]) -> list[StageChange]:
    """Return the stages of two dvc.lock files, see `stages_of`, that differ, in the order of dvc.yaml."""
    found = []
    for name in dict.fromkeys([*(name for name in declared if name in new or name in base), *new, *base]):
        old, now = base.get(name, {}), new.get(name, {})
        inputs = [key for key, *_ in changes(_hashes(old, "deps"), _hashes(now, "deps"))]
        params = [key for key, *_ in changes(*(_params(stage) for stage in (old, now)))]
        command = ["the command"] if old and now and old.get("cmd") != now.get("cmd") else []
        outs = [_hashes(stage, "outs") for stage in (old, now)]
        different = changes(*outs)
        if command or inputs or params or different:
            new_stage = [] if old and now else ["the stage is new" if now else "the stage is gone"]
            reasons = new_stage or [*command, *params, *inputs]
            found.append(StageChange(name, reasons, (len(different), len({**outs[0], **outs[1]}))))
    return found


def _params(stage: Mapping[str, Any]) -> dict[str, Any]:
    """Return the params of a stage in dvc.lock, of all files."""
    return {key: value for params in stage.get("params", {}).values() for key, value in params.items()}
