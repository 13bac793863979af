"""A coordinator in the simulation: the live Gate, Router, Ejection, SecondTries and Wheel, and a fan-out that follows
`coordinator.fanout` step by step, without bodies. It knows of its machines only what its own requests were answered.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from coordinator.ejection import Ejection
from coordinator.gate import Gate
from coordinator.merge import DEFAULT_RETRY_AFTER_MS, STATUS_ORDER
from coordinator.replica import SLOW_START_S, Replica
from coordinator.router import NONE, Group, Router
from coordinator.second_try import SecondTries, can_be_tried_elsewhere, more_telling
from coordinator.wheel import TICK_S, Wheel
from crema.errors import CremaError
from crema.names import LANES, Lane
from loadtest.figures import Kind
from loadtest.simulator.agenda import Agenda
from loadtest.simulator.attempt import PREPROCESS, Attempt, Call, Peers, Photo
from loadtest.simulator.cores import Thread
from loadtest.simulator.machine import Machine

_FULL: Final = CremaError("overloaded", "the coordinator is full")
_NOBODY: Final = CremaError("not_ready", "nobody is ready", retry_after_ms=DEFAULT_RETRY_AFTER_MS)
_LOST: Final = CremaError("not_ready", "the connection was lost", retry_after_ms=DEFAULT_RETRY_AFTER_MS)
_LATE: Final = CremaError("deadline_exceeded", "the deadline passed")

Ended = Callable[[Call, Kind, str], None]


@dataclass(frozen=True, slots=True)
class Front:
    """What coordinators are like: calls in flight at most, CPU seconds per call on their one thread, seconds that a call
    and its answer spend outside (client, body, merge), and whether every model has to answer."""

    places: int
    cpu_s: float
    outside_s: float
    needs_all: bool


class Coordinator:
    """One process. `ended` is told once of every call that `arrive` was given. Where it shares its cores, `thread` is its
    own, and each message costs what that says."""

    def __init__(
        self,
        agenda: Agenda,
        front: Front,
        expected_ms: Sequence[float],
        chance: random.Random,
        ended: Ended,
        thread: Thread | None = None,
    ) -> None:
        """`expected_ms` stands for an unknown answer's time: per model, and last of the preprocessors."""
        self.thread = thread
        self.tries = SecondTries()
        self.attempts = 0
        """Requests that were sent to machines."""
        self._agenda = agenda
        self._front = front
        self._ended = ended
        self._models = len(expected_ms) - 1
        self._expected_ms = expected_ms
        self._router = Router(chance.random)
        self._ejections = [Ejection(chance.random) for _ in expected_ms]
        self._peers = [self._seen(index, ()) for index in range(len(expected_ms))]
        self._replicas: dict[Machine, Replica] = {}
        self._gate = Gate(front.places)
        self._free_at = 0.0
        self._wheel = Wheel()
        self._is_turning = False
        self._open: dict[Lane, deque[Call]] = {lane: deque() for lane in LANES}

    # -- what is where -------------------------------------------------------------------------------------------------

    def route(self, index: int, machines: Sequence[Machine]) -> None:
        """From now on these are the machines of a model (or `PREPROCESS`); those that left finish what they have."""
        self._peers[index] = self._seen(index, machines)

    def forget(self, machine: Machine) -> None:
        """It is gone for good."""
        self._replicas.pop(machine, None)

    def disconnected(self, machine: Machine) -> None:
        """Its connection broke."""
        if machine in self._replicas:
            self._replicas[machine].closed()

    def _seen(self, index: int, machines: Sequence[Machine]) -> Peers:
        replicas = []
        for machine in machines:
            replica = self._replicas.get(machine)
            if replica is None:
                replica = self._replicas[machine] = Replica(str(machine.number))
                replica.opened(self._opened_at())
            replicas.append(replica)
        return Peers(Group(replicas, self._ejections[index], self._expected_ms[index]), tuple(machines))

    def _opened_at(self) -> float:
        """So that a slow start takes its seconds of the day; what is there from the start has been there for long."""
        now = self._agenda.now
        return now - SLOW_START_S * (1 - 1 / self._agenda.lapse) if now > 0 else -SLOW_START_S

    # -- calls ---------------------------------------------------------------------------------------------------------

    def arrive(self, lane: Lane, photo: Photo, deadline_s: float, due_at: float) -> None:
        """A call that was due at `due_at` is here."""
        now = self._agenda.now
        call = Call(due_at, now, now + deadline_s, lane, photo, self._models)
        if self._gate.is_full():
            call.is_over = True
            self._ended(call, "refused", _FULL.code)
            return
        self._gate.enter()
        open_calls = self._open[lane]
        open_calls.append(call)
        if len(open_calls) == 1:
            self._agenda.at(call.deadline, self._expire, lane)
        if self.thread is None and self._front.cpu_s:
            self._free_at = max(now, self._free_at) + self._front.cpu_s
            self._agenda.at(self._free_at, self._start, call)
        else:
            self._start(call)

    def _start(self, call: Call) -> None:
        if call.is_over:
            return
        for peers in self._peers[:-1]:
            if peers.group.is_open:
                break
        else:
            call.failed = [_NOBODY] * self._models
            self._end(call)
            return
        self._try(call, PREPROCESS)

    def _try(self, call: Call, index: int, besides: Attempt | None = None) -> bool:
        """Send a hop's request; a second one (`besides` the first) only where there is another machine and a budget."""
        now, peers = self._agenda.now, self._peers[index]
        group = peers.group
        if besides is None:
            chosen = self._router.choose(group, now)
            if chosen == NONE:
                self._gone(call, index, _NOBODY)
                return False
            self.tries.budget.sent(1)
        else:
            chosen = self._router.choose_another(group, now, besides.replica)
            if chosen == NONE or not self.tries.take(now):
                return False
        attempt = Attempt(self, call, index, peers, chosen, now, besides is not None)
        replica, machine = attempt.replica, attempt.machine
        if group.is_many:
            due = now + replica.patience_s(now, group.expected_ms)
            if due < call.deadline:
                self._remind(due, attempt)
        replica.sent(now)
        self.attempts += 1
        call.attempts.append(attempt)
        self._agenda.at(now + machine.hop_s, machine.arrive, attempt)
        return True

    # -- answers -------------------------------------------------------------------------------------------------------

    def prepared(self, attempt: Attempt, load: dict[str, float]) -> None:
        """A photo's pixels have come."""
        if attempt.is_over:
            return
        attempt.is_over = True
        now, group, replica, call = self._agenda.now, attempt.group, attempt.replica, attempt.call
        service_ms = (now - attempt.sent_at - (attempt.started_at - attempt.queued_at)) * 1000
        if group.is_many:
            size = call.photo.nbytes
            group.ejection.answered(group.replicas, replica, now, attempt.sent_at, service_ms, size)
        replica.answered(now, load, None, service_ms)
        self._won(attempt)
        call.is_prepared = True
        call.attempts.clear()
        for index in range(self._models):
            self._try(call, index)

    def inferred(
        self, attempts: Sequence[Attempt], load: dict[str, float], began: float, cost_s: float, size: int
    ) -> None:
        """The outcomes of one batch of `size` that began at `began` and took `cost_s`."""
        now, item_ms = self._agenda.now, cost_s * 1000 / size
        for attempt in attempts:
            if attempt.is_over:
                continue
            attempt.is_over = True
            group, replica, call = attempt.group, attempt.replica, attempt.call
            service_ms = (now - attempt.sent_at - max(0.0, began - attempt.queued_at)) * 1000
            if group.is_many:
                group.ejection.answered(group.replicas, replica, now, attempt.sent_at, service_ms, size)
            replica.answered(now, load, item_ms, service_ms)
            self._won(attempt)
            call.missing -= 1
            if not call.missing:
                self._end(call)

    def refused(self, attempt: Attempt, load: dict[str, float], code: str, after_ms: float) -> None:
        """A gate said no."""
        if attempt.is_over:
            return
        attempt.is_over = True
        error = CremaError(code, "", retry_after_ms=after_ms)
        attempt.replica.refused(self._agenda.now, load, error.retry_after_ms)
        self._try_again(attempt, error)

    def expired(self, attempt: Attempt, load: dict[str, float]) -> None:
        """A photo waited too long for a decoder; nobody tries that again."""
        if not attempt.is_over:
            attempt.is_over = True
            attempt.replica.answered(self._agenda.now, load)
            self._gone(attempt.call, attempt.index, _LATE)

    def lost(self, attempt: Attempt) -> None:
        """The connection broke before the answer."""
        if attempt.is_over:
            return
        attempt.is_over = True
        now, group, replica = self._agenda.now, attempt.group, attempt.replica
        replica.closed()
        group.ejection.failed(group.replicas, replica, now, attempt.sent_at)
        replica.given_up(attempt.sent_at)
        self._try_again(attempt, _LOST)

    # -- second tries --------------------------------------------------------------------------------------------------

    def _try_again(self, attempt: Attempt, error: CremaError) -> None:
        call, index = attempt.call, attempt.index
        if call.is_over:
            return
        errors = call.errors
        if errors is not None and index in errors:
            if any(each.index == index and not each.is_over for each in call.attempts):
                errors[index] = error
                return
            self.tries.ended["failed"] += 1
            self._gone(call, index, more_telling(errors[index], error))
            return
        can_help = can_be_tried_elsewhere(error) and self._agenda.now < call.deadline
        if can_help and self._try(call, index, attempt):
            self._note(call, index, error)
        else:
            self._gone(call, index, error)

    def is_late(self, attempt: Attempt, now: float) -> None:
        """No answer for longer than the machine may be silent: try another one beside it, once."""
        call, group, replica = attempt.call, attempt.group, attempt.replica
        is_silent = replica.heard_at < attempt.sent_at
        if group.ejection.silent(group.replicas, replica, now, attempt.sent_at):
            self._reset(attempt.machine)
        if attempt.is_over:
            return
        errors = call.errors
        can_help = (errors is None or attempt.index not in errors) and (
            is_silent or call.lane == "interactive"
        )
        if can_help and self._try(call, attempt.index, attempt):
            self._note(call, attempt.index, None)

    def _reset(self, machine: Machine) -> None:
        """Make its connection anew: to a machine that is there nothing happens that takes time."""
        if machine.state == "dead":
            self._replicas[machine].closed()
            waiting = machine.forget()
            machine.unanswered = [each for each in waiting if each.coordinator is not self]
            for each in waiting:
                if each.coordinator is self:
                    self.lost(each)

    def _note(self, call: Call, index: int, error: CremaError | None) -> None:
        if call.errors is None:
            call.errors = {}
        call.errors[index] = error

    def _won(self, attempt: Attempt) -> None:
        """The other try of the same hop, if it is still out, is not wanted any more."""
        call = attempt.call
        if call.errors is None or attempt.index not in call.errors:
            return
        self.tries.ended["ok" if attempt.is_second else "discarded"] += 1
        for other in call.attempts:
            if other.index == attempt.index and not other.is_over:
                self._give_up(other)

    def _give_up(self, attempt: Attempt) -> None:
        attempt.is_over = True
        attempt.replica.given_up(attempt.sent_at)
        machine = attempt.machine
        self._agenda.at(self._agenda.now + machine.hop_s, machine.cancel, attempt)

    def _remind(self, due: float, attempt: Attempt) -> None:
        self._wheel.add(due, attempt)
        if not self._is_turning:
            self._is_turning = True
            self._agenda.at(self._agenda.now + TICK_S, self._turn)

    def _turn(self) -> None:
        now = self._agenda.now
        for waiter in self._wheel.due(now):
            waiter.is_late(now)
        self._is_turning = bool(self._wheel)
        if self._is_turning:
            self._agenda.at(now + TICK_S, self._turn)

    # -- the end -------------------------------------------------------------------------------------------------------

    def _gone(self, call: Call, index: int, error: CremaError) -> None:
        """A hop has failed for good."""
        if call.is_over:
            return
        call.failed.append(error)
        if index == PREPROCESS:
            self._end(call)
            return
        call.missing -= 1
        if not call.missing:
            self._end(call)

    def _expire(self, lane: Lane) -> None:
        """The deadline of the oldest call of a lane, which all its others come after."""
        now, calls = self._agenda.now, self._open[lane]
        while calls and (calls[0].is_over or calls[0].deadline <= now):
            call = calls.popleft()
            if not call.is_over:
                call.failed += [_LATE] * call.missing
                self._end(call)
        if calls:
            self._agenda.at(calls[0].deadline, self._expire, lane)

    def _end(self, call: Call) -> None:
        call.is_over = True
        for attempt in call.attempts:
            if not attempt.is_over:
                if attempt.is_second:
                    self.tries.ended["discarded"] += 1
                self._give_up(attempt)
        call.attempts.clear()
        self._gate.leave(self._agenda.now - call.came_at)
        kind, code = verdict(call, self._models, self._front.needs_all)
        self._ended(call, kind, code)


def verdict(call: Call, models: int, needs_all: bool) -> tuple[Kind, str]:
    """What the caller is told of a call that is over, as `coordinator.merge` decides it; the code of what is no answer."""
    failed = call.failed
    if not failed:
        return "ok", ""
    if call.is_prepared and len(failed) < models and not needs_all:
        return "partial", ""
    error = min(failed, key=lambda each: STATUS_ORDER.index(each.status))
    return ("refused" if error.status == 429 else "failed"), error.code
