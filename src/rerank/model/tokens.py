"""Pairs of texts as a model reads them, with each distinct text tokenised once.

A reader stands in a hundred pairs and a book in thousands: the tokenizer reads each text once, and every pair is put
together from the ids of its two texts, cut and padded exactly as the tokenizer itself does it.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from sentence_transformers import CrossEncoder
from tokenizers import Tokenizer
from tqdm import tqdm

Numbers = npt.NDArray[np.int64]
TEXTS_PER_BATCH = 1000
# Two words, from which `PairTokens` learns how a tokenizer puts pairs together.
PROBE = ("one", "two")
LONGEST_PROBE = 8192


def _probes(length: int) -> list[tuple[str, str]]:
    """Return pairs that prove it: short and longer than ``length`` tokens on either side or both, no two words alike.

    A tokenizer that cuts or pads at the other end, or cuts one of the texts alone, gives other ids for one of them.
    """
    first, second = (" ".join(map(str, range(start, start + length))) for start in (10_000, 50_000))
    return [PROBE, ("one", second), (first, "two"), (first, second)]


class _Growing:
    """An array that grows at its end; twice the room whenever it is full, so that nothing is copied at every call."""

    def __init__(self, dtype: npt.DTypeLike) -> None:
        self.room = np.zeros(1024, dtype=dtype)
        self.size = 0

    @property
    def values(self) -> npt.NDArray[Any]:
        return self.room[: self.size]

    def extend(self, values: npt.NDArray[Any]) -> None:
        size = self.size + len(values)
        if size > len(self.room):
            room = np.zeros(max(size, 2 * len(self.room)), dtype=self.room.dtype)
            room[: self.size] = self.values
            self.room = room
        self.room[self.size : size] = values
        self.size = size


class PairTokens:
    """The token ids of texts, and batches of pairs made from them.

    Args:
        model: a cross-encoder; its ``max_seq_length`` is the longest pair, in tokens.

    Raises:
        ValueError: when its tokenizer does not join the ids of the two texts with fixed special tokens.
    """

    def __init__(self, model: CrossEncoder) -> None:
        tokenizer = model.tokenizer
        if not getattr(tokenizer, "is_fast", False):
            raise ValueError("a tokenizer without a fast backend")
        if (tokenizer.truncation_side, tokenizer.padding_side) != ("right", "right"):
            raise ValueError("a tokenizer that cuts or pads on the left")
        self.max_length = int(model.max_seq_length or tokenizer.model_max_length)
        self.padding = (tokenizer.pad_token_id, tokenizer.pad_token_type_id)
        self.with_types = "token_type_ids" in tokenizer.model_input_names
        self.tokenizer = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()
        # (which text or None, id of a special token, type), in the order of a pair.
        self.template: list[tuple[int | None, int, int]] = []
        probe = self.tokenizer.encode(*PROBE)
        for text, number, kind in zip(probe.sequence_ids, probe.ids, probe.type_ids, strict=True):
            if text is None or not self.template or self.template[-1][0] != text:
                self.template.append((text, number, kind))
        self.special = sum(text is None for text, _, _ in self.template)
        self.forget()
        probes = _probes(min(self.max_length, LONGEST_PROBE))
        try:
            found, expected = self.preprocess(probes), model.preprocess(probes)
        except Exception as error:  # the only class that tokenizers raises
            raise ValueError("a tokenizer that can't cut every pair") from error
        if any(name not in expected or not torch.equal(found[name], torch.as_tensor(expected[name])) for name in found):
            raise ValueError("a tokenizer that joins texts in its own way")

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def add(self, texts: Iterable[str], *, progress: bool = False) -> None:
        """Tokenise the texts that are new."""
        new = [text for text in dict.fromkeys(texts) if text not in self.numbers]
        if not new:
            return
        found: list[npt.NDArray[np.int32]] = []
        counts: list[int] = []
        starts = range(0, len(new), TEXTS_PER_BATCH)
        for start in tqdm(starts, "tokenising", unit="k texts", leave=False, disable=not progress):
            batch = self.tokenizer.encode_batch_fast(new[start : start + TEXTS_PER_BATCH], add_special_tokens=False)
            counts += [len(encoding) for encoding in batch]
            # No pair has room for more of a text than this.
            found += [np.array(encoding.ids[: self.max_length], dtype=np.int32) for encoding in batch]
        self.numbers.update({text: len(self.numbers) + number for number, text in enumerate(new)})
        self.starts.extend(self.ids.size + np.cumsum([0, *map(len, found[:-1])]))
        self.counts.extend(np.array(counts, dtype=np.int64))
        self.ids.extend(np.concatenate(found))

    def forget(self) -> None:
        """Forget every text: what bounds the memory of a process that lives on."""
        self.numbers: dict[str, int] = {}
        self.ids, self.starts, self.counts = _Growing(np.int32), _Growing(np.int64), _Growing(np.int64)

    def numbers_of(self, texts: Sequence[str]) -> Numbers:
        """Return the number of each text, shape (texts,).

        Raises:
            KeyError: for a text that was not added.
        """
        return np.fromiter((self.numbers[text] for text in texts), dtype=np.int64, count=len(texts))

    def kept(self, first: Numbers, second: Numbers) -> tuple[Numbers, Numbers]:
        """Return how many tokens stay of the first and of the second text of each pair, both of shape (pairs,).

        The longer text is cut first, down to the shorter one, then both: `longest_first` of Hugging Face's tokenizers
        (truncation.rs).
        """
        room = self.max_length - self.special
        one, two = self.counts.values[first], self.counts.values[second]
        shorter = np.minimum(one, two)
        longer = np.maximum(shorter, room - shorter)
        both = shorter + longer > room
        shorter, longer = np.where(both, room // 2, shorter), np.where(both, room - room // 2, longer)
        fits, swapped = one + two <= room, one > two
        return (
            np.where(fits, one, np.where(swapped, longer, shorter)),
            np.where(fits, two, np.where(swapped, shorter, longer)),
        )

    def lengths(self, first: Numbers, second: Numbers) -> Numbers:
        """Return the number of tokens of each pair, special ones too, shape (pairs,)."""
        return np.add(*self.kept(first, second)) + self.special

    def batch(self, first: Numbers, second: Numbers, *, multiple: int = 1) -> dict[str, torch.Tensor]:
        """Return a model's input for some pairs: int64 tensors of shape (pairs, longest pair).

        Args:
            first, second: numbers of the texts, shape (pairs,).
            multiple: the width is rounded up to a multiple of it.
        """
        texts, kept = (first, second), self.kept(first, second)
        width = -(-int(np.add(*kept).max() + self.special) // multiple) * multiple
        ids, types = (np.full((len(first), width), padding) for padding in self.padding)
        rows, position = np.arange(len(first)), np.arange(width)
        end = np.zeros_like(first)
        for text, special, kind in self.template:
            if text is None:
                ids[rows, end], types[rows, end] = special, kind
                end = end + 1
                continue
            inside = (position >= end[:, None]) & (position < (end + kept[text])[:, None])
            source = (self.starts.values[texts[text]] - end)[:, None] + position
            ids[inside], types[inside] = self.ids.values[source[inside]], kind
            end = end + kept[text]
        features = {"input_ids": ids, "attention_mask": (position < end[:, None]).astype(np.int64)}
        if self.with_types:
            features["token_type_ids"] = types
        return {name: torch.from_numpy(values) for name, values in features.items()}

    def preprocess(self, pairs: Sequence[Sequence[str]], **_: object) -> dict[str, torch.Tensor]:
        """Return the `batch` of some pairs of texts: what a cross-encoder's own ``preprocess`` returns, sooner."""
        first, second = zip(*pairs, strict=True)
        self.add((*first, *second))
        return self.batch(self.numbers_of(first), self.numbers_of(second))


