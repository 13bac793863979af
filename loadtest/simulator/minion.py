"""A minion in the simulation: the live Gate, Batcher, CostCurve, InFlight and LoadTime around a worker that is a curve.

As `loadtest.one_minion`, for attempts of coordinators. Not simulated: workers that die alone, items of unequal shape,
memory, several workers in one minion.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from loadtest.simulator.agenda import Agenda
from loadtest.simulator.attempt import Attempt
from loadtest.simulator.cores import Thread
from loadtest.simulator.machine import Machine, Seen
from minion.batcher import Batcher
from minion.cost_curve import CostCurve
from minion.gate import Gate
from minion.in_flight import InFlight
from minion.load_time import LoadTime


@dataclass(frozen=True, slots=True)
class Model:
    """What a model's manifest and its measured curve say: `seconds[n]` is t(n); entry 0 is unused."""

    name: str
    seconds: tuple[float, ...]
    points: tuple[tuple[int, float], ...]
    scatter: float
    max_wait_s: float
    in_flight: int
    places: int
    slo_s: float
    host_s: float = 0.0

    @property
    def max_size(self) -> int:
        """Items in a batch, at most."""
        return len(self.seconds) - 1


def interpolated(points: Sequence[tuple[int, float]], max_size: int) -> tuple[float, ...]:
    """t(n) for every n up to `max_size`: straight lines between the measured sizes and beyond the last; one point: flat."""
    if len(points) == 1:
        return (0.0, *[points[0][1]] * max_size)
    seconds = [0.0]
    for n in range(1, max_size + 1):
        after = next((i for i in range(1, len(points)) if points[i][0] >= n), len(points) - 1)
        (n0, s0), (n1, s1) = points[after - 1], points[after]
        seconds.append(max(0.0, s0 + (s1 - s0) * (n - n0) / (n1 - n0)))
    return tuple(seconds)


class Batches:
    """How many batches a model's minions ran, and of how many items."""

    __slots__ = ("count", "items")

    def __init__(self) -> None:
        self.count = self.items = 0


