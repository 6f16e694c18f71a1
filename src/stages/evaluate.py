"""Score every test pair with every system and measure each per user, or per query of a search set.

All systems rank the same candidate lists: chance, popularity where training has counted it, BM25, the untuned
bi-encoder, the untuned cross-encoder where the base model is one and another was trained from it, and the
cross-encoder. The scores of every pair are kept, so that metrics and pictures can be made again without a model.
"""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sentence_transformers import SentenceTransformer
from sklearn.metrics import average_precision_score, roc_auc_score

from rerank.errors import UserError, run
from rerank.files import replacing, rounded, write_json
from rerank.measure.metrics import METRICS, check_scores, interval, paired_test, per_user, resamples
from rerank.measure.report import report
from rerank.model import encoder as model
from rerank.params import declared
from rerank.systems import baselines

KEYS = ("user_id", "book_id", "label", "favourites")
FINE_TUNED = "cross_encoder"
# These may tie everything for good reason, such as books that nobody in training has read; models never do.
COUNTING_SYSTEMS = ("popularity", "bm25")


def evaluate(scores: pd.DataFrame, *, bootstrap_samples: int, seed: int) -> dict[str, Any]:
    """Measure every system of a score table.

    Args:
        scores: one row a pair: `KEYS` (favourites may be missing), then one column of scores for each system,
            `FINE_TUNED` among them.
        bootstrap_samples: resamples of the users behind each interval, and random sign flips of the paired test.
        seed: for both; all systems and metrics share the resamples.

    Returns:
        The content of metrics/test.json: sizes, each system's metrics as means over users with their 95 % intervals
        (and two over all pairs pooled), and the cross-encoder against the system with the best mean nDCG@10.
    """
    systems = [column for column in scores.columns if column not in KEYS]
    users, books, labels = (scores[key].to_numpy() for key in KEYS[:3])
    measured = {system: per_user(users, books, labels, scores[system]) for system in systems}
    drawn = resamples(scores["user_id"].nunique(), samples=bootstrap_samples, seed=seed)
    positive = labels > 0
    results: dict[str, dict[str, Any]] = {}
    for system, values in measured.items():
        results[system] = {metric: interval(values[metric], drawn) for metric in METRICS}
        results[system]["pooled_roc_auc"] = roc_auc_score(positive, scores[system])
        results[system]["pooled_average_precision"] = average_precision_score(positive, scores[system])
    baseline_names = [system for system in systems if system != FINE_TUNED]
    best = max(baseline_names, key=lambda system: results[system]["ndcg@10"]["mean"])
    difference, p_value = paired_test(
        measured[FINE_TUNED]["ndcg@10"], measured[best]["ndcg@10"], seed=seed, samples=bootstrap_samples
    )
    lists = pd.Series(positive).groupby(users)
    return rounded(
        {
            "users": len(lists),
            "pairs": len(scores),
            "candidates_per_user": _spread(lists.size()),
            "positives_per_user": _spread(lists.sum()),
            "systems": results,
            "cross_encoder_vs_best_baseline": {"baseline": best, "ndcg@10_difference": difference, "p_value": p_value},
        }
    )


def _spread(counts: pd.Series) -> dict[str, Any]:
    return {"mean": float(counts.mean()), "min": int(counts.min()), "max": int(counts.max())}


def check_test(test: pd.DataFrame, file: Path) -> None:
    """Refuse a test set on which nothing can be measured.

    Raises:
        UserError: when there is no positive, or no user with both a positive and a negative.
    """
    if not (test["label"] > 0).any():
        raise UserError(f"{file}: column 'label' has no positive in {len(test):,} rows: add more data to it")
    if not (test["label"] > 0).groupby(test["user_id"]).nunique().gt(1).any():
        raise UserError(f"{file}: column 'label' is above 0 in every row of every user with one: add negatives")


