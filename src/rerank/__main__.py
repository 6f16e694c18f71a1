"""Rank candidates for one user, or score a table of pairs, with a fine-tuned cross-encoder.

The command line around a trained model: `python -m rerank --model models/cross-encoder --user TEXT FILE` prints the
candidates best first; with --pairs and --output it adds a column of raw scores to a parquet file or a folder of them.
Either way the model scores as its folder says that it was measured.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rerank.command import count, run
from rerank.errors import UserError
from rerank.model.engines import ENGINES, engine_named
from rerank.model.folder import favourite_parts, model_files
from rerank.serve.fused import FusedRanker, is_fused, system_folder
from rerank.serve.scoring import HERE, score_pairs
from rerank.systems.registry import FINE_TUNED, SYSTEMS


def rank(
    candidates: Sequence[str], scores: Sequence[float], shown: Sequence[float], *, top: int | None
) -> list[dict[str, int | float | str]]:
    """Return ``rank`` (from 1), ``score`` and ``candidate``, best first; equal scores keep their order.

    Args:
        scores: decide the order.
        shown: what is printed of them, to four digits: a sigmoid calls many of the best equal.
    """
    order = sorted(range(len(candidates)), key=lambda number: -scores[number])[:top]
    return [
        {"rank": place, "score": float(f"{shown[number]:.4g}"), "candidate": candidates[number]}
        for place, number in enumerate(order, start=1)
    ]


def table(ranked: Sequence[dict[str, int | float | str]]) -> str:
    """Return aligned columns with a heading."""
    rows = [
        ("rank", "score", "candidate"),
        *((str(r["rank"]), f"{r['score']:.4g}", str(r["candidate"])) for r in ranked),
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


def arguments() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m rerank",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Rank candidates for one user, best first, or score parquet files of pairs (paths or s3://).",
        epilog="examples:\n"
        '  python -m rerank --model models/cross-encoder --user "Favorite books: Dune" --top 5 candidates.txt\n'
        '  head candidates.txt | python -m rerank --model models/cross-encoder --user "Favorite books: Dune" -\n'
        "  python -m rerank --model models/cross-encoder --pairs pairs.parquet --output scored.parquet\n"
        "  python -m rerank --model models/cross-encoder --pairs pairs --output scored --ray\n"
        "  python -m rerank serve --help    over HTTP",
    )
    parser.add_argument(
        "--model",
        type=Path,
        required=True,
        metavar="FOLDER",
        help="cross-encoder, as `train` writes it, or all that the fusion weighs, as `ranker` does",
    )
    parser.add_argument(
        "--only", metavar="SYSTEM", help="of a fusion one system alone: cross_encoder gives the plain cross-encoder"
    )
    parser.add_argument(
        "--engine",
        default="torch",
        metavar=f"{{{','.join(ENGINES)}}}",
        help="; ".join(f"{name}, {engine.words}" for name, engine in ENGINES.items()) + " (default: torch)",
    )
    one = parser.add_argument_group(
        "rank candidates for one user",
        "prints what CrossEncoder.rank gives, a number from 0 to 1, or a similarity where the model judges those",
    )
    one.add_argument("--user", metavar="TEXT", help="the user's context, in the words of the training pairs")
    one.add_argument("candidates", nargs="?", metavar="FILE", help="one candidate a line, - for standard input")
    one.add_argument("--top", type=count, metavar="N", help="print the best N only")
    one.add_argument("--format", choices=("table", "json"), default="table", help="of the output (default: table)")
    many = parser.add_argument_group(
        "score a table of pairs", "writes raw scores (logits), which keep their differences"
    )
    many.add_argument("--pairs", metavar="PATH", help="parquet file with a context and a text in each row, or a folder")
    many.add_argument(
        "--output", metavar="PATH", help="the like of it: where to write the rows with the column `score`"
    )
    many.add_argument("--ray", action="store_true", help="several files at once, on the GPUs or CPUs of a Ray cluster")
    many.add_argument("--context-column", default="user_ctx", metavar="NAME", help="default: user_ctx")
    many.add_argument("--text-column", default="book_text", metavar="NAME", help="default: book_text")
    return parser


def main(given: argparse.Namespace) -> None:
    """Do what the command line asks for."""
    engine_named(given.engine)
    if given.only is not None:
        if not is_fused(given.model):
            raise UserError(f"--only: {given.model} is one system: leave it out, or give models/ranker")
        if given.only != FINE_TUNED:
            raise UserError(f"--only is '{given.only}': only {FINE_TUNED} ranks alone")
        if given.user is not None:
            given.user = FusedRanker(given.model, without=SYSTEMS).told(given.user)
        given.model = system_folder(given.model, FINE_TUNED)
    if given.pairs:
        if is_fused(given.model):
            raise UserError(
                "--pairs: a fusion ranks whole lists, and a table has single pairs: add --only cross_encoder"
            )
        if given.user is not None or given.candidates:
            raise UserError("--pairs: brings its own users and candidates: leave out --user and the candidate file")
        if not given.output:
            raise UserError("--output is missing: name the parquet file or folder that --pairs becomes")
        workers = HERE
        if given.ray:
            from rerank.cluster.scoring import ON_RAY

            workers = ON_RAY
        score_pairs(
            given.pairs,
            given.output,
            model_folder=given.model,
            context_column=given.context_column,
            text_column=given.text_column,
            engine=given.engine,
            workers=workers,
        )
        return
    if not given.user or not given.candidates:
        raise UserError("--user and a file of candidates are needed (or --pairs and --output): see --help")
    candidates = read_candidates(given.candidates)
    if is_fused(given.model):
        if given.engine != "torch":
            raise UserError(f"--engine: a fusion runs on torch: leave it out, or add --only {FINE_TUNED}")
        fused = FusedRanker(given.model).rank(given.user, candidates)
        print(*fused.words, sep="\n", file=sys.stderr)
        scores, shown = fused.scores, fused.scores
    else:
        model_files(given.model)
        # torch takes seconds to import: not before the arguments are known to be right.
        from rerank.model.ranker import load

        model = load(given.model, engine=given.engine)
        if given.only is None and (parts := favourite_parts(given.model)):
            print(
                f"contexts: it was trained on such with {parts!r} of each favourite's text in brackets after it: write "
                "--user so, or give models/ranker, which does",
                file=sys.stderr,
            )
        scores = model.score([given.user] * len(candidates), candidates).astype(np.float64)
        shown = model.shown(scores)
    ranked = rank(candidates, scores.tolist(), shown.tolist(), top=given.top)
    print(json.dumps(ranked, indent=2, ensure_ascii=False) if given.format == "json" else table(ranked))


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        from rerank.serve.http import command

        run(command.main, command.arguments().parse_args(sys.argv[2:]))
    else:
        run(main, arguments().parse_args())
