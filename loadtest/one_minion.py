"""One minion in virtual time: the live host's own Gate, Batcher, CostCurve and InFlight around a worker that is a formula.

What the host does with a loop, a socket and a clock is here done by `VirtualTime`; every decision is the very same code.
Not simulated: workers that die, items of unequal shape, the network.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from crema.names import Lane
from loadtest.virtual_time import Timer, VirtualTime
from minion.batcher import Batcher, Waiting
from minion.cost_curve import CostCurve
from minion.gate import Gate, Refusal
from minion.in_flight import InFlight

ServiceTime = Callable[[int], float]


@dataclass(frozen=True, slots=True)
class Profile:
    """A model: t(n) = fixed_s + per_item_s · n, batches of up to `max_size`, answers promised within `slo_s` seconds."""

    fixed_s: float
    per_item_s: float
    max_size: int
    slo_s: float

    def seconds(self, n: int) -> float:
        """t(n)."""
        return self.fixed_s + self.per_item_s * n

    @property
    def capacity(self) -> float:
        """Items a second in full batches without a pause: max_size / t(max_size)."""
        return self.max_size / self.seconds(self.max_size)

    def points(self, times: float = 1.0) -> list[tuple[int, float]]:
        """Two points to seed a cost curve with, wrong by a factor when asked for."""
        return [(n, times * self.seconds(n)) for n in (1, self.max_size)]


GPU_LIKE = Profile(0.005, 0.0005, 32, 0.050)
SEED_LIKE = Profile(0.2, 0.3, 8, 5.0)
SLEEPY = Profile(0.020, 0.0, 8, 0.5)


@dataclass(frozen=True, slots=True)
class Arrival:
    """A request of `n` items that arrives at `at` and wants its answer `within` seconds."""

    at: float
    within: float = math.inf
    lane: Lane = "interactive"
    n: int = 1


@dataclass(frozen=True, slots=True)
class Answer:
    """A request that was answered at `at`, `seconds` after it arrived, in time or not."""

    at: float
    seconds: float
    in_time: bool
    lane: Lane


@dataclass(frozen=True, slots=True)
class Refused:
    """A request that was refused, why, and when to come back."""

    at: float
    lane: Lane
    refusal: Refusal


class Ledger:
    """What became of every request, in the order in which it became so."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.refused: list[Refused] = []
        self.expired: list[float] = []
        """When requests were dropped because their deadline had passed."""
        self.batches: list[tuple[float, int]] = []
        """When each batch ended, and how many items it had."""
        self.ended_at = 0.0

    def goodput(self, begin: float, end: float, lane: Lane | None = None) -> float:
        """Requests answered in time per second, over those answered between `begin` and `end`."""
        good = sum(
            a.in_time and begin < a.at <= end and (lane is None or a.lane == lane) for a in self.answers
        )
        return good / (end - begin)

    def late_share(self, begin: float = 0.0) -> float:
        """Share of the admitted, of those that ended after `begin`, that were answered late or not at all."""
        ended = [a for a in self.answers if a.at > begin]
        expired = sum(at > begin for at in self.expired)
        late = sum(not a.in_time for a in ended) + expired
        return late / max(1, len(ended) + expired)

    def latencies(self, lane: Lane = "interactive") -> list[float]:
        """Seconds from arrival to answer, ascending."""
        return sorted(a.seconds for a in self.answers if a.lane == lane)


class _Call:
    """A request on its way: how many of its items are still to come back."""

    __slots__ = ("arrival", "is_expired", "left")

    def __init__(self, arrival: Arrival) -> None:
        self.arrival = arrival
        self.left = arrival.n
        self.is_expired = False


class _Item(Waiting):
    __slots__ = ("call",)

    def __init__(self, call: _Call) -> None:
        arrival = call.arrival
        super().__init__("u8", arrival.lane, arrival.at + arrival.within, arrival.at)
        self.call = call


