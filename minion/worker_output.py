"""WorkerOutput: what a worker writes to standard output and error: logged line by line, within bounds, and its tail kept.

The pipe is always read, so a flood never blocks the model; what is over the bounds is counted and thrown away.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections import deque
from typing import Final

import structlog

LINES_PER_S: Final = 50
BURST_LINES: Final = 200
MAX_LINE_CHARS: Final = 500
TAIL_LINES: Final = 20
_READ_BYTES: Final = 64 * 1024
_READS_PER_TURN: Final = 4

log = structlog.get_logger(__name__)


class LineBudget:
    """How many lines may be logged: a bucket of `burst` that refills with `per_s`. Pure."""

    def __init__(self, per_s: float = LINES_PER_S, burst: float = BURST_LINES) -> None:
        self._per_s = per_s
        self._burst = burst
        self._left = burst
        self._since = 0.0

    def take(self, now: float) -> bool:
        """Whether one more line may be logged."""
        self._left = min(self._burst, self._left + (now - self._since) * self._per_s)
        self._since = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


class WorkerOutput:
    """Reads the pipe `descriptor` until its end; owns it."""

    def __init__(self, descriptor: int, pid: int) -> None:
        self._descriptor = descriptor
        self._pid = pid
        self._tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._partial = b""
        self._suppressed = 0
        self._budget = LineBudget()
        self.is_open = True
        """Whether the other end may still write."""

    def start(self) -> None:
        """Begin to read, on the running loop."""
        os.set_blocking(self._descriptor, False)
        asyncio.get_running_loop().add_reader(self._descriptor, self._readable)

    def close(self) -> None:
        """Read what is there, then stop."""
        if self.is_open:
            self._readable()
        if self.is_open:
            self._end()

    @property
    def tail(self) -> list[str]:
        """The last lines, oldest first."""
        return list(self._tail)

    def _readable(self) -> None:
        for _ in range(_READS_PER_TURN):
            try:
                data = os.read(self._descriptor, _READ_BYTES)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self._end()
                return
            self._take(data)
            if len(data) < _READ_BYTES:
                return

    def _take(self, data: bytes) -> None:
        lines = (self._partial + data).split(b"\n")
        # a line without an end is cut, so that one that never ends takes no memory
        self._partial = lines.pop()[:MAX_LINE_CHARS]
        now = time.monotonic()
        # of a flood only the last lines matter for the tail, and the budget for the log
        kept = lines[-BURST_LINES:]
        self._suppressed += len(lines) - len(kept)
        for raw in kept:
            line = raw[:MAX_LINE_CHARS].decode("utf-8", "backslashreplace").rstrip("\r")
            self._tail.append(line)
            self._log(line, now)

    def _log(self, line: str, now: float) -> None:
        if not self._budget.take(now):
            self._suppressed += 1
            return
        if self._suppressed:
            log.warning("worker_output_suppressed", pid=self._pid, lines=self._suppressed)
            self._suppressed = 0
        log.info("worker_output", pid=self._pid, line=line)

    def _end(self) -> None:
        self.is_open = False
        asyncio.get_running_loop().remove_reader(self._descriptor)
        with contextlib.suppress(OSError):
            os.close(self._descriptor)
        if self._partial:
            self._take(b"\n")
        if self._suppressed:
            log.warning("worker_output_suppressed", pid=self._pid, lines=self._suppressed)
            self._suppressed = 0
