"""FoldedHistogram: observations kept in plain numbers, and folded into a bound histogram when its figures are wanted.

The library looks for the bucket one by one and takes two locks; where several processes are one tier it also writes two
values to a shared file, and all that for each observation.
"""

from __future__ import annotations

from bisect import bisect_left

from prometheus_client import Histogram


class FoldedHistogram:
    """Observes in place of `bound`, a histogram with its labels bound. What was observed shows there after `fold()`."""

    __slots__ = ("_bound", "_bounds", "_counts", "_sum")

    def __init__(self, bound: Histogram) -> None:
        self._bound = bound
        # the last one is infinity
        self._bounds: list[float] = list(bound._upper_bounds)
        self._counts = [0] * len(self._bounds)
        self._sum = 0.0

    def observe(self, amount: float) -> None:
        """Count one observation."""
        self._counts[bisect_left(self._bounds, amount)] += 1
        self._sum += amount

    def fold(self) -> None:
        """Bring the histogram up to date."""
        for place, count in enumerate(self._counts):
            if count:
                self._bound._buckets[place].inc(count)
                self._counts[place] = 0
        if self._sum:
            self._bound._sum.inc(self._sum)
            self._sum = 0.0
