"""BusyTime: the share of the last seconds in which a batch was running. Pure: `now` is an argument."""

from __future__ import annotations

from collections import deque
from typing import Final

WINDOW_S: Final = 10.0
# One note per this many seconds, however many batches there are.
_STEP_S: Final = 0.1


class BusyTime:
    """Told when batches begin and end; knows the busy share of the last `WINDOW_S` seconds (or since the start)."""

    def __init__(self, now: float) -> None:
        self._total_s = 0.0
        self._began: float | None = None
        self._notes: deque[tuple[float, float]] = deque([(now, 0.0)])
        self._note_at = now + _STEP_S

    def begin(self, now: float) -> None:
        """A batch was handed over."""
        if now >= self._note_at:
            self._note(now)
        self._began = now

    def end(self, now: float) -> None:
        """The batch is over."""
        if self._began is not None:
            if now >= self._note_at:
                self._note(now)
            self._total_s += now - self._began
            self._began = None

    def ratio(self, now: float) -> float:
        """Between 0 and 1."""
        self._note(now)
        since, total_then = self._notes[0]
        if len(self._notes) > 1 and since < now - WINDOW_S:
            # the window begins between two notes: the busy time between them counts in proportion
            later, total_later = self._notes[1]
            share = (now - WINDOW_S - since) / (later - since)
            total_then += share * (total_later - total_then)
            since = now - WINDOW_S
        return min(1.0, (self._busy_s(now) - total_then) / (now - since)) if now > since else 0.0

    def _busy_s(self, now: float) -> float:
        return self._total_s + (now - self._began if self._began is not None else 0.0)

    def _note(self, now: float) -> None:
        notes = self._notes
        if now >= self._note_at:
            self._note_at = now + _STEP_S
            notes.append((now, self._busy_s(now)))
            while len(notes) > 2 and notes[1][0] <= now - WINDOW_S:
                notes.popleft()
