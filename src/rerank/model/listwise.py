"""Listwise losses, of lists in which each text may have a context of its own, with or without a teacher."""

from collections.abc import Callable
from typing import Any

import torch
from sentence_transformers import CrossEncoder
from sentence_transformers.util import batch_to_device
from torch import nn

SHARPNESS = 2.0


class Given:
    """What a listwise loss takes for its model: gives the logits of a step that were computed already."""

    num_labels = 1
    logits: torch.Tensor

    @property
    def device(self) -> torch.device:
        return self.logits.device

    def preprocess(self, pairs: object, **_: object) -> dict[str, torch.Tensor]:
        return {}

    def __call__(self, features: object) -> dict[str, torch.Tensor]:
        return {"scores": self.logits}


class Listwise(nn.Module):
    """A listwise loss of all candidates of a step at once, each read with its own context.

    Those of sentence-transformers know one context a list, so that the logits are computed here. Where ``weight`` is
    above 0, ``weight`` x the cross-entropy of each list's scores with a teacher's is added, both as softmax over the
    list (Cao et al. 2007), the teacher's standardised scores times `SHARPNESS`: co-reading tells apart candidates that
    the labels call equal. A list about which the teacher says nothing has the first alone.
    """

    def __init__(self, model: CrossEncoder, weight: float, *, loss: Callable[..., nn.Module]) -> None:
        super().__init__()
        self.model = model  # by this name the trainer puts the one that several processes share in its place
        self.given = Given()
        self.listwise = loss(model=self.given, mini_batch_size=-1)
        self.weight = weight

    def forward(self, inputs: tuple[list, list], labels: list[torch.Tensor], **more: Any) -> torch.Tensor:
        """Return the loss of a step.

        Args:
            inputs: for each list its context, or one for each text; and the texts.
            labels: those of each list, followed by as many scores of the teacher where there is one.
        """
        contexts, texts = inputs
        pairs = [
            pair
            for context, several in zip(contexts, texts, strict=True)
            for pair in zip([context] * len(several) if isinstance(context, str) else context, several, strict=True)
        ]
        features = batch_to_device(self.model.preprocess(pairs, **more), self.model.device)
        logits = self.given.logits = self.model(features)["scores"].view(-1).float()
        if self.weight == 0:
            return self.listwise(inputs, labels)
        graded, taught = zip(*(both.chunk(2) for both in labels), strict=True)
        loss = self.listwise(inputs, list(graded))
        lists = logits.split([len(scores) for scores in taught])
        terms = [
            -(torch.softmax(SHARPNESS * scores.to(logits), dim=0) * torch.log_softmax(logits, dim=0)).sum()
            for logits, scores in zip(lists, taught, strict=True)
            if bool(scores.any())
        ]
        return loss + self.weight * torch.stack(terms).mean() if terms else loss
