"""Fine-tuning a cross-encoder, from a base model and two tables of pairs to the weights with the best validation."""

import tempfile
from pathlib import Path

import pandas as pd
from sentence_transformers import CrossEncoder, CrossEncoderTrainer, CrossEncoderTrainingArguments

from rerank.model.collapse import COLLAPSED
from rerank.model.encoder import build, head_parameters
from rerank.model.lengths import check_words
from rerank.model.losses import TEACHER, loss_named
from rerank.model.scores import score
from rerank.model.tokens import tokenize_once
from rerank.model.training import Record, Schedule, Validation, arguments, is_writer, make_deterministic


def train(
    pairs: pd.DataFrame,
    validation_pairs: pd.DataFrame,
    *,
    base: Path,
    seed: int,
    max_grade: int,
    lr: float,
    head_lr: float,
    epochs: float,
    batch_size: int,
    warmup: float,
    dropout: float,
    max_length: int,
    loss: str,
    teacher_weight: float,
    symmetric: bool,
    validation_metric: str,
    precision: str,
    eval_every: int,
    patience: int,
    record: Record,
) -> tuple[CrossEncoder, Validation]:
    """Fine-tune the model in ``base`` and return it with its best weights, and what validation saw.

    Args:
        pairs, validation_pairs: frames with the columns of `rerank.data.pairs`; ``pairs`` may have `TEACHER` too.
        base: model folder in Hub layout; one without a head gets a new one.
        lr, head_lr: peak learning rates of the pretrained layers and of the head.
        warmup: share of the steps, 0 to 1, over which the learning rates rise from 0.
        symmetric: whether both orders of the texts are learnt, and a score is the mean of both.
        validation_metric: one of `rerank.measure.quality.QUALITIES`.
        record: called with a name, its value and the step.
        The other arguments are explained in params.yaml.

    Raises:
        UserError: when the loss or the base model can't do what is asked or learn from the pairs, when the metric is no
            number, or when the scores stop being finite, or become all the same.
    """
    chosen = loss_named(loss, symmetric=symmetric)
    make_deterministic(seed)
    model = build(base, max_length=max_length, dropout=dropout, seed=seed)
    check_words(model, pairs, base=base)
    if teacher_weight == 0:
        pairs = pairs.drop(columns=TEACHER, errors="ignore")
    data = chosen.rows(pairs, max_grade=max_grade, symmetric=symmetric)
    rows_per_step, sampler = chosen.steps(data, batch_size)
    contexts, texts = validation_pairs["user_ctx"].tolist(), validation_pairs["book_text"].tolist()
    validation = Validation(
        pairs=validation_pairs,
        scorer=lambda model: score(model, contexts, texts, precision=precision, symmetric=symmetric),
        metric=validation_metric,
        system="cross_encoder",
        advice=COLLAPSED,
        record=record,
    )
    with tempfile.TemporaryDirectory() as folder:
        args = CrossEncoderTrainingArguments(
            output_dir=folder,
            num_train_epochs=epochs,
            learning_rate=lr,
            warmup_steps=warmup,
            batch_sampler=sampler,
            eval_strategy="steps",
            eval_steps=eval_every,
            logging_steps=max(1, eval_every // 5),
            **arguments(
                model,
                rows_per_step=rows_per_step,
                head=head_parameters(model),
                head_lr=head_lr,
                precision=precision,
                seed=seed,
            ),
        )
        trainer = CrossEncoderTrainer(
            model=model,
            args=args,
            train_dataset=data,
            loss=chosen.make(model, teacher_weight if TEACHER in pairs else 0.0),
            evaluator=validation,
            callbacks=[Schedule(validation, patience=patience)],
        )
        tokenize_once(model)
        trainer.train()
    if is_writer():
        model.load_state_dict(validation.weights)
    return model, validation
