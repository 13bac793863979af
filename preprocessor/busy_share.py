"""The share of the last seconds in which decoders were busy, over all of them. Pure: `now` is an argument."""

from __future__ import annotations

from collections import deque
from typing import Final

WINDOW_S: Final = 10.0
_STEP_S: Final = 0.25


class BusyShare:
    """Told how many of `workers` are busy whenever that changes."""

    def __init__(self, workers: int, now: float) -> None:
        self._workers = workers
        self._busy = 0
        self._since = now
        self._worked_s = 0.0
        self._notes: deque[tuple[float, float]] = deque([(now, 0.0)])

    def change(self, busy: int, now: float) -> None:
        """From now on `busy` workers are busy."""
        self._advance(now)
        self._busy = busy

    def ratio(self, now: float) -> float:
        """Between 0 and 1, over the last 10 s or since the start."""
        self._advance(now)
        began, worked_then = self._notes[0]
        if now <= began:
            return 0.0
        return min(1.0, (self._worked_s - worked_then) / (now - began) / self._workers)

    def _advance(self, now: float) -> None:
        self._worked_s += self._busy * (now - self._since)
        self._since = now
        # a few notes a second are enough, however many images there are
        if now - self._notes[-1][0] >= _STEP_S:
            self._notes.append((now, self._worked_s))
            while len(self._notes) > 2 and self._notes[1][0] <= now - WINDOW_S:
                self._notes.popleft()
