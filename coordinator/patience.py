"""Patience: who is to be reminded when an answer does not come, on one timer for all requests.

A timer per request would cost more than the whole choice of a replica; nearly all are answered long before.
"""

from __future__ import annotations

import asyncio
from time import monotonic

from coordinator.wheel import TICK_S, Waiter, Wheel


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
