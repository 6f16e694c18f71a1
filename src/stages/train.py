"""Fine-tune a cross-encoder on pairs, and keep the weights with the best validation metric.

Validation is measured before the first step and every ``eval_every`` steps, so that a run which learns nothing shows it
at once. The result is a folder that loads with plain ``CrossEncoder(path)``, says in scoring.json how it scores, and
holds the same bytes after the same run: no times, no machine names.
"""

from pathlib import Path

import pandas as pd

from rerank.command import run
from rerank.json_file import write_json
from rerank.launching import launch
from rerank.lists import warm
from rerank.model.fine_tuning import train
from rerank.model.folder import Scoring, write_model
from rerank.model.lengths import share_longer
from rerank.model.losses import TEACHER, loss_named
from rerank.model.training import Curves, is_writer, some_users
from rerank.params import Train
from rerank.params_file import declared
from rerank.tasks import TASKS

# A rise of the validation metric that another seed gives as well.
HARDLY = 0.02


def main(*, split: Path, base: Path, model: Path, metrics: Path, curves: Path, teacher: Path | None = None) -> None:
    """Read train.parquet and validation.parquet; write model, metrics and curves, in one of the processes alone.

    TEACHER, a table, has scores of the training pairs that are learnt beside the labels.
    """
    params = declared(Train, "train")
    task = TASKS[params.task]
    loss_named(params.loss, symmetric=task.symmetric)
    launch("stages.train", params.launcher)
    pairs = pd.read_parquet(split / "train.parquet")
    if teacher is not None:
        taught = pairs.merge(pd.read_parquet(teacher), on=["user_id", "book_id"], how="left", validate="one_to_one")
        pairs = taught.fillna({TEACHER: 0.0})
    validation_pairs = pd.read_parquet(split / "validation.parquet")
    recorded = Curves()
    trained, validation = train(
        pairs,
        some_users(warm(validation_pairs), params.validation_users, seed=params.seed),
        base=base,
        symmetric=task.symmetric,
        validation_metric=task.validation_metric,
        record=recorded.record,
        seed=params.training_seed,
        **params.model_dump(
            exclude={"launcher", "task", "validation_users", "seed", "training_seed", "favourite_parts"}
        ),
    )
    if not is_writer():
        return
    how = Scoring(task.symmetric, params.max_grade, params.max_length, params.precision, params.task)
    if validation.best < validation.first + HARDLY:
        print(
            f"validation hardly moved: {validation.first:.3f} before the first step, {validation.best:.3f} at best: "
            "lower lr, train longer (epochs), or look at the pairs"
        )
    cut = share_longer(trained, pairs, max_length=params.max_length)
    print(f"{cut:.1%} of the training pairs have more than {params.max_length} tokens and are cut: see max_length")
    write_model(model, trained, how=how, params=params.model_dump(exclude={"launcher"}), cut_pairs=cut)
    write_json(metrics, {f"validation_{task.validation_metric}": validation.best})
    recorded.write(curves)


if __name__ == "__main__":
    run(main)
