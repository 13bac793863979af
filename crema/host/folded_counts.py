"""FoldedCounts: what a bound counter of each key counts, kept in plain numbers until somebody reads the metrics.

See `crema.host.folded_histogram`, which does the same for observations, and why.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

K = TypeVar("K")


class FoldedCounts(Generic[K]):
    """`bound` gives the counter, with its labels, of a key (a status, a lane); it is asked once for each."""

    __slots__ = ("_bound", "_counters", "_counts")

    def __init__(self, bound: Callable[[K], Any]) -> None:
        self._bound = bound
        self._counters: dict[K, Any] = {}
        self._counts: dict[K, int] = {}

    def add(self, key: K, n: int = 1) -> None:
        """Count `n` more; 0 lets the counter be shown from now on."""
        self._counts[key] = self._counts.get(key, 0) + n

    def fold(self) -> None:
        """Hand over what was counted since the last time."""
        counts, self._counts = self._counts, {}
        for key, n in counts.items():
            counter = self._counters.get(key)
            if counter is None:
                counter = self._counters[key] = self._bound(key)
            counter.inc(n)
