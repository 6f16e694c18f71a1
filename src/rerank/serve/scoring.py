"""Score parquet files of pairs, of any size: a file after the other, or several at once on Ray; a batch at a time.

The output has the same rows in the same order, with a column of scores. A file of it appears when it is whole, and one
that is there already is not scored again: see `rerank.serve.parts`.
"""

import hashlib
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from rerank.data import stores
from rerank.data.formats import told
from rerank.errors import UserError
from rerank.model.engines import engine_named
from rerank.model.folder import model_files, read_scoring
from rerank.serve.parts import METADATA_KEY, SCORE, Part, Recipe, check_parts, find_parts, left_out, unfinished
from rerank.serve.texts import BATCH_ROWS, BUFFER_BYTES, unreadable

Scorer = Callable[[Sequence[str], Sequence[str]], np.ndarray]


def score_part(part: Part, recipe: Recipe, score: Scorer) -> Iterator[int]:
    """Write the part's output, its rows with a float32 column ``score``; yield each batch's number of rows.

    Raises:
        UserError: when the file can't be read to its end; nothing is written then.
    """
    with (
        stores.copied(part.source) as copy,
        stores.written(part.target) as partial,
        pq.ParquetFile(copy, buffer_size=BUFFER_BYTES, pre_buffer=False) as source,
    ):
        schema = source.schema_arrow.append(pa.field(SCORE, pa.float32()))
        record = {METADATA_KEY: json.dumps(part.made_from(recipe)).encode()}
        schema = schema.with_metadata({**(schema.metadata or {}), **record})
        with pq.ParquetWriter(partial, schema) as writer:
            for batch in _batches(source, part.source):
                contexts, texts = (
                    batch.column(name).to_pylist() for name in (recipe.context_column, recipe.text_column)
                )
                scores = pa.array(score(contexts, texts), pa.float32())
                writer.write_batch(pa.record_batch([*batch.columns, scores], schema=schema))
                yield batch.num_rows


def _batches(file: pq.ParquetFile, source: str) -> Iterator[pa.RecordBatch]:
    batches, row = file.iter_batches(BATCH_ROWS), 0
    while True:
        try:
            batch = next(batches, None)
        except (pa.ArrowException, OSError) as error:
            raise UserError(unreadable(source, row, error)) from None
        if batch is None:
            return
        row += batch.num_rows
        yield batch


def _hash(folder: Path) -> str:
    """Return a hash of all that decides the scores of the model in ``folder``."""
    sums = hashlib.sha256()
    for file in model_files(folder):
        with (folder / file).open("rb") as stream:
            sums.update(f"{hashlib.file_digest(stream, 'sha256').hexdigest()} {file}\n".encode())
    return sums.hexdigest()


def precision_here(engine: str, precision: str) -> str:
    """Return what ``precision`` is for this process with an engine, see `rerank.model.scores.resolve_precision`."""
    # torch takes seconds to import: not before the arguments are known to be right
    from sentence_transformers.util import get_device_name

    from rerank.model.scores import resolve_precision

    return resolve_precision(precision, engine_named(engine).device or get_device_name().split(":")[0])


def ranker_of(folder: Path, recipe: Recipe) -> Any:
    """Load the model in ``folder`` for a job, see `rerank.model.ranker.load`."""
    from rerank.model.ranker import load

    return load(folder, engine=recipe.engine, precision=recipe.precision, progress=False)


def score_here(parts: Sequence[Part], recipe: Recipe, folder: Path) -> Iterator[int]:
    """Score the parts in this process with the model in ``folder``; yield numbers of rows as they are done."""
    score = ranker_of(folder, recipe).score
    for part in parts:
        yield from score_part(part, recipe, score)


@dataclass(frozen=True)
class Workers:
    """Who scores the parts of a job.

    Attributes:
        precision: ``(engine, precision) -> precision`` that all of them score in.
        score: ``(parts, recipe, folder)`` scores with the model in ``folder`` and yields numbers of rows as they are
            done.
    """

    precision: Callable[[str, str], str]
    score: Callable[[Sequence[Part], Recipe, Path], Iterator[int]]


HERE = Workers(precision_here, score_here)


def score_pairs(
    pairs: str,
    output: str,
    *,
    model_folder: Path,
    context_column: str,
    text_column: str,
    engine: str,
    workers: Workers = HERE,
) -> None:
    """Write ``pairs``, a parquet file or a folder of them, to ``output`` with a float32 column ``score``.

    Args:
        pairs, output: paths or s3:// addresses, see `rerank.serve.parts.find_parts`.
        engine: one of `rerank.model.engines.ENGINES`.
        workers: this process, or those of a cluster.

    Raises:
        UserError: when an address, column, text or the model is not what it has to be, or Ray is missing.
    """
    parts = find_parts(pairs, output, context_column=context_column, text_column=text_column)
    if others := left_out(pairs):
        print(f"{pairs}: {told(others)}", file=sys.stderr)
    model, how = _hash(model_folder), read_scoring(model_folder)
    resolved = workers.precision(engine, how.precision)
    recipe = Recipe(context_column, text_column, model, precision=resolved, engine=engine)
    missing, changes = unfinished(parts, recipe, replace=parts[0].source == pairs)
    for changed, count in changes.items():
        print(f"{output}: parts made with another {changed}, scored again: {count:,}", file=sys.stderr)
    if len(missing) < len(parts):
        print(f"{output}: parts finished already: {len(parts) - len(missing):,} of {len(parts):,}", file=sys.stderr)
    if missing:
        check_parts(missing, context_column=context_column, text_column=text_column)
        with tqdm(total=sum(part.rows for part in missing), unit=" pairs", unit_scale=True) as bar:
            for rows in workers.score(missing, recipe, model_folder):
                bar.update(rows)
