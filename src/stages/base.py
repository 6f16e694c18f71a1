"""Write the pretrained weights to fine-tune, and those of the bi-encoder baseline, as folders in Hub layout.

What follows depends on the hash of these folders and not on a name, so a run can be repeated without the Hub.
"""

from pathlib import Path

from rerank.command import run
from rerank.model.weights import write_base
from rerank.params import Base
from rerank.params_file import declared


def main(*, base: Path, bi_encoder: Path) -> None:
    """Write the folders ``base`` and ``bi_encoder``."""
    params = declared(Base, "base")
    write_base(params.base_model, base, key="base_model")
    write_base(params.bi_encoder, bi_encoder, key="bi_encoder")


if __name__ == "__main__":
    run(main)
