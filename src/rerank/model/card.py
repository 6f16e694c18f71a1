"""The model card: what a model folder says of itself, without times or machine names, so that its bytes can repeat."""

from collections.abc import Mapping, Sequence

import pandas as pd

CARD = """\
---
library_name: sentence-transformers
pipeline_tag: text-ranking
tags:
- cross-encoder
- reranker
---

# Cross-encoder re-ranker

Reads two texts together, such as a reader's favourites and a book, and gives one score: higher means a better match.
Made by the `train` stage of a DVC project; `dvc.lock` there holds the hashes of everything that went in.

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

Best validation {metric}: {value:.4f}. The test metrics, with intervals and baselines, are in the project's
metrics/test.json: this folder is written before the test set is read.

## Intended use

{use}

## Limits

Pairs longer than {max_length} tokens are cut. Texts unlike those of the training pairs get guesses. Popularity in the
training pairs, and whatever bias made it, is learnt with everything else. Not for decisions about people.
"""

RANKING = """\
Re-ranking some tens or hundreds of candidates for one text, in texts of the form that it was trained on. Compare
scores within one list only: they are not probabilities."""
JUDGING = """\
Judging pairs of texts of the form that it was trained on. The sigmoid of the score is an estimate of label /
{max_grade}, {orders}."""
ORDERS = {True: "best as the mean over both orders of the two texts", False: "with the texts in the order of training"}


def _table(header: tuple[str, ...], rows: Sequence[tuple[object, ...]]) -> str:
    lines = [header, ("---",) * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def model_card(splits: Mapping[str, pd.DataFrame], params: Mapping[str, object], value: float) -> str:
    """Return the card as Markdown.

    Args:
        splits: name → pairs of each split that training has read.
        params: the params of the run, by key.
        value: best validation metric, the one that the param ``validation_metric`` names.
    """
    judging = JUDGING.format(max_grade=params["max_grade"], orders=ORDERS[bool(params["symmetric"])])
    counts = [
        tuple(f"{number:,}" for number in (p["user_id"].nunique(), p["book_id"].nunique(), len(p), sum(p["label"] > 0)))
        for p in splits.values()
    ]
    example = next(iter(splits.values())).iloc[0]
    return CARD.format(
        context=example["user_ctx"].replace('"', "'")[:100],
        text=example["book_text"].replace('"', "'")[:100],
        counts=_table(
            ("split", "users", "books", "pairs", "positives"),
            [(name, *numbers) for name, numbers in zip(splits, counts, strict=True)],
        ),
        params=_table(("param", "value"), list(params.items())),
        metric=params["validation_metric"],
        value=value,
        use=judging if params["loss"] == "binary_cross_entropy" else RANKING,
        max_length=params["max_length"],
    )
