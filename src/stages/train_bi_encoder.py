"""Fine-tune a bi-encoder on pairs with one of three losses, and keep the weights with the best validation metric.

The bi-encoder embeds each text alone, so it can search millions of texts: what a cross-encoder is compared with.
"""

from pathlib import Path

import pandas as pd

from rerank.command import run
from rerank.files import replacing
from rerank.json_file import write_json
from rerank.lists import warm
from rerank.model.bi_encoder import loss_named, train_bi_encoder
from rerank.model.training import Curves
from rerank.params import TrainBiEncoder
from rerank.params_file import declared
from rerank.tasks import TASKS


def main(*, loss_name: str, split: Path, base: Path, model: Path, metrics: Path, curves: Path) -> None:
    """Read train.parquet and validation.parquet; write model, metrics and curves."""
    loss_named(loss_name)
    params = declared(TrainBiEncoder, "train_bi_encoder")
    pairs, validation_pairs = (pd.read_parquet(split / f"{name}.parquet") for name in ("train", "validation"))
    recorded = Curves()
    trained, validation = train_bi_encoder(
        pairs,
        warm(validation_pairs),
        base=base,
        loss=loss_name,
        validation_metric=TASKS[params.task].validation_metric,
        record=recorded.record,
        seed=params.training_seed,
        **params.model_dump(exclude={"task", "training_seed"}),
    )
    with replacing(model) as unfinished:
        trained.save_pretrained(str(unfinished), create_model_card=False)
    write_json(metrics, {f"validation_{validation.metric}": validation.best})
    recorded.write(curves)


if __name__ == "__main__":
    run(main)
