"""Score tables: ids, labels, and a column ``score/NAME`` for each system, in folders of one parquet file a split.

Several folders may hold the scores of the same pairs, because a system that does not depend on training is scored apart
from one that does.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from rerank.errors import UserError
from rerank.files import replacing
from rerank.lists import COLD
from rerank.systems.registry import CHANCE, FINE_TUNED, FUSED, SYSTEMS, named

PREFIX = "score/"
KEYS = ("user_id", "book_id", "label")
SPLITS = ("validation", "test")


def column(system: str) -> str:
    """Return the name of a system's column."""
    return PREFIX + system


def systems_of(table: pd.DataFrame) -> list[str]:
    """Return the systems whose scores the table has, in its order."""
    return [name.removeprefix(PREFIX) for name in table.columns if name.startswith(PREFIX)]


def scores_of(table: pd.DataFrame, system: str) -> npt.NDArray[np.float64]:
    """Return one system's scores, shape (pairs,)."""
    return table[column(system)].to_numpy(dtype=np.float64)


def keys_of(pairs: pd.DataFrame) -> pd.DataFrame:
    """Return the columns `KEYS`, and the one that says which list a row belongs to where there is one."""
    return pairs[[*KEYS, *([COLD] if COLD in pairs else [])]]


def score_table(pairs: pd.DataFrame, scores: Mapping[str, npt.ArrayLike]) -> pd.DataFrame:
    """Return `keys_of` the pairs and a column for each system's scores."""
    return keys_of(pairs).assign(**{column(system): values for system, values in scores.items()})


def write(folder: Path, tables: Mapping[str, pd.DataFrame]) -> None:
    """Write each table as the parquet file of its split."""
    with replacing(folder) as partial:
        partial.mkdir()
        for split, table in tables.items():
            table.to_parquet(partial / f"{split}.parquet", index=False)


def read_pairs(split: Path) -> dict[str, pd.DataFrame]:
    """Return the pairs of validation and test of a split folder; a search set has test alone.

    Raises:
        UserError: when there is no test.parquet.
    """
    files = {name: split / f"{name}.parquet" for name in SPLITS}
    if not files["test"].is_file():
        raise UserError(f"{files['test']}: no such file: run `dvc repro`, or `dvc pull` to fetch an earlier result")
    return {name: pd.read_parquet(file) for name, file in files.items() if file.is_file()}


def read(folders: Sequence[Path]) -> tuple[pd.DataFrame | None, pd.DataFrame]:
    """Return the scores of validation and of test, all folders joined; validation is None where no folder has it.

    Raises:
        UserError: see `joined`; also when a file is missing.
    """
    tables = {folder: read_pairs(folder) for folder in folders}
    if not any("validation" in splits for splits in tables.values()):
        return None, joined({folder / "test.parquet": splits["test"] for folder, splits in tables.items()})
    for folder, splits in tables.items():
        if "validation" not in splits:
            raise UserError(
                f"{folder / 'validation.parquet'}: no such file, but other folders have it: run `dvc repro`"
            )
    validation, test = (
        joined({folder / f"{name}.parquet": splits[name] for folder, splits in tables.items()}) for name in SPLITS
    )
    return validation, test


def joined(tables: Mapping[Path, pd.DataFrame]) -> pd.DataFrame:
    """Join score tables of the same pairs: their keys, then the systems in the order of the registry.

    Args:
        tables: by the file that each comes from, for the messages.

    Raises:
        UserError: when two tables have other rows, or rows in another order; for a system that two tables have, or
            that the registry does not know.
    """
    first, table = next(iter(tables.items()))
    found: dict[str, pd.Series] = {}
    for file, other in tables.items():
        check_rows(other, table, file=file, other=first)
        for system in systems_of(other):
            named(system, where=f"{file}: column '{column(system)}'")
            if column(system) in found:
                raise UserError(f"{file}: column '{column(system)}' is in another of the tables too: score it once")
            found[column(system)] = other[column(system)]
    ordered = {column(system): found[column(system)] for system in SYSTEMS if column(system) in found}
    return keys_of(table).assign(**ordered)


def check_rows(table: pd.DataFrame, pairs: pd.DataFrame, *, file: Path, other: Path) -> None:
    """Refuse a table of other pairs, or of the same in another order; ``file`` and ``other`` are theirs.

    Raises:
        UserError: naming the first difference.
    """
    for key in KEYS:
        if key not in table:
            raise UserError(f"{file}: column '{key}' is missing: run `dvc repro` to score the pairs again")
        here, there = table[key].to_numpy(), pairs[key].to_numpy()
        if len(here) != len(there):
            raise UserError(
                f"{file}: has {len(here):,} rows, {other} has {len(there):,}: run `dvc repro` to score both"
            )
        different = np.flatnonzero(here != there)
        if len(different):
            row = different[0]
            raise UserError(
                f"{file}: row {row + 1:,} has {key} {here[row]}, in {other} it has {there[row]}: run `dvc repro` to "
                "score the same pairs in the same order"
            )


def check_comparable(table: pd.DataFrame) -> None:
    """Refuse a table in which there is nothing to compare.

    Raises:
        UserError: when it lacks the fine-tuned model, or has no other system.
    """
    systems = systems_of(table)
    others = [name for name in SYSTEMS if name not in (FINE_TUNED, CHANCE, FUSED)]
    if CHANCE in systems:
        raise UserError(f"--scores: '{column(CHANCE)}' is no scored system: it follows from the lists, leave it out")
    if FINE_TUNED not in systems:
        raise UserError(f"--scores: no folder has a column '{column(FINE_TUNED)}': score it, then evaluate")
    if not set(others) & set(systems):
        some = ", ".join(others)
        raise UserError(f"--scores: '{column(FINE_TUNED)}' has nothing to be compared with: score one of {some}")
