"""Which replica gets the next request: power of two choices on the predicted wait. Pure: time comes as an argument.

Least outstanding would send everything to a replica that refuses quickly; the wait that each answer reports does not.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Final

from coordinator.ejection import Ejection
from coordinator.replica import Replica

NONE: Final = -1
"""No replica can be used."""


class Group:
    """The replicas among which one is chosen: those of a version, or the preprocessors.

    `expected_ms` stands for the time of an answer as long as none has been seen.
    """

    __slots__ = ("ejection", "expected_ms", "is_many", "replicas")

    def __init__(
        self, replicas: Sequence[Replica], ejection: Ejection | None = None, expected_ms: float = 500.0
    ) -> None:
        self.replicas = replicas
        self.ejection = ejection or Ejection()
        self.expected_ms = expected_ms
        self.is_many = len(replicas) > 1

    @property
    def is_open(self) -> bool:
        """Whether any of them is connected."""
        for each in self.replicas:  # noqa: SIM110 - asked once per call, and a generator costs three times this
            if each.is_open:
                return True
        return False


class Router:
    """Chooses among replicas. `rng` gives floats in [0, 1) and is replaced in tests."""

    def __init__(self, rng: Callable[[], float] = random.random) -> None:
        self._rng = rng

    def choose(self, group: Group, now: float) -> int:
        """The index of the replica to use, `NONE` when none is connected.

        Those that refused are left out until their Retry-After has passed, and those ejected until their time is
        over, unless that leaves none: then only those that refused can tell whether there is room again, and after
        them those ejected are better than nothing.
        """
        replicas = group.replicas
        count = len(replicas)
        if count == 1:
            return 0 if replicas[0].is_open else NONE
        if count > 1:
            first = int(self._rng() * count)
            second = int(self._rng() * (count - 1))
            if second >= first:
                second += 1
            if replicas[first].usable_at <= now and replicas[second].usable_at <= now:
                return self._better(replicas, first, second, now)
        return self._of(replicas, now, None)

    def choose_another(self, group: Group, now: float, besides: Replica) -> int:
        """The index of a replica for a second try, `NONE` when no other one is known to be worth it.

        What a replica had whose connection is lost cannot be answered there any more: for that, as for a first try, one
        that refused lately or is ejected is better than nothing.
        """
        return self._of(group.replicas, now, besides)

    def _of(self, replicas: Sequence[Replica], now: float, besides: Replica | None) -> int:
        found = [i for i, each in enumerate(replicas) if each.usable_at <= now and each is not besides]
        if not found and (besides is None or not besides.is_open):
            found = [i for i, each in enumerate(replicas) if each.is_open and not each.is_ejected]
            if not found:
                found = [i for i, each in enumerate(replicas) if each.is_open]
        count = len(found)
        if count < 2:
            return found[0] if found else NONE
        first = int(self._rng() * count)
        second = int(self._rng() * (count - 1))
        if second >= first:
            second += 1
        return self._better(replicas, found[first], found[second], now)

    def _better(self, replicas: Sequence[Replica], first: int, second: int, now: float) -> int:
        one, other = replicas[first], replicas[second]
        if one.warm_at > now or other.warm_at > now:
            # a slow start is relative: where all have just come back, each gets its full share
            mine, its = one.weight(now), other.weight(now)
            if mine < its:
                if self._rng() * its >= mine:
                    return second
            elif its < mine and self._rng() * mine >= its:
                return first
        wait_ms, other_ms = one.predicted_wait_ms(now), other.predicted_wait_ms(now)
        if wait_ms == other_ms:
            return first if one.outstanding <= other.outstanding else second
        return first if wait_ms < other_ms else second
