"""A preprocessor in the simulation: the live gate, queue, prices and predictions in front of cores that take the time that
a photo says. Not simulated: decoders that crash, images by URL.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from loadtest.simulator.agenda import Agenda
from loadtest.simulator.attempt import Attempt
from loadtest.simulator.cores import Thread
from loadtest.simulator.machine import Machine, Seen
from preprocessor.busy_share import BusyShare
from preprocessor.cost import DecodeCost
from preprocessor.decode_budget import decode_budget_ms
from preprocessor.gate import Ahead, Gate, Overloaded
from preprocessor.queue_ahead import ahead_of, heavy_places
from preprocessor.waiting import Waiting

_NOTHING: Final = Ahead()
_DRAINING_RETRY_MS: Final = 500.0


@dataclass(frozen=True, slots=True)
class Decoders:
    """Decode processes of one preprocessor, one per core, and the places of its gate. Where cores are shared, each is
    replaced `after` photos (0: never), of which it had `served` before, and the start of another takes `start_s` of a core."""

    count: int
    places: int
    after: int = 0
    start_s: float = 0.0
    served: int = 0


class Preprocessor(Machine):
    """One replica. `scattered` gives a factor around 1 by which a decode takes longer than its photo says. Where it shares
    its cores, `thread` is the host's, and `decoder` gives one to each decode process."""

    __slots__ = (
        "_busy_share", "_cost", "_decoder", "_decoders", "_gate", "_idle", "_running", "_scattered", "_served", "_waiting",
    )  # fmt: skip

    def __init__(
        self,
        agenda: Agenda,
        number: int,
        seen: Seen,
        hop_s: float,
        decoders: Decoders,
        ms_per_unit: float,
        scattered: Callable[[], float] | None,
        thread: Thread | None = None,
        decoder: Callable[[], Thread] | None = None,
    ) -> None:
        super().__init__(agenda, number, seen, hop_s, thread)
        self._decoders = decoders
        self._cost = DecodeCost()
        self._cost.ms_per_unit = ms_per_unit
        self._gate = Gate(decoders.places, decoders.count, self._cost)
        self._waiting: Waiting[Attempt] = Waiting()
        self._running: dict[Attempt, None] = {}
        self._busy_share = BusyShare(decoders.count, agenda.day_s)
        self._scattered = scattered
        self._decoder = decoder
        self._idle = [decoder() for _ in range(decoders.count)] if decoder is not None else []
        self._served = decoders.served

    @property
    def pending(self) -> int:
        """Places taken."""
        return self._gate.pending

    def busy_ratio(self) -> float:
        """The share of the last 10 s in which its cores decoded."""
        return self._busy_share.ratio(self.agenda.day_s)

    # -- requests ------------------------------------------------------------------------------------------------------

    def receive(self, attempt: Attempt) -> None:
        """Through the gate or not: on the frame's header, then on the image's."""
        if self.state == "dead":
            self.meets_nobody(attempt)
            return
        if attempt.is_over:
            return
        now, lane, photo = self.agenda.now, attempt.lane, attempt.call.photo
        if self.state == "draining":
            self._refuse(attempt, "not_ready", _DRAINING_RETRY_MS)
            return
        left_ms = decode_budget_ms((attempt.deadline - now) * 1000)
        ahead = self._ahead(now, attempt)
        try:
            permit = self._gate.enter(now, photo.nbytes, lane, left_ms, ahead)
            try:
                self._gate.weigh(permit, photo.work, left_ms, self._ahead(now, attempt, photo.work))
            except Overloaded:
                permit.leave()
                raise
        except Overloaded as error:
            if lane == "interactive" and error.reason != "bulk":
                self.seen.refused += 1
            self._refuse(attempt, "overloaded", error.retry_after_ms or 0.0)
            return
        if lane == "interactive":
            self.seen.accepted += 1
        attempt.permit, attempt.holds = permit, True
        attempt.queued_at = now
        attempt.deadline = now + left_ms / 1000
        attempt.work = photo.work
        self._cost.came(photo.work)
        attempt.is_heavy = photo.work > self._cost.light_work
        attempt.decode_s = photo.decode_s
        self._waiting.join(attempt)
        self._dispatch(now)

    def cancel(self, attempt: Attempt) -> None:
        """Its place is free at once; a decode that has begun runs on."""
        if attempt.holds and self.state != "dead":
            attempt.holds = False
            attempt.permit.leave()
            if attempt not in self._running:
                self._waiting.leave(attempt)
            self._let_go()

    def held(self) -> list[Attempt]:
        """What waits and what is being decoded."""
        return [*self._running, *self._waiting]

    def _refuse(self, attempt: Attempt, code: str, after_ms: float) -> None:
        load = self._load(self.agenda.now, attempt)
        self.tell(attempt.coordinator, attempt.coordinator.refused, attempt, load, code, after_ms)

    def _ahead(self, now: float, attempt: Attempt, work: float = 0.0) -> Ahead:
        if not self._running and not self._waiting:
            return _NOTHING
        running = [(each.work, each.started_at, each.is_heavy) for each in self._running]
        is_heavy = work > self._cost.light_work
        return ahead_of(
            self._waiting, running, self._decoders.count, self._cost, now, attempt.lane, is_heavy=is_heavy
        )

    def _load(self, now: float, attempt: Attempt) -> dict[str, float]:
        gate = self._gate
        return {
            "pending": gate.pending,
            "places": gate.places,
            "expected_wait_ms": self._ahead(now, attempt).wait_ms,
        }

    # -- decodes -------------------------------------------------------------------------------------------------------

    def _dispatch(self, now: float) -> None:
        while self._waiting and len(self._running) < self._decoders.count:
            heavies = sum(each.is_heavy for each in self._running)
            may_be_heavy = heavies < heavy_places(self._decoders.count)
            attempt, expired = self._waiting.take(now, heavy=may_be_heavy)
            for late in expired:
                late.holds = False
                late.permit.leave()
                self.tell(late.coordinator, late.coordinator.expired, late, self._load(now, late))
            if attempt is None:
                break
            attempt.started_at = now
            self._running[attempt] = None
            seconds = attempt.decode_s
            if self._scattered is not None:
                seconds *= self._scattered()
            if self.thread is None:
                self.agenda.at(now + seconds, self._decoded, attempt)
            else:
                decoder = self._idle.pop()
                decoder.work(seconds, self.thread.do, self._done, attempt, decoder)
        self._busy_share.change(len(self._running), self.agenda.day_s)

    def _done(self, attempt: Attempt, decoder: Thread) -> None:
        self._idle.append(decoder)
        self._decoded(attempt)
        self._served += 1
        if self._decoder is not None and self._decoders.after and not self._served % self._decoders.after:
            # the successor starts while this one works on
            self._decoder().work(self._decoders.start_s, _started)

    def _decoded(self, attempt: Attempt) -> None:
        if self.state == "dead":
            return
        now = self.agenda.now
        del self._running[attempt]
        self._cost.observe(attempt.work, (now - attempt.started_at) * 1000)
        self._dispatch(now)
        if attempt.holds:
            attempt.holds = False
            attempt.permit.leave()
            self.tell(attempt.coordinator, attempt.coordinator.prepared, attempt, self._load(now, attempt))
        self._let_go()


def _started() -> None:
    """It takes the other one's place."""
