"""Draw the scores of the test pairs, what was measured, and any training: pictures, and the points beside them.

A PNG for each question that a reader of a pull request has, and the points as CSV, so that `dvc plots diff` overlays
two commits. Nothing is scored again and torch is not imported.
"""

from pathlib import Path

from rerank.command import run
from rerank.json_file import read_json
from rerank.measure.pictures import drawing, fusion, lists, training
from rerank.measure.pictures.by_task import DRAW
from rerank.measure.scores import check_rows, read, read_pairs
from rerank.params import Plot
from rerank.params_file import declared


def main(
    *,
    split: Path,
    scores: list[Path],
    evaluation: Path,
    plots: Path,
    curves: Path | None = None,
    weights: Path | None = None,
) -> None:
    """Read the score folders and what ``evaluate`` measured; write PLOTS.

    Where they are given also CURVES, the folder of the training's, and WEIGHTS, the file of the fusion.
    """
    params = declared(Plot, "plot")
    measured = read_json(evaluation)
    validation, test = read(scores)
    pairs = read_pairs(split)["test"]
    check_rows(test, pairs, file=scores[0] / "test.parquet", other=split / "test.parquet")
    with drawing.styled():
        pictures, points = DRAW[params.task](
            validation,
            test,
            evaluation=measured,
            favourites=lists.favourites_of(pairs, params.favourite_pattern or None),
        )
        if curves is not None:
            pictures["training"] = training.training(*training.read(curves), task=params.task)
        if weights is not None:
            found = read_json(weights)
            points["fusion"] = fusion.weight_points(found)
            pictures["fusion"] = fusion.weights(points["fusion"], found)
        drawing.save(plots, pictures, points)


if __name__ == "__main__":
    run(main)
