"""Watchdog: how long a batch may run before its worker is taken to hang.

Pure: it is told how long batches took; it keeps no timer and kills nobody.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Final

LEAST_S: Final = 3.0
FACTOR: Final = 10.0
FIRST_BATCHES: Final = 20
_WINDOW: Final = 256
# The order of the window is looked at again after this many batches, not after each.
_REFRESH: Final = 16


class Watchdog:
    """max(3 s, 10 × p99 of the last batches); for the first 20 batches 10 × the warm-up's largest time instead of the p99.

    `fixed_s`, a manifest's `watchdog_s`, replaces all of that.
    """

    def __init__(self, fixed_s: float | None = None) -> None:
        self._fixed_s = fixed_s
        self._warm_up_s = 0.0
        self._batches = 0
        self._window: deque[float] = deque(maxlen=_WINDOW)
        self._p99_s = 0.0

    def warmed_up(self, seconds: float) -> None:
        """What the slowest batch of the warm-up took."""
        self._warm_up_s = seconds

    def learn(self, seconds: float) -> None:
        """A batch took `seconds`."""
        self._window.append(seconds)
        self._batches += 1
        if self._batches % _REFRESH == 0 or self._batches == FIRST_BATCHES:
            ordered = sorted(self._window)
            self._p99_s = ordered[math.ceil(0.99 * len(ordered)) - 1]

    def bound_s(self, predicted_s: float = 0.0) -> float:
        """Seconds for a batch that is predicted to take `predicted_s`; never less than twice the prediction."""
        if self._fixed_s is not None:
            return self._fixed_s
        usual_s = self._warm_up_s if self._batches < FIRST_BATCHES else self._p99_s
        return max(LEAST_S, FACTOR * usual_s, 2 * predicted_s)
