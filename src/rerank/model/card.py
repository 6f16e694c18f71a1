"""The model card: what a model is, what it learnt from, how it scores and how well, for people; no text of a reader."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from rerank.model.folder import Scoring

CARD = """\
---
library_name: sentence-transformers
pipeline_tag: text-ranking
tags:
- cross-encoder
- reranker
---

# Cross-encoder re-ranker

Reads two texts together{reads}, and gives one score: higher means a better match.
Made by a DVC project; `dvc.lock` there holds the hashes of everything that went in.

```python
from sentence_transformers import CrossEncoder

model = CrossEncoder("path/to/this/folder")
model.rank("{context}", ["{text}"])
```

## Data

{counts}

## Params

{params}

## Metrics

Best on validation: {validation}.

{test}{fusion}

## Intended use

{use}

## Limits

Pairs longer than {max_length} tokens are cut{cut}. Texts unlike those of the training pairs get guesses. Popularity in
the training pairs, and whatever bias made it, is learnt with everything else. Not for decisions about people.
"""

FUSION = """

The model is part of a fusion: scores standardised within a list, weighed by what ranks best on validation:

"""
RANKING = """\
Re-ranking some tens or hundreds of candidates for one text, in texts of the form that it was trained on. Compare
scores within one list only: they are not probabilities."""
JUDGING = """\
Judging pairs of texts of the form that it was trained on. The sigmoid of the score is an estimate of label /
{max_grade}, best as the mean of the scores of both orders of the two texts."""
READS = {"ranking": ", such as a reader's favourites and a book"}
# Made up, in the form of the pairs of each task.
EXAMPLES = {
    "ranking": ("Favorite books: Emma by Jane Austen", "Title: Persuasion | Genres: classics"),
    "similarity": ("A child is playing with a red ball.", "A girl throws a ball."),
    "duplicates": ("How do I bake bread without yeast?", "What is a recipe for bread that needs no yeast?"),
}


def _table(header: Sequence[object], rows: Sequence[Sequence[object]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def _counts(splits: Mapping[str, pd.DataFrame]) -> str:
    rows = [
        (
            name,
            *(f"{number:,}" for number in (p["user_id"].nunique(), p["book_id"].nunique(), len(p), sum(p.label > 0))),
        )
        for name, p in splits.items()
    ]
    return _table(("split", "users", "books", "pairs", "positives"), rows)


def _measured(evaluation: Mapping[str, Any]) -> str:
    """Return the table of each system's first metric on the test set, with its 95 % interval where there is one."""
    rows = []
    heading = ""
    for system, metrics in evaluation.get("systems", {}).items():
        metric, found = next(iter(metrics.items()))
        values = found if isinstance(found, dict) else {"value": found}
        value = values.get("mean", values.get("value"))
        if value is None:
            continue
        low, high = values.get("low"), values.get("high")
        between = "" if low is None or high is None else f" ({low:.3f} to {high:.3f})"
        heading = heading or metric
        named = "" if metric == heading else f" {metric}"
        rows.append((system, f"{value:.3f}{between}{named}"))
    return "On the test set, with 95 % intervals:\n\n" + _table(("system", heading), rows) if rows else ""


def model_card(
    splits: Mapping[str, pd.DataFrame],
    *,
    scoring: Scoring,
    params: Mapping[str, object],
    cut_pairs: float,
    validation: Mapping[str, float],
    evaluation: Mapping[str, Any],
    weights: Mapping[str, float],
) -> str:
    """Return the card as Markdown.

    Args:
        splits: name → pairs of each split.
        scoring: how the model scores.
        params: the params that it was trained with, by key.
        cut_pairs: the share of the training pairs that were cut, 0 to 1.
        validation: what the train stage measured: ``validation_METRIC``.
        weights: of each system in the fusion that the model is part of; empty where there is none.
        evaluation: ``systems``: system → metric → ``mean`` or ``value``, ``low`` and ``high``.
    """
    context, text = EXAMPLES[scoring.task]
    measured = {name.removeprefix("validation_"): value for name, value in validation.items()}
    return CARD.format(
        reads=READS.get(scoring.task, ""),
        context=context,
        text=text,
        counts=_counts(splits),
        params=_table(("param", "value"), list(params.items())),
        validation=", ".join(f"{metric} {value:.4f}" for metric, value in measured.items()),
        test=_measured(evaluation),
        fusion=FUSION + _table(("system", "weight"), [(name, f"{one:.2f}") for name, one in weights.items()])
        if weights
        else "",
        use=RANKING if scoring.task == "ranking" else JUDGING.format(max_grade=scoring.max_grade),
        max_length=scoring.max_length,
        cut=f" ({cut_pairs:.1%} of the training pairs)",
    )