class OwnTokens:
    """What `PairTokens` does, by a model's own tokenizer: for one that puts pairs together in its own way."""

    def __init__(self, model: CrossEncoder) -> None:
        self.model = model
        self.texts: dict[str, int] = {}

    def add(self, texts: Iterable[str], *, progress: bool = False) -> None:
        """Number the texts that are new."""
        for text in texts:
            self.texts.setdefault(text, len(self.texts))

    def numbers_of(self, texts: Sequence[str]) -> Numbers:
        """Return the number of each text, shape (texts,)."""
        return np.fromiter((self.texts[text] for text in texts), dtype=np.int64, count=len(texts))

    def lengths(self, first: Numbers, second: Numbers) -> Numbers:
        """Return at most how many tokens each pair has, shape (pairs,): its letters, up to what the model reads."""
        letters = np.fromiter(map(len, self.texts), dtype=np.int64, count=len(self.texts))
        return np.clip(letters[first] + letters[second], 1, self.model.max_seq_length or LONGEST_PROBE)

    def batch(self, first: Numbers, second: Numbers, *, multiple: int = 1) -> dict[str, torch.Tensor]:
        """Return a model's input for some pairs."""
        texts = list(self.texts)
        found = self.model.preprocess([(texts[one], texts[two]) for one, two in zip(first, second, strict=True)])
        return {name: value for name, value in found.items() if torch.is_tensor(value)}


def pair_tokens(model: CrossEncoder) -> PairTokens | None:
    """Return the `PairTokens` of a model, or None where only its own tokenizer can put its pairs together."""
    installed = getattr(model.preprocess, "__self__", None)
    if isinstance(installed, PairTokens):
        return installed
    try:
        return PairTokens(model)
    except ValueError:
        return None


def tokenize_once(model: CrossEncoder) -> None:
    """Make the model remember the tokens of each text, in training too, where its `PairTokens` allow it."""
    tokens = pair_tokens(model)
    if tokens is not None:
        model.preprocess = tokens.preprocess  # type: ignore[assignment, method-assign]
