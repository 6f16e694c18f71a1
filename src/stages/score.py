"""Score the validation and test pairs with the named systems: one table a split, one column a system.

Whatever is measured, compared or drawn later needs no model.
"""

from pathlib import Path

from rerank.command import run
from rerank.measure.scores import read_pairs, score_table, write
from rerank.params import Score
from rerank.params_file import declared
from rerank.systems.registry import sources
from rerank.systems.scoring import score


def main(*, split: Path, scores: Path, systems: list[str]) -> None:
    """Write validation.parquet and test.parquet, those that SPLIT has, to SCORES.

    SYSTEMS are names such as bm25, and NAME=PATH for those that score with a model or a table.
    """
    params = declared(Score, "score")
    wanted = sources(systems)
    tables = {
        name: score_table(pairs, score(pairs, wanted, **params.model_dump()))
        for name, pairs in read_pairs(split).items()
    }
    write(scores, tables)


if __name__ == "__main__":
    run(main)
