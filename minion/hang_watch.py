"""HangWatch: has workers killed whose batch is over its time. The bound itself is the watchdog's (minion.watchdog)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from minion.station import Batch

# How often, at most, running batches are looked at.
_LOOK_S: Final = 0.5
# A look that comes this much too late says that the host itself was stopped, and not the worker alone.
_STOPPED_S: Final = 0.5
_LEAST_S: Final = 0.01

log = structlog.get_logger(__name__)


class HangWatch:
    """`running` gives the batches at workers. Looks while there are any, by itself."""

    def __init__(self, running: Callable[[], list[Batch]], now: Callable[[], float]) -> None:
        self._running = running
        self._now = now
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._look_at = 0.0

    def began(self, batch: Batch) -> None:
        """A batch was handed over."""
        if self._timer is None:
            self._wait(batch.until - batch.started_at)

    def _look(self) -> None:
        self._timer = None
        now = self._now()
        watched = [batch for batch in self._running() if not batch.station.is_ending]
        late_s = now - self._look_at
        for batch in watched:
            if late_s > _STOPPED_S:
                # its answer may lie in the socket unread, and whoever stopped the host may have stopped it too
                batch.until += late_s
            if now >= batch.until:
                seconds = now - batch.started_at
                log.error("worker_hangs", items=len(batch.items), seconds=round(seconds, 3))
                batch.station.end(
                    "watchdog", f"the worker hangs: a batch had not ended after {seconds:.1f} s"
                )
        if watched:
            self._wait(min(batch.until for batch in watched) - now)

    def _wait(self, seconds: float) -> None:
        # looked at again and again rather than set for each batch: batches are many, and hardly one hangs
        seconds = min(_LOOK_S, max(_LEAST_S, seconds))
        self._look_at = self._now() + seconds
        self._timer = self._loop.call_later(seconds, self._look)
