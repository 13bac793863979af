"""FoldedHistogram: observations of a bound histogram kept in plain numbers until somebody reads the metrics.

prometheus_client takes two locks and walks the buckets for each observation; here it is a search in C and an addition. What
a scrape shows is the same, as long as `fold` is called before.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

from prometheus_client import Histogram


class FoldedHistogram:
    """`bound` is a histogram with its labels, `buckets` the upper bounds that it was made with."""

    __slots__ = ("_bound", "_buckets", "_counts", "_sum")

    def __init__(self, bound: Histogram, buckets: Sequence[float]) -> None:
        self._bound = bound
        self._buckets = tuple(buckets)
        self._counts = [0] * (len(buckets) + 1)
        self._sum = 0.0

    def observe(self, amount: float) -> None:
        """As the histogram's own `observe`."""
        self._counts[bisect_left(self._buckets, amount)] += 1
        self._sum += amount

    def observe_all(self, amounts: Sequence[float]) -> None:
        """Several at once."""
        counts, buckets = self._counts, self._buckets
        for amount in amounts:
            counts[bisect_left(buckets, amount)] += 1
        self._sum += sum(amounts)

    def fold(self) -> None:
        """Hand over what was observed since the last time."""
        bound = self._bound
        for value, count in zip(bound._buckets, self._counts, strict=True):
            if count:
                value.inc(count)
        bound._sum.inc(self._sum)
        self._counts = [0] * len(self._counts)
        self._sum = 0.0