def score_systems(
    test: pd.DataFrame,
    popularity: pd.Series | None,
    *,
    base: Path,
    bi_encoder: Path,
    cross_encoder: Path,
    seed: int,
    max_length: int,
    precision: str,
    symmetric: bool,
) -> Iterator[tuple[str, npt.NDArray[np.floating]]]:
    """Yield each system's name and its scores, one a row of ``test``, in the order of the score table.

    A (context, text) pair that several rows share is scored once. Each model's speed is printed, without its loading.

    Args:
        test: pairs with `rerank.data.pairs.COLUMNS`.
        popularity: training positives, indexed by book_id; None when nothing was trained: no such system then.
        base, bi_encoder, cross_encoder: model folders; ``base`` is a system where it has a head and is not the
            cross-encoder itself.
        symmetric: whether the cross-encoders read both orders of the two texts.

    Raises:
        UserError: when the base model gives several scores for a pair, or reads fewer than ``max_length`` tokens.
    """
    row = test.groupby(["user_ctx", "book_text"], sort=False).ngroup().to_numpy()
    distinct = test.drop_duplicates(["user_ctx", "book_text"])
    contexts, texts = distinct["user_ctx"].tolist(), distinct["book_text"].tolist()
    yield "chance", baselines.chance(test["user_id"].tolist(), test["book_id"].tolist(), seed=seed)
    if popularity is not None:
        yield "popularity", baselines.popularity(test["book_id"].tolist(), popularity)
    yield "bm25", baselines.bm25(contexts, texts)[row]
    encoder = SentenceTransformer(str(bi_encoder), local_files_only=True)
    with _speed("bi_encoder", test):
        cosines = baselines.cosines(encoder, contexts, texts, precision=precision)
    yield "bi_encoder", cosines[row]
    untuned = {"untuned_cross_encoder": base} if base != cross_encoder and model.has_head(base) else {}
    for system, folder in {**untuned, FINE_TUNED: cross_encoder}.items():
        if folder == base:
            loaded = model.build(folder, max_length=max_length, dropout=0.0, seed=seed)
        else:
            loaded = model.load(folder, max_length=max_length)
        with _speed(system, test):
            scores = model.score(loaded, contexts, texts, precision=precision, symmetric=symmetric)
        yield system, scores[row]


@contextmanager
def _speed(system: str, test: pd.DataFrame) -> Iterator[None]:
    """Print how many queries and candidates a second ``system`` has scored."""
    start = time.perf_counter()
    yield
    seconds = time.perf_counter() - start
    queries, candidates = test["user_id"].nunique() / seconds, len(test) / seconds
    print(f"{system}: {queries:,.1f} queries and {candidates:,.0f} candidates a second")


def main(folder: Path, base: Path, bi_encoder: Path, cross_encoder: Path, scores: Path, metrics: Path) -> None:
    """Read test.parquet and the models; write the score table and the metrics; print the result table.

    ``folder`` has test.parquet and, where something was trained, popularity.parquet. ``base`` and ``cross_encoder`` are
    one folder where nothing was.
    """
    params = declared("evaluate")
    file = folder / "test.parquet"
    test = pd.read_parquet(file)
    check_test(test, file)
    trained = base != cross_encoder
    if not trained and not model.has_head(base):
        raise UserError(f"{base}: gives no score for a pair of texts: set base_model to a cross-encoder")
    counts = folder / "popularity.parquet"
    popularity = pd.read_parquet(counts).set_index("book_id")["positives"] if counts.exists() else None
    table = test[["user_id", "book_id", "label"]].copy()
    if params["favourite_pattern"] is not None:
        table["favourites"] = test["user_ctx"].str.count(params["favourite_pattern"]).astype("int32")
    systems = score_systems(
        test,
        popularity,
        base=base,
        bi_encoder=bi_encoder,
        cross_encoder=cross_encoder,
        seed=params["seed"],
        max_length=params["max_length"],
        precision=params["precision"],
        symmetric=params["symmetric"],
    )
    for system, values in systems:
        if system not in COUNTING_SYSTEMS:
            check_scores(system, values, trained=trained)
        table[system] = values
    results = evaluate(table, bootstrap_samples=params["bootstrap_samples"], seed=params["seed"])
    with replacing(scores) as partial:
        table.to_parquet(partial, index=False)
    write_json(metrics, results)
    print(report(results))


if __name__ == "__main__":
    run(main, *map(Path, sys.argv[1:]))
