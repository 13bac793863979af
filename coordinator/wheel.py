"""Wheel: who is to be reminded when, by the tick in which that is. Pure: time comes as an argument."""

from __future__ import annotations

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
