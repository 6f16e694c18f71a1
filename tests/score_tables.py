"""Made-up candidate lists with their scores, on disk as the stages leave them."""

from pathlib import Path

import numpy as np
import pandas as pd

SYSTEMS = ["popularity", "bm25", "bi_encoder", "cross_encoder"]
UNTRAINED, TRAINED = Path("data/scores/untrained"), Path("data/scores/trained")
KEYS = ["user_id", "book_id", "label"]


def score_table(users: int = 60, candidates: int = 20, positives: int = 4, seed: int = 0) -> pd.DataFrame:
    """Scores of four systems; the cross-encoder sees the label through noise, bm25 through more."""
    generator = np.random.default_rng(seed)
    rows = users * candidates
    label = np.tile([1] * positives + [0] * (candidates - positives), users)
    table = pd.DataFrame(
        {
            "user_id": np.repeat([f"u{number}" for number in range(users)], candidates),
            "book_id": np.tile([f"b{number}" for number in range(candidates)], users),
            "label": label.astype("int32"),
        }
    )
    for system, signal in zip(SYSTEMS, (0, 0.5, 0, 1.5), strict=True):
        table[f"score/{system}"] = signal * label + generator.normal(size=rows)
    return table


def keys_of(table: pd.DataFrame) -> list[str]:
    """The columns of a table that its pairs and its scores share."""
    return [*KEYS, "cold"] if "cold" in table else KEYS


def pairs_of(table: pd.DataFrame) -> pd.DataFrame:
    """The pairs behind a score table; the contexts of the users name one to seven favourites."""
    favourites = 1 + pd.factorize(table["user_id"])[0] % 7
    contexts = ["Favourites: " + ", ".join(["A Book by Somebody"] * number) for number in favourites]
    return table[keys_of(table)].assign(user_ctx=contexts, book_text="Title: " + table["book_id"])


def write_split(folder: Path, **tables: pd.DataFrame) -> None:
    """Write a folder of one parquet file a split."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, table in tables.items():
        table.to_parquet(folder / f"{split}.parquet", index=False)


def write_scores(validation: pd.DataFrame | None, test: pd.DataFrame) -> None:
    """Write data/split, `UNTRAINED` and `TRAINED` below the current folder."""
    tables = {"test": test} if validation is None else {"validation": validation, "test": test}
    write_split(Path("data/split"), **{split: pairs_of(table) for split, table in tables.items()})
    trained = "score/cross_encoder"
    write_split(UNTRAINED, **{split: table.drop(columns=trained) for split, table in tables.items()})
    write_split(TRAINED, **{split: table[[*keys_of(table), trained]] for split, table in tables.items()})


def write_params(**params: object) -> None:
    """Write a params.yaml and a dvc.yaml whose stages declare those that they read."""
    keys = {
        "score": ("max_length", "precision"),
        "ranker": ("max_length", "precision"),
        "evaluate": ("seed", "task", "max_grade"),
        "plot": ("task", "favourite_pattern"),
        "show": ("example_query",),
    }
    stages = {
        stage: f"{{cmd: x, params: [{', '.join(key for key in wanted if key in params)}]}}"
        for stage, wanted in keys.items()
    }
    Path("params.yaml").write_text("".join(f"{key}: {value!r}\n" for key, value in params.items()))
    Path("dvc.yaml").write_text("stages:\n" + "".join(f"  {name}: {text}\n" for name, text in stages.items()))
