"""VirtualTime: a clock and a loop in which an hour passes as quickly as its events can be worked off. Exact, no threads.

It knows what is due and in which order; it does not know what any of it means.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable


class Timer:
    """Something that is due; `cancel` makes it not happen."""

    __slots__ = ("_action", "when")

    def __init__(self, when: float, action: Callable[[], None]) -> None:
        self.when = when
        self._action: Callable[[], None] | None = action

    def cancel(self) -> None:
        """Forget it. Harmless when it has already happened."""
        self._action = None

    def fire(self) -> None:
        """Do it, once, unless it was cancelled."""
        action, self._action = self._action, None
        if action is not None:
            action()


class VirtualTime:
    """`now` in seconds, from 0. What is due at the same moment happens in the order in which it was asked for."""

    def __init__(self) -> None:
        self.now = 0.0
        self._due: list[tuple[float, int, Timer]] = []
        self._count = 0

    def at(self, when: float, action: Callable[[], None]) -> Timer:
        """Call `action` at `when` seconds; a moment that has passed means now."""
        self._count += 1
        timer = Timer(max(when, self.now), action)
        heapq.heappush(self._due, (timer.when, self._count, timer))
        return timer

    def run(self, until: float = math.inf) -> None:
        """Work everything off that is due by `until`. Ends earlier when nothing is due any more."""
        while self._due and self._due[0][0] <= until:
            self.now, _, timer = heapq.heappop(self._due)
            timer.fire()
        if until < math.inf:
            self.now = max(self.now, until)
