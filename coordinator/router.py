"""Which replica gets the next request: power of two choices on the predicted wait. Pure: time comes as an argument.

Least outstanding would send everything to a replica that refuses quickly; the wait that each answer reports does not.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from typing import Any, Final

# Weight of one answer in a replica's mean time per item.
_WEIGHT: Final = 0.2
_UNKNOWN_ITEM_MS: Final = 1.0


class Replica:
    """What is known of one replica's load; times are seconds of one monotonic clock.

    The owner says `sent`, then exactly one of `answered`, `refused` and `given_up` per request.
    """

    __slots__ = (
        "_item_ms",
        "_reported_at",
        "_unreported",
        "_wait_ms",
        "address",
        "outstanding",
        "skip_until",
    )

    def __init__(self, address: str) -> None:
        self.address = address
        self.outstanding = 0
        self.skip_until = -math.inf
        self._wait_ms = 0.0
        self._reported_at = 0.0
        # sent since the last report: the report does not count them yet
        self._unreported = 0
        self._item_ms = _UNKNOWN_ITEM_MS

    def sent(self) -> None:
        """A request went to this replica."""
        self.outstanding += 1
        self._unreported += 1

    def answered(self, now: float, load: Any, item_ms: float | None = None) -> None:
        """It was answered, with the replica's `load` map and the time its model took per item where known."""
        self.outstanding -= 1
        self._report(now, load)
        if item_ms is not None and 0 <= item_ms < 60_000:
            self._item_ms += _WEIGHT * (item_ms - self._item_ms)

    def refused(self, now: float, load: Any, retry_after_ms: float | None) -> None:
        """It was refused; until `retry_after_ms` from now another replica is preferred."""
        self.outstanding -= 1
        self._report(now, load)
        if retry_after_ms is not None:
            self.skip_until = max(self.skip_until, now + retry_after_ms / 1000)

    def given_up(self) -> None:
        """It was cancelled, or its connection was lost."""
        self.outstanding -= 1
        self._unreported = min(self._unreported, self.outstanding)

    def predicted_wait_ms(self, now: float) -> float:
        """How long a request sent now would wait: the last report, run down by the time since, plus what we sent since."""
        reported = self._wait_ms - (now - self._reported_at) * 1000
        return (reported if reported > 0 else 0.0) + self._unreported * self._item_ms

    def _report(self, now: float, load: Any) -> None:
        wait_ms = load.get("expected_wait_ms") if type(load) is dict else None
        if (type(wait_ms) is float or type(wait_ms) is int) and 0 <= wait_ms < 1e9:
            self._wait_ms = wait_ms
            self._reported_at = now
            self._unreported = 0
        elif self._unreported > self.outstanding:
            self._unreported = self.outstanding


class Router:
    """Chooses among replicas. `rng` gives floats in [0, 1) and is replaced in tests."""

    def __init__(self, rng: Callable[[], float] = random.random) -> None:
        self._rng = rng

    def choose(self, replicas: Sequence[Replica], now: float) -> int:
        """The index of the replica to use. `replicas` are those that can be reached, at least one.

        Those that refused are left out until their Retry-After has passed, unless that leaves none: then only they
        can tell whether there is room again.
        """
        if len(replicas) == 1:
            return 0
        candidates = [index for index, each in enumerate(replicas) if each.skip_until <= now]
        if not candidates:
            candidates = list(range(len(replicas)))
        count = len(candidates)
        if count == 1:
            return candidates[0]
        first = int(self._rng() * count)
        second = int(self._rng() * (count - 1))
        if second >= first:
            second += 1
        one, other = candidates[first], candidates[second]
        return one if self._cost(replicas[one], now) <= self._cost(replicas[other], now) else other

    @staticmethod
    def _cost(replica: Replica, now: float) -> tuple[float, int]:
        return replica.predicted_wait_ms(now), replica.outstanding
