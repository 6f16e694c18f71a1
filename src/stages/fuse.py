"""Weigh the systems by what ranks best for validation readers, and score validation and test with the weighted sum.

Validation readers are scored with weights that were learnt from the others. Where no fusion ranks better than the best
single system, that system is what is written, and the printed line says so.
"""

from dataclasses import asdict
from pathlib import Path

from rerank.command import run
from rerank.errors import UserError
from rerank.json_file import write_json
from rerank.lists import is_cold, numbers
from rerank.measure.scores import read, score_table, scores_of, systems_of, write
from rerank.systems.fusion import fit, summary
from rerank.systems.registry import FUSED, named


def main(*, scores: list[Path], weigh: list[str], fused: Path, weights: Path) -> None:
    """Read the score folders; WEIGH the named systems that exist; write the score folder FUSED, and WEIGHTS."""
    validation, test = read(scores)
    if validation is None:
        raise UserError(f"{scores[0]}: has no validation.parquet, which the weights are learnt from")
    both = set(systems_of(validation)) & set(systems_of(test))
    systems = [named(name, where="--weigh").name for name in weigh if name in both]
    fusion, held_out = fit(validation, {name: scores_of(validation, name) for name in systems})
    of_test = fusion.scores({name: scores_of(test, name) for name in systems}, numbers(test), is_cold(test))
    write(
        fused,
        {"validation": score_table(validation, {FUSED: held_out}), "test": score_table(test, {FUSED: of_test})},
    )
    write_json(weights, asdict(fusion))
    print(summary(fusion))


if __name__ == "__main__":
    run(main)
