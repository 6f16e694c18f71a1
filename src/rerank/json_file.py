"""JSON files that are compared between runs: numbers with six decimals, one form, and whole or not there."""

import json
from pathlib import Path
from typing import Any

from rerank.errors import UserError
from rerank.files import replacing

DECIMALS = 6


def rounded(content: Any) -> Any:
    """Return ``content`` with the numbers of its dicts rounded to `DECIMALS`."""
    if isinstance(content, dict):
        return {key: rounded(value) for key, value in content.items()}
    return round(float(content), DECIMALS) if isinstance(content, float) else content


def read_json(path: Path) -> Any:
    """Return what a JSON file holds.

    Raises:
        UserError: when it is missing or not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file: run `dvc repro`, or `dvc pull` to fetch an earlier result") from None
    except (ValueError, OSError) as error:
        raise UserError(f"{path}: not valid JSON ({error}): get it again") from None


def write_json(path: Path, content: object, *, exact: bool = False) -> None:
    """Write content, `rounded` unless ``exact``, with a final newline; refuses NaN and infinity (ValueError)."""
    with replacing(path) as partial:
        words = json.dumps(content if exact else rounded(content), indent=2, allow_nan=False)
        partial.write_text(words + "\n", encoding="utf-8")
