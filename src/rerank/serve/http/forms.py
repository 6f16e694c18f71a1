"""What clients send and get, in the forms of the servers that this one stands in for: TEI, Cohere, Jina and vLLM.

Unknown fields are ignored, as those servers do; so is ``model``, because one is served.
"""

import time
import uuid
from collections.abc import Sequence
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from rerank.serve.http.service import Judged


class Form(BaseModel):
    """A request's body."""

    model_config = ConfigDict(extra="ignore")


class Text(Form):
    """A document that is more than its text."""

    text: str


class Rerank(Form):
    """One reader and the candidates: ``texts`` in TEI's form, ``documents`` in that of Cohere, Jina and vLLM."""

    query: str = Field(description="The reader: 'Favorite books: Dune by Frank Herbert', as in the training pairs")
    texts: list[str] | None = Field(None, description="TEI: the candidates; the answer is a bare array")
    documents: list[str | Text] | None = Field(None, description="Cohere, Jina, vLLM: the candidates")
    model: str | None = None
    top_n: int | None = Field(None, ge=0, description="how many come back; 0, or more than there are: all")
    raw_scores: bool = Field(False, description="logits, or of a fusion the weighed sum, instead of 0 to 1")
    return_text: bool = Field(False, description="TEI: whether the texts come back")
    return_documents: bool = Field(False, description="Cohere, Jina: whether the documents come back")


class Score(Form):
    """Pairs for the cross-encoder alone, as vLLM has it: one text and many, or as many as there are of the other."""

    text_1: str | list[str] | None = None
    text_2: str | list[str] | None = None
    queries: str | list[str] | None = Field(None, description="another name of text_1")
    documents: str | list[str] | None = Field(None, description="another name of text_2")
    model: str | None = None

    def sides(self) -> tuple[list[str], list[str]]:
        """Return both sides of each pair; of different lengths where they don't fit together."""
        one, other = (
            [value] if isinstance(value, str) else list(value or [])
            for value in (self.text_1 or self.queries, self.text_2 or self.documents)
        )
        return (one * len(other) if len(one) == 1 else one), other


def order(judged: Judged, *, top: int | None) -> list[int]:
    """Return the numbers of the texts, best first; equal scores keep their order."""
    return np.argsort(-judged.raw, kind="stable")[: top or None].tolist()


def bare(form: Rerank, texts: Sequence[str], judged: Judged) -> list[dict[str, Any]]:
    """Return TEI's answer."""
    scores = judged.raw if form.raw_scores else judged.shown
    return [
        {"index": number, "score": float(scores[number]), **({"text": texts[number]} if form.return_text else {})}
        for number in order(judged, top=form.top_n)
    ]


def results(form: Rerank, texts: Sequence[str], judged: Judged, *, model: str) -> dict[str, Any]:
    """Return the answer of Cohere, Jina and vLLM."""
    scores = judged.raw if form.raw_scores else judged.shown
    found = [
        {
            "index": number,
            "relevance_score": float(scores[number]),
            **({"document": {"text": texts[number]}} if form.return_documents else {}),
        }
        for number in order(judged, top=form.top_n)
    ]
    return {
        "id": str(uuid.uuid4()),
        "model": model,
        "results": found,
        "usage": {"prompt_tokens": judged.tokens, "total_tokens": judged.tokens},
        "meta": {
            "api_version": {"version": "2"},
            "billed_units": {"search_units": 1},
            "warnings": judged.words[1:],
        },
    }


def scored(judged: Judged, *, model: str) -> dict[str, Any]:
    """Return vLLM's answer to pairs."""
    return {
        "id": str(uuid.uuid4()),
        "object": "list",
        "created": int(time.time()),
        "model": model,
        "data": [
            {"index": number, "object": "score", "score": float(score)} for number, score in enumerate(judged.shown)
        ],
        "usage": {"prompt_tokens": judged.tokens, "total_tokens": judged.tokens},
    }
