"""Quota: what the keys of one name may use: photos a second, and calls in flight. Pure: `now` is an argument.

It knows what one name may use at most; who goes first when there is not enough for all is `fair_shares`'s.
"""

from __future__ import annotations

import math
from typing import Final

from crema.errors import CremaError

# A caller may send what this time allows at once.
BURST_S: Final = 1.0
_RETRY_AFTER_CONCURRENCY_MS: Final = 250.0


class Quota:
    """The limits of one name; None is no limit. A token bucket that holds one second's worth, at least one photo.

    `enter` and `leave` come in pairs; `take_more` is for what a call turns out to hold.
    """

    __slots__ = ("_at", "_tokens", "concurrency", "in_flight", "name", "rate_per_s")

    def __init__(self, name: str, rate_per_s: float | None = None, concurrency: int | None = None) -> None:
        self.name = name
        self.rate_per_s = rate_per_s
        self.concurrency = concurrency
        self.in_flight = 0
        self._tokens = math.inf
        self._at = -math.inf

    def enter(self, now: float) -> None:
        """One call with one photo begins at `now` (seconds of one monotonic clock). Raises CremaError `overloaded`."""
        if self.concurrency is not None and self.in_flight >= self.concurrency:
            raise CremaError(
                "overloaded",
                f"the key {self.name} may have {self.concurrency} calls in flight at once, and has; "
                "wait for one to end",
                retry_after_ms=_RETRY_AFTER_CONCURRENCY_MS,
            )
        rate = self.rate_per_s
        if rate is not None:
            most = max(1.0, rate * BURST_S)
            # the first call finds a full bucket, and so does one after the limit was raised
            self._tokens = min(most, self._tokens + (now - self._at) * rate)
            self._at = now
            if self._tokens < 1:
                after_ms = (1 - self._tokens) / rate * 1000
                raise CremaError(
                    "overloaded",
                    f"the key {self.name} may send {rate:g} photos a second, and has; come back in {after_ms:.0f} ms",
                    retry_after_ms=after_ms,
                )
            self._tokens -= 1
        self.in_flight += 1

    def take_more(self, photos: int) -> None:
        """The call that entered holds so many photos more: they are paid for later, by who calls next."""
        if self.rate_per_s is not None:
            self._tokens -= photos

    def leave(self) -> None:
        """The call has ended."""
        self.in_flight -= 1
