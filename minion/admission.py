"""Admission: whether a request may come in, and what every answer says of how full this replica is.

It asks the gate, with what waits and what runs; it queues nothing and answers nobody.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from crema.errors import CremaError
from crema.names import Lane
from minion import verdicts
from minion.gate import Gate
from minion.meters import Meters
from minion.request import Request
from minion.state import Life, State
from minion.station import Stations
from minion.waiting_room import WaitingRoom


class Admission:
    """`ready_at` is when a worker should be ready, in seconds of `now`; whoever knows better sets it."""

    def __init__(
        self,
        life: Life,
        gate: Gate,
        room: WaitingRoom,
        stations: Stations,
        meters: Meters,
        now: Callable[[], float],
    ) -> None:
        self.ready_at = now()
        self._life = life
        self._gate = gate
        self._room = room
        self._stations = stations
        self._meters = meters
        self._now = now

    def admit(self, request: Request) -> CremaError | None:
        """Take the request's places, or say why not. Decided on the header alone: its pixels may not have come yet."""
        arrived_at = request.arrived_at
        return self.refusal(arrived_at, request.n, request.lane, request.deadline - arrived_at)

    def refusal(
        self, now: float, n: int, lane: Lane, remaining_s: float, *, is_probe: bool = False
    ) -> CremaError | None:
        """Why `n` items may not come in, or None with their places taken (given back at once when `is_probe`)."""
        if not self._life.state.is_ready:
            if self._life.state is State.DRAINING:
                self._meters.refused("draining", lane, n)
            return self.not_ready(now)
        ahead, waiting = self._room.queue(lane)
        refusal = self._gate.enter(
            now,
            n,
            lane,
            remaining_s,
            ahead=ahead,
            waiting=waiting,
            free_at=self._stations.free_at(now),
        )
        if refusal is None:
            if is_probe:
                self._gate.take_back(n, lane)
            else:
                self._meters.accepted(lane, n)
            return None
        self._meters.refused(refusal.reason, lane, n)
        return CremaError(
            "overloaded", refusal.message, retry_after_ms=max(1.0, refusal.retry_after_s * 1000)
        )

    def not_ready(self, now: float) -> CremaError:
        """Why nothing is admitted in this state."""
        return verdicts.not_ready(self._life.state, self.ready_at - now)

    def load(self) -> dict[str, Any]:
        """What every answer says of this replica: places taken, places in all, and the predicted wait of a new item."""
        now = self._now()
        free_at = self._stations.free_at(now)
        if not self._stations:
            free_at = max(free_at or 0.0, self.ready_at)
        wait_s = self._gate.wait_s(now, self._room.ahead("interactive"), free_at)
        return {
            "pending": self._gate.pending,
            "places": self._gate.places,
            "expected_wait_ms": wait_s * 1000,
        }
