"""What was computed before, for those who ask again: the newest answers, in a bounded number of bytes."""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

Value = TypeVar("Value")
# Of an entry with a short key and a number or two: its place in the table, and the objects of key and value.
OVERHEAD = 400


class Memory(Generic[Value]):
    """Values by key; those that nobody asked for the longest go first.

    Attributes:
        hits, misses: how often a value was there when it was asked for, and how often it was not.
        bytes: what the entries take, by `OVERHEAD` and the sizes that were given with them.
    """

    def __init__(self, limit: int) -> None:
        """Hold at most ``limit`` bytes; 0 remembers nothing."""
        self.limit, self.bytes = limit, 0
        self.hits = self.misses = 0
        self._entries: OrderedDict[Hashable, tuple[Value, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Hashable) -> Value | None:
        """Return the value, or None where there is none."""
        entry = self._entries.get(key)
        if entry is None:
            self.misses += 1
            return None
        self.hits += 1
        self._entries.move_to_end(key)
        return entry[0]

    def peek(self, key: Hashable) -> Value | None:
        """Return the value, or None, as if nobody had asked."""
        entry = self._entries.get(key)
        return None if entry is None else entry[0]

    def put(self, key: Hashable, value: Value, *, size: int = 0) -> None:
        """Remember a value; ``size`` is what key and value take beside `OVERHEAD`, in bytes."""
        entry = self._entries.pop(key, None)
        if entry is not None:
            self.bytes -= entry[1]
        self._entries[key] = (value, size + OVERHEAD)
        self.bytes += size + OVERHEAD
        while self.bytes > self.limit:
            _, (_, gone) = self._entries.popitem(last=False)
            self.bytes -= gone
