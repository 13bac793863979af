"""Patience: who is to be reminded when an answer does not come, on one timer for all requests.

A timer per request would cost more than the whole choice of a replica; nearly all are answered long before.
"""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import Final, Protocol

TICK_S: Final = 0.05


class Waiter(Protocol):
    """Someone who waits for an answer."""

    def is_late(self, now: float) -> None:
        """Its time has passed. Called also when the answer has come meanwhile."""


class Wheel:
    """Waiters by the tick in which they are due. Pure; nothing is taken out before its time."""

    __slots__ = ("_next", "_slots")

    def __init__(self) -> None:
        self._slots: dict[int, list[Waiter]] = {}
        self._next = 0

    def add(self, due: float, waiter: Waiter) -> None:
        """Remind `waiter` at the first tick after `due`."""
        slot = max(self._next, int(due / TICK_S))
        waiters = self._slots.get(slot)
        if waiters is None:
            self._slots[slot] = [waiter]
        else:
            waiters.append(waiter)

    def due(self, now: float) -> list[Waiter]:
        """Take out those whose tick has passed, the earliest first."""
        self._next = max(self._next, int(now / TICK_S))
        passed = sorted(slot for slot in self._slots if slot < self._next)
        return [waiter for slot in passed for waiter in self._slots.pop(slot)]

    def __bool__(self) -> bool:
        return bool(self._slots)


class Patience:
    """The wheel, turned by the running loop as long as someone waits."""

    __slots__ = ("_is_turning", "_wheel")

    def __init__(self) -> None:
        self._wheel = Wheel()
        self._is_turning = False

    def add(self, due: float, waiter: Waiter) -> None:
        """Remind `waiter` soon after `due`, a time of `monotonic`."""
        self._wheel.add(due, waiter)
        if not self._is_turning:
            self._is_turning = True
            asyncio.get_running_loop().call_later(TICK_S, self._turn)

    def _turn(self) -> None:
        now = monotonic()
        for waiter in self._wheel.due(now):
            waiter.is_late(now)
        self._is_turning = bool(self._wheel)
        if self._is_turning:
            asyncio.get_running_loop().call_later(TICK_S, self._turn)