class OneMinion:
    """One worker that takes `service(n)` seconds for a batch of n, and a host that needs `host_s(n)` to hand one over.

    The next batch is handed over while one runs, just in time: with `in_flight` 1 only a full one. `eager` hands it over
    as soon as the one before begins: the worse alternative, here to be compared with.
    """

    def __init__(
        self,
        profile: Profile,
        *,
        service: ServiceTime | None = None,
        places: int | None = None,
        max_wait_s: float = 0.0,
        in_flight: int = 1,
        host_s: ServiceTime | None = None,
        eager: bool = False,
    ) -> None:
        self.time = VirtualTime()
        self.curve = CostCurve(profile.max_size, profile.slo_s)
        self.in_flight = InFlight(in_flight, self.curve)
        self.gate = Gate(4 * profile.max_size if places is None else places, profile.slo_s, self.curve)
        self.batcher: Batcher[_Item] = Batcher(max_wait_s)
        self.ledger = Ledger()
        self._service = service or profile.seconds
        self._host_s = host_s
        self._eager = eager
        self._is_handing = False
        self._at_worker: deque[list[_Item]] = deque()
        """The running batch, and those that lie ready behind it."""
        self._freed_at = 0.0
        self._pump_timer: Timer | None = None

    def run(self, arrivals: Iterable[Arrival]) -> Ledger:
        """Until everything that arrived has come to an end. `arrivals` come in ascending order."""
        coming = iter(arrivals)

        # one at a time: a long run needs no more memory than a short one
        def wait_for_next() -> None:
            arrival = next(coming, None)
            if arrival is not None:
                self.time.at(arrival.at, lambda: arrive(arrival))

        def arrive(arrival: Arrival) -> None:
            wait_for_next()
            self._arrive(arrival)

        wait_for_next()
        self.time.run()
        self.ledger.ended_at = self.time.now
        return self.ledger

    # -- what happens --------------------------------------------------------------------------------------------------

    def _arrive(self, arrival: Arrival) -> None:
        batcher = self.batcher
        refusal = self.gate.enter(
            self.time.now,
            arrival.n,
            arrival.lane,
            arrival.within,
            ahead=batcher.ahead(arrival.lane),
            waiting=len(batcher),
            free_at=self.in_flight.free_at(self.time.now),
        )
        if refusal is not None:
            self.ledger.refused.append(Refused(self.time.now, arrival.lane, refusal))
            return
        call = _Call(arrival)
        for _ in range(arrival.n):
            batcher.join(_Item(call))
        self._pump()

    def _pump(self) -> None:
        if self._pump_timer is not None:
            self._pump_timer.cancel()
            self._pump_timer = None
        now = self.time.now
        room_at = None if self._is_handing else self.in_flight.room_at(now, len(self.batcher))
        limit = self.curve.batch_limit
        due_at = self.batcher.due_at(now, limit)
        if room_at is None or due_at is None:
            return
        due_at = now if self._eager else max(room_at, due_at)
        if due_at > now:
            self._pump_timer = self.time.at(due_at, self._pump)
            return
        formed = self.batcher.form(now, limit, self.curve.bulk_limit)
        self._expire(formed.expired)
        if not formed.batch:
            return
        self.in_flight.handed(now, len(formed.batch))
        if self._host_s is None:
            self._reach_worker(formed.batch)
            return
        self._is_handing = True
        self.time.at(now + self._host_s(len(formed.batch)), lambda: self._handed(formed.batch))

    def _handed(self, batch: list[_Item]) -> None:
        self._is_handing = False
        self._reach_worker(batch)
        self._pump()

    def _reach_worker(self, batch: list[_Item]) -> None:
        self._at_worker.append(batch)
        if len(self._at_worker) == 1:
            self._begin(batch)

    def _expire(self, items: Iterable[_Item]) -> None:
        for item in items:
            self.gate.leave(1)
            if not item.call.is_expired:
                item.call.is_expired = True
                self.ledger.expired.append(self.time.now)

    def _begin(self, batch: list[_Item]) -> None:
        now, waited_s = self.time.now, self.time.now - self._freed_at
        # as a live worker does: what expired while it lay there does not run
        self._expire(item for item in batch if item.deadline <= now)
        batch[:] = [item for item in batch if item.deadline > now]
        busy_s = self._service(len(batch)) if batch else 0.0
        self.time.at(self.time.now + busy_s, lambda: self._finish(busy_s, waited_s))

    def _finish(self, busy_s: float, waited_s: float) -> None:
        now, batch = self.time.now, self._at_worker.popleft()
        self._freed_at = now
        if self._at_worker:
            self._begin(self._at_worker[0])
        cost_s = self.in_flight.ended(now, busy_s, waited_s)
        if batch:
            self.curve.learn(len(batch), cost_s)
            self.ledger.batches.append((now, len(batch)))
        for item in batch:
            self.gate.leave(1)
            call = item.call
            call.left -= 1
            if not call.left and not call.is_expired:
                arrival = call.arrival
                self.ledger.answers.append(Answer(now, now - arrival.at, now <= item.deadline, arrival.lane))
        self._pump()
