"""Backoff: how long to wait before a worker is started again. Pure: randomness and outcomes are arguments."""

from __future__ import annotations

from typing import Final

FIRST_S: Final = 1.0
MOST_S: Final = 60.0
# Jitter only lengthens: the number of starts per minute stays bounded.
JITTER: Final = 0.25


class Backoff:
    """Nothing after a worker that had served, then 1, 2, 4 … 60 s while workers keep failing."""

    def __init__(self) -> None:
        self._failures = 0
        self._has_served = False

    def served(self) -> None:
        """The present worker answered a batch."""
        self._failures = 0
        self._has_served = True

    def failed(self, random: float) -> float:
        """The present worker is gone. Returns the seconds to wait; `random` is between 0 and 1."""
        if self._has_served:
            self._has_served = False
            return 0.0
        wait_s = min(MOST_S, FIRST_S * 2.0 ** min(self._failures, 10))
        self._failures += 1
        return wait_s * (1.0 + JITTER * random)
