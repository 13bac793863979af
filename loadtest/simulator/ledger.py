"""Ledger: what became of every call, over all and by time. It takes calls as they end, in constant memory per bucket."""

from __future__ import annotations

from dataclasses import dataclass, field

from crema.names import LANES, Lane
from loadtest.figures import Kind, Latencies, Outcomes
from loadtest.simulator.attempt import Call


@dataclass(slots=True)
class Moment:
    """One stretch of the timeline: calls by when they were due, machines as they were at its end."""

    begin: float
    offered: int = 0
    kinds: dict[Kind, int] = field(default_factory=dict)
    good: int = 0
    latencies: Latencies = field(default_factory=Latencies)
    ready: dict[str, int] = field(default_factory=dict)
    starting: dict[str, int] = field(default_factory=dict)
    wanted: dict[str, int] = field(default_factory=dict)


class Ledger:
    """Calls that are due from `begin` on are counted, all within `seconds`; `outside_s` is added to what each took. The
    timeline has `steps`."""

    def __init__(self, slo_s: float, *, begin: float, seconds: float, steps: int, outside_s: float) -> None:
        self.slo_s = slo_s
        self.seconds = seconds
        self.outcomes: dict[Lane, Outcomes] = {lane: Outcomes(slo_s) for lane in LANES}
        self.moments = [Moment(index * seconds / steps) for index in range(steps)]
        self.offered = 0
        """All calls that there were, those before `begin` too."""
        self.ended = 0
        """All calls that have ended."""
        self.response_s = 0.0
        """The sum of what all calls took inside the cluster."""
        self._begin = begin
        self._step_s = seconds / steps
        self._outside_s = outside_s

    def due(self, now: float) -> None:
        """A call arrives."""
        self.offered += 1
        self._at(now).offered += 1

    def end(self, now: float, call: Call, kind: Kind, code: str) -> None:
        """A call is over."""
        inside_s = now - call.due_at
        seconds = inside_s + self._outside_s
        self.ended += 1
        self.response_s += inside_s
        moment = self._at(call.due_at)
        moment.kinds[kind] = moment.kinds.get(kind, 0) + 1
        if kind == "ok" or kind == "partial":
            moment.latencies.add(seconds)
            if kind == "ok" and seconds <= self.slo_s:
                moment.good += 1
        if call.due_at >= self._begin:
            self.outcomes[call.lane].add(kind, seconds, code)

    def note(self, index: int, fleet: str, ready: int, starting: int, wanted: int) -> None:
        """The machines of a fleet at the end of a stretch of the timeline."""
        moment = self.moments[index]
        moment.ready[fleet], moment.starting[fleet], moment.wanted[fleet] = ready, starting, wanted

    def _at(self, when: float) -> Moment:
        moments = self.moments
        return moments[min(int(when / self._step_s), len(moments) - 1)]
