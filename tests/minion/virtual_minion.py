"""A minion in virtual time: the real gate, batcher and cost curve around a worker that is only a formula. Exact and quick."""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from crema.names import Lane
from minion.batcher import Batcher, Waiting
from minion.cost_curve import CostCurve
from minion.gate import Gate

ServiceTime = Callable[[int], float]


@dataclass(frozen=True)
class Arrival:
    """One item that arrives at `at` seconds and must be answered `within` seconds."""

    at: float
    within: float = math.inf
    lane: Lane = "interactive"


@dataclass
class Tally:
    """What became of the arrivals: seconds from arrival to answer of those answered, and the other ends."""

    latencies: list[float]
    in_time: int = 0
    late: int = 0
    refused: int = 0
    expired: int = 0
    batches: int = 0
    """Batches run."""
    items: int = 0
    """Items in them."""
    ended_at: float = 0.0


def poisson(rate: float, seconds: float, within: float, seed: int = 1) -> Iterator[Arrival]:
    """Arrivals at `rate` per second."""
    chance = random.Random(seed)
    now = chance.expovariate(rate)
    while now < seconds:
        yield Arrival(now, within)
        now += chance.expovariate(rate)


class VirtualMinion:
    """One worker that takes `service(n)` seconds for a batch of n."""

    def __init__(
        self, service: ServiceTime, *, max_size: int, places: int, slo_s: float, max_wait_s: float = 0.0
    ) -> None:
        self.curve = CostCurve(max_size, slo_s)
        self.gate = Gate(places, slo_s, self.curve)
        self.batcher: Batcher[Waiting] = Batcher(max_wait_s)
        self.tally = Tally([])
        self._service = service
        self._running: list[Waiting] = []
        self._started_at = 0.0
        self._events: list[tuple[float, int, str, Arrival | None]] = []
        self._count = 0

    def run(self, arrivals: Iterable[Arrival]) -> Tally:
        """Until everything that arrived has come to an end."""
        for arrival in arrivals:
            self._at(arrival.at, "arrive", arrival)
        while self._events:
            now, _, what, arrival = heapq.heappop(self._events)
            if what == "arrive" and arrival is not None:
                self._arrive(now, arrival)
            elif what == "finish":
                self._finish(now)
            self._pump(now)
            self.tally.ended_at = now
        return self.tally

    def _at(self, when: float, what: str, arrival: Arrival | None = None) -> None:
        self._count += 1
        heapq.heappush(self._events, (when, self._count, what, arrival))

    def _arrive(self, now: float, arrival: Arrival) -> None:
        free_at = self._started_at + self.curve.predict(len(self._running)) if self._running else None
        ahead, waiting = self.batcher.ahead(arrival.lane), len(self.batcher)
        refusal = self.gate.enter(
            now, 1, arrival.lane, arrival.within, ahead=ahead, waiting=waiting, free_at=free_at
        )
        if refusal is not None:
            self.tally.refused += 1
        else:
            self.batcher.join(Waiting("u8", arrival.lane, now + arrival.within, now))

    def _pump(self, now: float) -> None:
        if self._running:
            return
        limit = self.curve.batch_limit
        due_at = self.batcher.due_at(now, limit)
        if due_at is None:
            return
        if due_at > now:
            self._at(due_at, "wake")
            return
        formed = self.batcher.form(now, limit)
        self.tally.expired += len(formed.expired)
        self.gate.leave(len(formed.expired))
        if formed.batch:
            self._running, self._started_at = formed.batch, now
            self._at(now + self._service(len(formed.batch)), "finish")

    def _finish(self, now: float) -> None:
        batch, self._running = self._running, []
        self.tally.batches += 1
        self.tally.items += len(batch)
        self.curve.learn(len(batch), now - self._started_at)
        self.gate.leave(len(batch))
        for item in batch:
            self.tally.latencies.append(now - item.queued_at)
            if now <= item.deadline:
                self.tally.in_time += 1
            else:
                self.tally.late += 1
