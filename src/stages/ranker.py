"""Put what the fusion weighs into one folder, with which `python -m rerank` ranks as it was measured."""

import shutil
from pathlib import Path

from rerank.command import run
from rerank.errors import UserError
from rerank.files import replacing
from rerank.json_file import read_json, write_json
from rerank.params import Score
from rerank.params_file import declared
from rerank.serve.fused import RANKER
from rerank.systems.registry import sources


def main(*, weights: Path, coreading: Path, systems: list[str], ranker: Path) -> None:
    """Copy those of SYSTEMS (NAME=PATH) that WEIGHTS weighs, and COREADING for its catalogue, into RANKER."""
    params = declared(Score, "ranker")
    fusion, given = read_json(weights), sources(systems)
    weighed = {**fusion["weights"], **fusion["text_weights"]}
    missing = [name for name in weighed if given.get(name) is None]
    if missing:
        raise UserError(
            f"{weights}: weighs {', '.join(missing)}, of which --systems names no file: name it, or leave it out of "
            "what fuse weighs"
        )
    used = {name: path for name, path in given.items() if name in weighed and path is not None}
    copies = {path: "coreading" if path == coreading else name for name, path in used.items()}
    with replacing(ranker) as partial:
        partial.mkdir()
        for path, name in {coreading: "coreading", **copies}.items():
            copy = shutil.copytree if path.is_dir() else shutil.copy
            copy(path, partial / name)
        content = {
            "weights": fusion["weights"],
            "text_weights": fusion["text_weights"],
            "systems": {name: copies[path] for name, path in used.items()},
            "coreading": "coreading",
            "title_pattern": read_json(coreading / "chosen.json")["title_pattern"],
            **params.model_dump(),
        }
        write_json(partial / RANKER, content, exact=True)


if __name__ == "__main__":
    run(main)
