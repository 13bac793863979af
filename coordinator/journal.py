"""The journal: one event per request, as a JSON line like every other log event, and never a pixel.

Events are gathered and encoded and written together, a few times a second, so that a request pays next to nothing. A
log that cannot be written is counted and never fails a request.
"""

from __future__ import annotations

import asyncio
import random
import sys
from datetime import UTC, datetime
from typing import Final, TextIO

import msgspec

from coordinator.event import Event

WRITE_EVERY_S: Final = 0.2
# Above this many waiting events the log's reader is too slow, and further ones are dropped.
MAX_WAITING: Final = 20_000

_encoder = msgspec.json.Encoder()


class Journal:
    """Writes request events to `stream`. `is_on` is False at log levels above info; `sample` is the share of plain
    requests that is written (0 to 1)."""

    def __init__(
        self, tier: str, *, is_on: bool = True, sample: float = 1.0, stream: TextIO | None = None
    ) -> None:
        self.is_on = is_on
        self.sample = sample
        self.dropped = 0
        self._tier = tier
        self._stream = sys.stderr if stream is None else stream
        self._waiting: list[Event] = []
        self._timer: asyncio.TimerHandle | None = None

    def wants(self, is_plain: bool) -> bool:
        """Whether to write an event: of plain requests a sample, of all others every one."""
        return self.is_on and (not is_plain or self.sample >= 1 or random.random() < self.sample)

    def write(self, event: Event) -> None:
        """Queue one event; it gets what the journal knows, and must not change afterwards."""
        if not self.is_on:
            return
        if len(self._waiting) >= MAX_WAITING:
            self.dropped += 1
            return
        event.level = "info"
        event.tier = self._tier
        event.timestamp = datetime.now(UTC)
        self._waiting.append(event)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(WRITE_EVERY_S, self.flush)

    def flush(self) -> None:
        """Write what waits."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._waiting:
            return
        events, self._waiting = self._waiting, []
        try:
            self._stream.write(_encoder.encode_lines(events).decode("utf-8"))
            self._stream.flush()
        except (OSError, TypeError, ValueError):
            self.dropped += len(events)
