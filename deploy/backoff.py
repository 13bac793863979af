"""Backoff: how long to wait before a process that ended is started again. Pure: it neither sleeps nor reads a clock."""

from __future__ import annotations

from typing import Final

FIRST_S: Final = 1.0
MOST_S: Final = 60.0
# A process that did become ready serves when it comes back, so it is never kept away for long.
MOST_AFTER_READY_S: Final = 4.0
# Ready for this long, the process is taken to work: its end is not a repetition of an earlier one.
STABLE_S: Final = 5.0
JITTER: Final = 0.25


class Backoff:
    """Remembers the ends of one process: at once after a good life, else 1, 2, 4 … 60 s plus up to a quarter."""

    def __init__(self) -> None:
        self.failures = 0
        """Ends in a row without a stable life between them."""
        self.never_ready = 0
        """Of those, the last ones in a row in which it did not even become ready."""

    def ended(self, ready_s: float | None, chance: float) -> float:
        """The process ended after having been ready for `ready_s` (None: never). Returns the wait in seconds.

        `chance` is a random number from 0 to 1: processes that died together must not start together.
        """
        self.never_ready = self.never_ready + 1 if ready_s is None else 0
        if ready_s is not None and ready_s >= STABLE_S:
            self.failures = 0
        is_first_surprise = self.failures == 0 and ready_s is not None
        self.failures += 1
        if is_first_surprise:
            return 0.0
        most = MOST_S if ready_s is None else MOST_AFTER_READY_S
        repeated = self.failures - (0 if ready_s is None else 1)
        wait = min(most, FIRST_S * 2.0 ** min(repeated - 1, 30))
        return wait * (1.0 + JITTER * chance)
