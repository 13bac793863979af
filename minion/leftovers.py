"""Leftovers: items that were admitted and do not run, and what they are told: expired, quarantined, or no worker in time.

It finds out in time whose deadline passes while no batch is formed. It puts nothing into a batch.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Final

from minion import verdicts
from minion.admission import Admission
from minion.answers import outcome_of
from minion.meters import Meters
from minion.request import Done, Item
from minion.scatter import Scatter
from minion.station import Stations
from minion.waiting_room import WaitingRoom

# How soon an item whose deadline passes while no batch is formed gets its answer.
_SWEEP_S: Final = 0.1


class Leftovers:
    """Parts are the dispatcher's. Whoever lets something wait calls `watch`."""

    def __init__(
        self,
        admission: Admission,
        room: WaitingRoom,
        stations: Stations,
        scatter: Scatter,
        meters: Meters,
        now: Callable[[], float],
    ) -> None:
        self._admission = admission
        self._room = room
        self._stations = stations
        self._scatter = scatter
        self._meters = meters
        self._now = now
        self._loop = asyncio.get_running_loop()
        self._sweeper: asyncio.TimerHandle | None = None

    def watch(self) -> None:
        """Something waits: look at its deadline now and then."""
        if self._sweeper is None:
            self._sweeper = self._loop.call_later(_SWEEP_S, self._sweep)

    def _sweep(self) -> None:
        """Answer what expired while no batch was formed."""
        now = self._now()
        self._sweeper = None
        expired = self._room.drop_expired(now)
        if expired:
            self.expired(expired, now)
        lying = self._stations.lying()
        for batch in lying:
            # their worker sees the same clock and leaves them out
            expired = [item for item in batch.open if item.deadline <= now]
            batch.settled.update(expired)
            self.expired(expired, now)
        if lying or len(self._room):
            self.watch()

    def expired(self, items: list[Item], now: float) -> None:
        """Their deadline passed before they ran."""
        self._meters.expired.inc(len(items))
        for item in items:
            item.request.started_at = now
            self._scatter.settle([item], verdicts.expired(now - item.queued_at), Done(0.0, 0, {}))

    def quarantined(self, items: list[Item], now: float) -> None:
        """They were in flight in two deaths."""
        self._meters.quarantined.inc(len(items))
        for item in items:
            item.request.started_at = now
        self._scatter.settle(items, verdicts.quarantined(), Done(0.0, 0, {}))

    def shed(self, ready_at: float = math.inf, patience_s: float = 0.0) -> None:
        """Send back what waits and would be too late for a worker that is back at `ready_at`: at first, everything.

        An item without a deadline waits for `patience_s` from when it was queued.
        """
        items = self._room.drop_hopeless(ready_at, patience_s)
        now = self._now()
        for item in items:
            item.request.started_at = now
        if items:
            self._scatter.settle(items, outcome_of(self._admission.not_ready(now)), Done(0.0, 0, {}))
