"""Replicas behind coordinators in virtual time: the live Router, RetryBudget and Ejection in front of the live host's
Gate, Batcher, CostCurve and InFlight. Only the model (a formula), the network (a delay) and the clock are simulated.

Each coordinator sees only the answers to its own requests. Not simulated: preprocessing, connections that break.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial

from coordinator.ejection import Ejection
from coordinator.replica import Replica
from coordinator.router import NONE, Group, Router
from coordinator.second_try import SecondTries
from loadtest.one_minion import Profile
from loadtest.virtual_time import VirtualTime
from minion.batcher import Batcher, Waiting
from minion.cost_curve import CostCurve
from minion.gate import Gate
from minion.in_flight import InFlight

HOP_S = 0.00025
"""Each way between a coordinator and a minion."""


class _Call:
    """One request of a caller, at one coordinator: it ends once."""

    __slots__ = ("arrived_at", "coordinator", "ended", "tries")

    def __init__(self, coordinator: Coordinator, arrived_at: float) -> None:
        self.coordinator = coordinator
        self.arrived_at = arrived_at
        self.ended = False
        self.tries = 0


class _Item(Waiting):
    __slots__ = ("call", "index", "joined_at", "sent_at")

    def __init__(self, call: _Call, index: int, now: float, deadline: float, sent_at: float) -> None:
        super().__init__("u8", "interactive", deadline, now)
        self.call = call
        self.index = index
        self.joined_at = now
        self.sent_at = sent_at


@dataclass
class Counts:
    """What became of the requests that arrived after `begin`."""

    begin: float = 0.0
    requests: int = 0
    attempts: int = 0
    refused: int = 0
    late: int = 0
    seconds: list[float] = field(default_factory=list)
    sent_to: dict[int, int] = field(default_factory=dict)

    @property
    def refused_share(self) -> float:
        """Callers who saw a 429."""
        return self.refused / max(1, self.requests)

    @property
    def attempts_per_request(self) -> float:
        """How often a minion is asked for one request."""
        return self.attempts / max(1, self.requests)

    def p99_s(self) -> float:
        """Of the answers."""
        ordered = sorted(self.seconds)
        return ordered[int(len(ordered) * 0.99)] if ordered else 0.0


class Minion:
    """One replica; `times` makes its model that many times slower, and it knows that. `times` may change."""

    def __init__(self, time: VirtualTime, profile: Profile, times: float = 1.0) -> None:
        self.times = times
        self._time = time
        self._profile = profile
        self._curve = CostCurve(profile.max_size, profile.slo_s)
        self._curve.seed(profile.points(times))
        self._in_flight = InFlight(1, self._curve)
        self._gate = Gate(4 * profile.max_size, profile.slo_s, self._curve)
        self._batcher: Batcher[_Item] = Batcher(0.0)
        self._freed_at = 0.0

    def receive(self, call: _Call, index: int, sent_at: float, deadline: float) -> None:
        """A request arrives; its answer or refusal leaves for its coordinator."""
        now = self._time.now
        refusal = self._gate.enter(
            now, 1, "interactive", deadline - now,
            ahead=self._batcher.ahead("interactive"), waiting=len(self._batcher), free_at=self._in_flight.free_at(now),
        )  # fmt: skip
        if refusal is not None:
            back = partial(
                call.coordinator.refused, call, index, sent_at, self._load(), refusal.retry_after_s
            )
            self._time.at(now + HOP_S, back)
            return
        self._batcher.join(_Item(call, index, now, deadline, sent_at))
        self._pump()

    def _load(self) -> dict[str, float]:
        now = self._time.now
        wait_s = self._gate.wait_s(now, self._batcher.ahead("interactive"), self._in_flight.free_at(now))
        return {"pending": self._gate.pending, "places": self._gate.places, "expected_wait_ms": wait_s * 1000}

    def _pump(self) -> None:
        now = self._time.now
        limit = self._curve.batch_limit
        # the host costs nothing here: a batch that lay ready at the worker would gain nothing
        if len(self._in_flight) or self._batcher.due_at(now, limit) is None:
            return
        formed = self._batcher.form(now, limit)
        for item in formed.expired:
            self._gate.leave(1)
            self._answer(item, 0.0, 0)
        if not formed.batch:
            return
        self._in_flight.handed(now, len(formed.batch))
        busy_s, waited_s = self._profile.seconds(len(formed.batch)) * self.times, now - self._freed_at
        self._time.at(now + busy_s, partial(self._finish, formed.batch, busy_s, waited_s, now))

    def _finish(self, batch: list[_Item], busy_s: float, waited_s: float, began: float) -> None:
        now = self._time.now
        self._freed_at = now
        self._curve.learn(len(batch), self._in_flight.ended(now, busy_s, waited_s))
        self._gate.leave(len(batch))
        # as the live host does: the load that the answers carry counts the batch that has begun
        self._pump()
        for item in batch:
            self._answer(item, began - item.joined_at, len(batch))

    def _answer(self, item: _Item, queue_s: float, size: int) -> None:
        coordinator = item.call.coordinator
        back = partial(coordinator.answered, item.call, item.index, item.sent_at, self._load(), queue_s, size)
        self._time.at(self._time.now + HOP_S, back)


class Coordinator:
    """Sends requests to `minions`, knowing only what its own requests were answered."""

    def __init__(
        self, time: VirtualTime, minions: Sequence[Minion], counts: Counts, seed: int, deadline_s: float
    ) -> None:
        rng = random.Random(seed).random
        self.group = Group([Replica(f"minion-{n}:7000") for n in range(len(minions))], Ejection(rng))
        for replica in self.group.replicas:
            replica.opened(-100.0)
        self._router = Router(rng)
        self._tries = SecondTries()
        self._time = time
        self._minions = minions
        self._counts = counts
        self._deadline_s = deadline_s

    def call(self) -> None:
        """One request arrives now."""
        call = _Call(self, self._time.now)
        if call.arrived_at >= self._counts.begin:
            self._counts.requests += 1
        self._tries.budget.sent(1)
        self._send(call, self._router.choose(self.group, self._time.now))

    def answered(
        self, call: _Call, index: int, sent_at: float, load: dict[str, float], queue_s: float, size: int
    ) -> None:
        """An answer arrives; size 0: the item was dropped because it was late."""
        now, replica = self._time.now, self.group.replicas[index]
        if size:
            service_ms = (now - sent_at - queue_s) * 1000
            self.group.ejection.answered(self.group.replicas, replica, now, sent_at, service_ms, size)
            replica.answered(now, load, service_ms / size, service_ms)
        else:
            replica.answered(now, load)
        if call.ended:
            return
        call.ended = True
        if call.arrived_at >= self._counts.begin:
            took_s = now - call.arrived_at
            if not size or took_s > self._deadline_s:
                self._counts.late += 1
            else:
                self._counts.seconds.append(took_s)

    def refused(
        self, call: _Call, index: int, sent_at: float, load: dict[str, float], retry_after_s: float
    ) -> None:
        """A refusal arrives: another replica may have room."""
        now, replica = self._time.now, self.group.replicas[index]
        replica.refused(now, load, retry_after_s * 1000)
        if call.ended:
            return
        if call.tries == 1 and now < call.arrived_at + self._deadline_s:
            another = self._router.choose_another(self.group, now, replica)
            if another != NONE and self._tries.take(now):
                self._send(call, another)
                return
        call.ended = True
        if call.arrived_at >= self._counts.begin:
            self._counts.refused += 1

    def _late(self, call: _Call, index: int, sent_at: float) -> None:
        now, replica = self._time.now, self.group.replicas[index]
        if call.ended or call.tries > 1:
            return
        self.group.ejection.silent(self.group.replicas, replica, now, sent_at)
        another = self._router.choose_another(self.group, now, replica)
        if another != NONE and self._tries.take(now):
            self._send(call, another)

    def _send(self, call: _Call, index: int) -> None:
        now, replica = self._time.now, self.group.replicas[index]
        deadline = call.arrived_at + self._deadline_s
        due = now + replica.patience_s(now, self.group.expected_ms)
        replica.sent(now)
        call.tries += 1
        if call.arrived_at >= self._counts.begin:
            self._counts.attempts += 1
            self._counts.sent_to[index] = self._counts.sent_to.get(index, 0) + 1
        self._time.at(now + HOP_S, partial(self._minions[index].receive, call, index, now, deadline - HOP_S))
        if due < deadline:
            self._time.at(due, partial(self._late, call, index, now))


class RoutedMinions:
    """Minions behind one or several coordinators. `run` once."""

    def __init__(
        self,
        profile: Profile,
        times: Sequence[float],
        *,
        coordinators: int = 1,
        deadline_s: float | None = None,
    ) -> None:
        self.time = VirtualTime()
        self.counts = Counts()
        self.minions = [Minion(self.time, profile, each) for each in times]
        self.coordinators = [
            Coordinator(self.time, self.minions, self.counts, 100 + n, deadline_s or profile.slo_s)
            for n in range(coordinators)
        ]

    def run(self, arrivals: Iterable[float], begin: float = 0.0) -> Counts:
        """Requests at these times, dealt to the coordinators at random; those after `begin` are counted."""
        self.counts.begin = begin
        chance, coming = random.Random(5), iter(arrivals)

        def wait_for_next() -> None:
            at = next(coming, None)
            if at is not None:
                self.time.at(at, arrive)

        def arrive() -> None:
            wait_for_next()
            chance.choice(self.coordinators).call()

        wait_for_next()
        self.time.run()
        return self.counts
