"""Rank candidates for one user, or score a table of pairs, with a fine-tuned cross-encoder.

The command line around a trained model: `python -m rerank --model models/cross-encoder --user TEXT FILE` prints the
candidates best first; with --pairs and --output it adds a column of scores to a parquet file, a batch at a time, so
that memory does not grow with the file.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from rerank.errors import UserError, run
from rerank.files import replacing

Scorer = Callable[[Sequence[str], Sequence[str]], np.ndarray]
SCORE = "score"
BATCH_ROWS = 65_536


def rank(candidates: Sequence[str], scores: Sequence[float], *, top: int | None) -> list[dict[str, int | float | str]]:
    """Return ``rank`` (from 1), ``score`` and ``candidate``, best first; equal scores keep their order."""
    order = sorted(range(len(candidates)), key=lambda number: -scores[number])[:top]
    return [
        {"rank": place, "score": round(float(scores[number]), 4), "candidate": candidates[number]}
        for place, number in enumerate(order, start=1)
    ]


def table(ranked: Sequence[dict[str, int | float | str]]) -> str:
    """Return aligned columns with a heading."""
    rows = [
        ("rank", "score", "candidate"),
        *((str(r["rank"]), f"{r['score']:.4f}", str(r["candidate"])) for r in ranked),
    ]
    places, scores = (max(len(row[column]) for row in rows) for column in (0, 1))
    return "\n".join(f"{place:>{places}}  {score:>{scores}}  {candidate}" for place, score, candidate in rows)


def read_candidates(file: str) -> list[str]:
    """Return the lines that are not blank of a UTF-8 file, or of standard input when ``file`` is ``-``.

    Raises:
        UserError: when the file is missing or not UTF-8 text, or no line is left.
    """
    try:
        text = (sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(f"{file}: is not UTF-8 text: give a text file with one candidate a line") from None
    except (FileNotFoundError, IsADirectoryError):
        raise UserError(f"{file}: no such file: give a text file with one candidate a line, or -") from None
    candidates = [line.strip() for line in text.split("\n") if line.strip()]
    if not candidates:
        raise UserError(f"{'standard input' if file == '-' else file}: holds no candidates: write one a line")
    return candidates


def _texts(batch: pa.RecordBatch, column: str, pairs: Path) -> list[str]:
    texts = batch.column(column).to_pylist()
    for text in texts:
        if not isinstance(text, str):
            raise UserError(f"{pairs}: column '{column}' holds {text!r}: it must be text in every row")
    return texts


def _open_pairs(pairs: Path, options: dict[str, str]) -> pq.ParquetFile:
    if not pairs.is_file():
        raise UserError(f"{pairs}: no such file: --pairs takes one parquet file")
    try:
        source = pq.ParquetFile(pairs)
    except pa.ArrowInvalid as error:
        raise UserError(
            f"{pairs}: not a readable parquet file ({str(error).splitlines()[0]}): write it again"
        ) from None
    names = source.schema_arrow.names
    for option, column in options.items():
        if column not in names:
            raise UserError(f"{pairs}: column '{column}' is missing (it has {', '.join(names)}): set {option}")
    if SCORE in names:
        raise UserError(f"{pairs}: column '{SCORE}' is there already: rename or drop it")
    return source


def score_pairs(
    pairs: Path, output: Path, *, context_column: str, text_column: str, scorer: Callable[[], Scorer]
) -> None:
    """Write ``pairs`` to ``output`` with a float32 column ``score``; rows keep their order.

    Args:
        pairs, output: parquet files; they may be the same.
        scorer: gives the function that scores contexts and texts; called once the input has been checked.

    Raises:
        UserError: when a file, folder or column is missing, or a text is null or no text.
    """
    source = _open_pairs(pairs, {"--context-column": context_column, "--text-column": text_column})
    if not output.parent.is_dir():
        raise UserError(f"{output}: the folder {output.parent} does not exist: create it, or give another --output")
    if output.is_dir():
        raise UserError(f"{output}: is a folder: give the path of a file as --output")
    score = scorer()
    schema = source.schema_arrow.append(pa.field(SCORE, pa.float32()))
    with replacing(output) as partial, source, pq.ParquetWriter(partial, schema) as writer:
        for batch in source.iter_batches(BATCH_ROWS):
            scores = score(_texts(batch, context_column, pairs), _texts(batch, text_column, pairs))
            writer.write_batch(pa.record_batch([*batch.columns, pa.array(scores, pa.float32())], schema=schema))


def scorer_of(folder: Path) -> Scorer:
    """Load the model in ``folder`` and return the function that scores contexts and texts with it.

    Raises:
        UserError: when there is no model.
    """
    if not (folder / "config.json").is_file() and not (folder / "modules.json").is_file():
        raise UserError(f"{folder}: holds no model: run `dvc repro` to train one, or `dvc pull` to fetch one")
    from rerank import model  # torch takes seconds to import: not before the arguments are known to be right

    if not model.has_head(folder):
        raise UserError(f"{folder}: gives embeddings, not scores: give a cross-encoder such as models/cross-encoder")
    loaded = model.load(folder)
    return lambda contexts, texts: model.score(loaded, contexts, texts, precision="auto")


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is below 1")
    return number


def arguments() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m rerank",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Rank candidates for one user, best first, or score a parquet file of pairs.",
        epilog="examples:\n"
        '  python -m rerank --model models/cross-encoder --user "Favorite books: Dune" --top 5 candidates.txt\n'
        '  head candidates.txt | python -m rerank --model models/cross-encoder --user "Favorite books: Dune" -\n'
        "  python -m rerank --model models/cross-encoder --pairs pairs.parquet --output scored.parquet",
    )
    parser.add_argument(
        "--model", type=Path, required=True, metavar="FOLDER", help="cross-encoder, as `train` writes it"
    )
    one = parser.add_argument_group("rank candidates for one user")
    one.add_argument("--user", metavar="TEXT", help="the user's context, in the words of the training pairs")
    one.add_argument("candidates", nargs="?", metavar="FILE", help="one candidate a line, - for standard input")
    one.add_argument("--top", type=_count, metavar="N", help="print the best N only")
    one.add_argument(
        "--similarity",
        type=float,
        metavar="MAX",
        help="print similarities from 0 to MAX, MAX times the sigmoid of the score: for a model of similarities",
    )
    one.add_argument("--format", choices=("table", "json"), default="table", help="of the output (default: table)")
    many = parser.add_argument_group("score a table of pairs")
    many.add_argument("--pairs", type=Path, metavar="FILE", help="parquet file with a context and a text in each row")
    many.add_argument("--output", type=Path, metavar="FILE", help="where to write its rows with the column `score`")
    many.add_argument("--context-column", default="user_ctx", metavar="NAME", help="default: user_ctx")
    many.add_argument("--text-column", default="book_text", metavar="NAME", help="default: book_text")
    return parser


def main(given: argparse.Namespace) -> None:
    """Do what the command line asks for."""
    if given.pairs:
        if given.user is not None or given.candidates:
            raise UserError("--pairs: brings its own users and candidates: leave out --user and the candidate file")
        if not given.output:
            raise UserError("--output is missing: name the parquet file that --pairs writes")
        score_pairs(
            given.pairs,
            given.output,
            context_column=given.context_column,
            text_column=given.text_column,
            scorer=lambda: scorer_of(given.model),
        )
        return
    if not given.user or not given.candidates:
        raise UserError("--user and a file of candidates are needed (or --pairs and --output): see --help")
    candidates = read_candidates(given.candidates)
    scores = scorer_of(given.model)([given.user] * len(candidates), candidates)
    if given.similarity is not None:
        scores = given.similarity / (1 + np.exp(-scores.astype(np.float64)))
    ranked = rank(candidates, scores.tolist(), top=given.top)
    print(json.dumps(ranked, indent=2, ensure_ascii=False) if given.format == "json" else table(ranked))


if __name__ == "__main__":
    run(main, arguments().parse_args())
