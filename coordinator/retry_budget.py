"""RetryBudget: second tries are a tenth of the requests at most, and at least 3 a second may be made. Pure.

A full outage must not meet twice its load.
"""

from __future__ import annotations

import math
from typing import Final

SHARE: Final = 0.1
LEAST_PER_S: Final = 3.0
# What may be saved up: the requests in flight at one replica that dies are all tried again at once.
MOST_EARNED: Final = 100.0
MOST_GRANTED: Final = 10.0


class RetryBudget:
    """Earned by requests, granted by time; a second try needs one of either and takes one of both."""

    __slots__ = ("_earned", "_granted", "_granted_at")

    def __init__(self) -> None:
        self._earned = 0.0
        self._granted = MOST_GRANTED
        self._granted_at = math.inf

    def sent(self, requests: int) -> None:
        """So many requests were sent for the first time."""
        earned = self._earned + SHARE * requests
        self._earned = earned if earned < MOST_EARNED else MOST_EARNED

    def take(self, now: float) -> bool:
        """Whether a second try may be made now; it is counted then."""
        self._granted = min(MOST_GRANTED, self._granted + LEAST_PER_S * max(0.0, now - self._granted_at))
        self._granted_at = now
        if self._earned < 1 and self._granted < 1:
            return False
        self._earned = max(0.0, self._earned - 1)
        self._granted = max(0.0, self._granted - 1)
        return True
