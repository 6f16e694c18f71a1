"""The params that ./dvc.yaml declares for the stage that runs, read from params.yaml and checked.

A stage gets exactly the keys that dvc.yaml lists under its ``params:``, so a param that is read but not tracked
cannot happen. Every file that it lists keys of is checked whole before any work starts: unknown keys, types and ranges.
A task's own file holds what differs; its dvc.yaml takes the other keys from the project's.
"""

import os
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError, create_model
from ruamel.yaml import YAML, YAMLError

from rerank.errors import UserError
from rerank.params import KEYS, MODELS, Params

FILE = "params.yaml"
SomeParams = TypeVar("SomeParams", bound=Params)


def allowed(key: str) -> str:
    """Say in words what a key may hold."""
    field = KEYS[key]
    kinds = getattr(field.annotation, "__args__", (field.annotation,))
    null = ", or null" if type(None) in kinds else ""
    if field.description:
        return field.description + null
    if all(isinstance(kind, str) for kind in kinds):
        return "one of " + ", ".join(map(str, kinds))
    nouns = {int: "a whole number", float: "a number", str: "a text"}
    noun = next((nouns[kind] for kind in kinds if kind in nouns), "a list of texts")
    if field.annotation == list[str]:
        noun = "a list of texts"
    words = {"gt": "above", "ge": "at least", "le": "at most"}
    limits = [
        f"{word} {getattr(limit, name):g}"
        for limit in field.metadata
        for name, word in words.items()
        if hasattr(limit, name)
    ]
    return " ".join([noun, " and ".join(limits)]).strip() + null


def check(params: dict[str, Any], *, file: str = FILE) -> None:
    """Check every key and value of a params.yaml; ``file`` is its name for the messages.

    A key that a stage needs and that is missing is DVC's to refuse.

    Raises:
        UserError: for an unknown key, or a value of the wrong type or range.
    """
    for key in params:
        if key not in KEYS:
            near = "".join(f", or write {name}" for name in get_close_matches(str(key), KEYS, n=1))
            raise UserError(f"{file}: unknown key {str(key)[:80]!r}: remove it{near}")
    for model in MODELS:
        present = {key: params[key] for key in model.model_fields if key in params}
        fields: dict[str, Any] = {key: (KEYS[key].annotation, KEYS[key]) for key in present}
        part = model if len(present) == len(model.model_fields) else create_model("Part", __base__=Params, **fields)
        try:
            part(**present)
        except ValidationError as error:
            raise _explained(error, file) from None


def _explained(error: ValidationError, file: str) -> UserError:
    first = error.errors()[0]
    if not first["loc"]:
        return UserError(f"{file}: {first['ctx']['error']}")
    key = str(first["loc"][0])
    value = first["input"] if len(first["loc"]) == 1 else "a list with another thing in it"
    return UserError(f"{file}: {key} is {value!r}: give {allowed(key)}")


def read(file: Path) -> dict[str, Any]:
    """Read YAML 1.2, in which 3e-05 is a number."""
    try:
        content = YAML(typ="safe").load(file)
    except FileNotFoundError:
        raise UserError(f"{file}: no such file: run the stage in a folder that has it") from None
    except (YAMLError, UnicodeDecodeError) as error:
        words = " ".join(str(error).split())
        raise UserError(f"{file}: can't be read ({words}): correct it") from None
    if not isinstance(content, dict):
        raise UserError(f"{file}: holds no keys: write `key: value` on each line")
    return content


def declared(model: type[SomeParams], stage: str) -> SomeParams:
    """Return the params that ./dvc.yaml declares for a stage, after checking every file that it names.

    Args:
        model: what the stage reads.
        stage: the stage's name where DVC does not tell it: when the module is run by hand.

    Raises:
        UserError: see `check`; also for a stage that ./dvc.yaml does not have, or a declared key that no file has.
    """
    name = os.environ.get("DVC_STAGE", stage).rpartition(":")[2].partition("@")[0]
    stages = read(Path("dvc.yaml")).get("stages") or {}
    if name not in stages:
        raise UserError(f"dvc.yaml: has no stage '{name}': run the module in a folder whose dvc.yaml has it")
    wanted: dict[str, list[str]] = {FILE: []}
    for entry in stages[name].get("params") or []:
        for file, keys in entry.items() if isinstance(entry, dict) else ((FILE, [entry]),):
            wanted.setdefault(file, []).extend(keys)
    found: dict[str, Any] = {}
    for file, keys in wanted.items():
        params = read(Path(file))
        check(params, file=file)
        for key in keys:
            if key not in params:
                raise UserError(f"{file}: key '{key}' is missing: add it, see the comments in the project's {FILE}")
            found[key] = params[key]
    try:
        return model(**found)
    except ValidationError as error:
        missing = ", ".join(str(part["loc"][0]) for part in error.errors() if part["loc"])
        raise UserError(
            f"dvc.yaml: stage '{name}' does not fit its params ({missing}): declare what it reads"
        ) from None