class Minion(Machine):
    """One replica of `model`. `scattered` gives a factor around 1 by which a batch takes longer than its curve says. Where
    it shares its cores, `thread` is its host's, and its worker has a thread, too."""

    __slots__ = (
        "_at_worker", "_batcher", "_batches", "_curve", "_freed_at", "_gate", "_in_flight", "_is_handing", "_load_time",
        "_model", "_pump_number", "_scattered", "_worker",
    )  # fmt: skip

    def __init__(
        self,
        agenda: Agenda,
        number: int,
        seen: Seen,
        hop_s: float,
        model: Model,
        batches: Batches,
        scattered: Callable[[], float] | None,
        thread: Thread | None = None,
        worker: Thread | None = None,
    ) -> None:
        super().__init__(agenda, number, seen, hop_s, thread)
        self._worker = worker
        self._model = model
        self._batches = batches
        self._scattered = scattered
        self._curve = CostCurve(model.max_size, model.slo_s)
        self._curve.seed(model.points)
        self._in_flight = InFlight(model.in_flight, self._curve)
        self._gate = Gate(model.places, model.slo_s, self._curve)
        self._batcher: Batcher[Attempt] = Batcher(model.max_wait_s)
        self._load_time = LoadTime(agenda.day_s)
        self._at_worker: deque[list[Attempt]] = deque()
        self._is_handing = False
        self._freed_at = 0.0
        self._pump_number = 0

    @property
    def pending(self) -> int:
        """Places taken."""
        return self._gate.pending

    def busy_ratio(self) -> float:
        """The share of its capacity that it used in the last 10 s: small batches one after another are not all of it."""
        return self._load_time.ratio(self.agenda.day_s, 1)

    # -- requests ------------------------------------------------------------------------------------------------------

    def receive(self, attempt: Attempt) -> None:
        """Through the gate or not."""
        if self.state == "dead":
            self.meets_nobody(attempt)
            return
        if attempt.is_over:
            return
        now, batcher, lane = self.agenda.now, self._batcher, attempt.lane
        refusal = self._gate.enter(
            now, 1, lane, attempt.deadline - now,
            ahead=batcher.ahead(lane), waiting=len(batcher), free_at=self._in_flight.free_at(now),
        )  # fmt: skip
        if refusal is not None:
            if refusal.reason in ("full", "deadline") and lane == "interactive":
                self.seen.refused += 1
            code = "not_ready" if refusal.reason == "draining" else "overloaded"
            after_ms = refusal.retry_after_s * 1000
            self.tell(
                attempt.coordinator, attempt.coordinator.refused, attempt, self._load(now), code, after_ms
            )
            return
        if lane == "interactive":
            self.seen.accepted += 1
        attempt.holds = True
        attempt.queued_at = now
        batcher.join(attempt)
        self._pump()

    def cancel(self, attempt: Attempt) -> None:
        """Its place is free at once; what lies at the worker is thrown away there."""
        if attempt.holds and self.state != "dead":
            attempt.holds = False
            self._batcher.leave(attempt)
            self._gate.leave(1)
            self._let_go()

    def drain(self) -> None:
        """Refuse what still comes."""
        self._gate.is_draining = True
        super().drain()

    def held(self) -> list[Attempt]:
        """What waits and what is at the worker."""
        waiting = self._batcher.drop_expired(math.inf)
        return [each for batch in self._at_worker for each in batch] + waiting

    def _load(self, now: float) -> dict[str, float]:
        gate = self._gate
        wait_s = gate.wait_s(now, self._batcher.ahead("interactive"), self._in_flight.free_at(now))
        return {"pending": gate.pending, "places": gate.places, "expected_wait_ms": wait_s * 1000}

    # -- batches -------------------------------------------------------------------------------------------------------

    def _pump_again(self, number: int) -> None:
        # only the last one that was asked for counts
        if number == self._pump_number and self.state != "dead":
            self._pump()

    def _pump(self) -> None:
        self._pump_number += 1
        if self._is_handing:
            return
        now, batcher = self.agenda.now, self._batcher
        waiting = len(batcher)
        if not waiting:
            return
        room_at = self._in_flight.room_at(now, waiting)
        if room_at is None:
            return
        limit = self._curve.batch_limit
        due_at = batcher.due_at(now, limit)
        if due_at is None:
            return
        due_at = max(room_at, due_at)
        if due_at > now:
            self.agenda.at(due_at, self._pump_again, self._pump_number)
            return
        formed = batcher.form(now, limit)
        self._expire(formed.expired)
        batch = formed.batch
        if not batch:
            return
        self._in_flight.handed(now, len(batch))
        if self._model.host_s:
            self._is_handing = True
            self.agenda.at(now + self._model.host_s, self._handed, batch)
        else:
            self._reach_worker(batch)

    def _handed(self, batch: list[Attempt]) -> None:
        self._is_handing = False
        if self.state != "dead":
            self._reach_worker(batch)
            self._pump()

    def _reach_worker(self, batch: list[Attempt]) -> None:
        self._at_worker.append(batch)
        if len(self._at_worker) == 1:
            self._take_up(batch)

    def _take_up(self, batch: list[Attempt]) -> None:
        if self._worker is None:
            self._begin(batch)
        else:
            self._worker.do(self._begin, batch)

    def _begin(self, batch: list[Attempt]) -> None:
        now = self.agenda.now
        waited_s = now - self._freed_at
        for each in batch:
            if each.deadline <= now or not each.holds:
                # as a live worker does: what expired or was given up while it lay there does not run
                self._expire(one for one in batch if one.deadline <= now and one.holds)
                batch[:] = [one for one in batch if one.holds]
                break
        busy_s = 0.0
        if batch:
            busy_s = self._model.seconds[len(batch)]
            if self._scattered is not None:
                busy_s *= self._scattered()
        if self._worker is None:
            self.agenda.at(now + busy_s, self._worked, busy_s, waited_s, now)
        else:
            self.agenda.at(now + busy_s, self._worker.do, self._wake, waited_s, now)

    def _wake(self, waited_s: float, began: float) -> None:
        # what it waited for a core is part of what the batch took
        self._worked(self.agenda.now - began, waited_s, began)

    def _worked(self, busy_s: float, waited_s: float, began: float) -> None:
        if self.state == "dead":
            return
        batch = self._at_worker.popleft()
        self._freed_at = self.agenda.now
        if self._at_worker:
            self._take_up(self._at_worker[0])
        if self.thread is None:
            self._finish(batch, busy_s, waited_s, began)
        else:
            self.thread.do_all(len(batch), self._finish, batch, busy_s, waited_s, began)

    def _finish(self, batch: list[Attempt], busy_s: float, waited_s: float, began: float) -> None:
        now = self.agenda.now
        cost_s = self._in_flight.ended(now, busy_s, waited_s)
        size = len(batch)
        if size:
            self._curve.learn(size, cost_s)
            self._load_time.add(self.agenda.day_s, size * self._curve.full_item_s * self.agenda.lapse)
            self._batches.count += 1
            self._batches.items += size
        # as the live host does: the load that the answers carry counts the batch that has begun
        self._pump()
        answered = [each for each in batch if each.holds]
        if answered:
            self._gate.leave(len(answered))
            self._answer(answered, began, cost_s, size)
        self._let_go()

    def _answer(self, answered: list[Attempt], began: float, cost_s: float, size: int) -> None:
        now = self.agenda.now
        load = self._load(now)
        whose: dict[object, list[Attempt]] = {}
        for each in answered:
            each.holds = False
            whose.setdefault(each.coordinator, []).append(each)
        for attempts in whose.values():
            coordinator = attempts[0].coordinator
            if coordinator.thread is None:
                self.agenda.at(now + self.hop_s, coordinator.inferred, attempts, load, began, cost_s, size)
                continue
            for each in attempts:
                self.tell(coordinator, coordinator.inferred, (each,), load, began, cost_s, size)

    def _expire(self, attempts: Iterable[Attempt]) -> None:
        for each in attempts:
            if each.holds:
                each.holds = False
                self._gate.leave(1)
