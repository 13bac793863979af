"""LoadTime: how much of its capacity a minion used. Pure: `now` is an argument.

A minion that runs small batches one after another is always busy and could still take many times as much; so each batch
counts as long as its items would have taken in full batches.
"""

from __future__ import annotations

from collections import deque
from typing import Final

WINDOW_S: Final = 10.0
# One note per this many seconds, however many batches there are.
_STEP_S: Final = 0.1


class LoadTime:
    """Told what each batch would have taken in a full one; knows the share of the last `WINDOW_S` seconds, or since the
    start."""

    def __init__(self, now: float) -> None:
        self._total_s = 0.0
        self._notes: deque[tuple[float, float]] = deque([(now, 0.0)])
        self._note_at = now + _STEP_S

    def add(self, now: float, seconds: float) -> None:
        """A batch ended whose items take `seconds` in full batches."""
        if now >= self._note_at:
            self._note(now)
        self._total_s += seconds

    def ratio(self, now: float, workers: int) -> float:
        """Between 0 and 1, over `workers` that take batches."""
        self._note(now)
        since, total_then = self._notes[0]
        return min(1.0, (self._total_s - total_then) / (now - since) / workers) if now > since else 0.0

    def _note(self, now: float) -> None:
        notes = self._notes
        if now >= self._note_at:
            self._note_at = now + _STEP_S
            notes.append((now, self._total_s))
            while len(notes) > 2 and notes[1][0] <= now - WINDOW_S:
                notes.popleft()
