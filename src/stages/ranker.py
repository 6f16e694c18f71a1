"""Put what the fusion weighs into one folder, with which `python -m rerank` ranks as it was measured."""

import shutil
from pathlib import Path

from rerank.command import run
from rerank.errors import UserError
from rerank.files import replacing
from rerank.json_file import read_json, write_json
from rerank.serve.fused import RANKER
from rerank.systems.scoring import sources


def main(*, weights: Path, coreading: Path, systems: list[str], ranker: Path) -> None:
    """Copy those of SYSTEMS (NAME=PATH) that WEIGHTS weighs, and COREADING for its catalogue, into RANKER."""
    fusion, given = read_json(weights), sources(systems)
    missing = sorted(set(fusion["weights"]) - set(given))
    if missing:
        raise UserError(
            f"{weights}: weighs {', '.join(missing)}: name it with --systems, or leave it out of the fusion"
        )
    used = {name: path for name, path in given.items() if name in fusion["weights"] and path is not None}
    with replacing(ranker) as partial:
        partial.mkdir()
        for path in {coreading, *used.values()}:
            copy = shutil.copytree if path.is_dir() else shutil.copy
            copy(path, partial / path.name)
        content = {
            "weights": fusion["weights"],
            "systems": {name: path.name for name, path in used.items()},
            "coreading": coreading.name,
            "title_pattern": read_json(coreading / "chosen.json")["title_pattern"],
        }
        write_json(partial / RANKER, content, exact=True)


if __name__ == "__main__":
    run(main)
