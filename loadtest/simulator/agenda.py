"""Agenda: what happens when, in virtual time. A heap of plain tuples: nothing is allocated for an event but its tuple.

What is due at the same moment happens in the order in which it was entered. Nothing can be taken out: whoever may change
their mind checks when it happens.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable
from typing import Any

Action = Callable[..., None]


class Agenda:
    """`now` in seconds, from 0: those in which calls are served. `lapse` seconds of the day pass in each of them."""

    __slots__ = ("_count", "_due", "events", "lapse", "now")

    def __init__(self, lapse: float = 1.0) -> None:
        self.now = 0.0
        self.lapse = lapse
        self.events = 0
        """How many have happened."""
        self._due: list[tuple[float, int, Action, tuple[Any, ...]]] = []
        self._count = 0

    @property
    def day_s(self) -> float:
        """Seconds of the day: what boots, control periods and prices are counted in."""
        return self.now * self.lapse

    def at(self, when: float, action: Action, *args: Any) -> None:
        """Call `action(*args)` at `when`, which has not passed."""
        self._count += 1
        heapq.heappush(self._due, (when, self._count, action, args))

    def run(self, until: float = math.inf) -> None:
        """Work everything off that is due by `until`."""
        due, pop = self._due, heapq.heappop
        while due and due[0][0] <= until:
            self.now, _, action, args = pop(due)
            self.events += 1
            action(*args)
        if until < math.inf:
            self.now = max(self.now, until)
