"""Fleet: the machines of one model, or of the preprocessor tier: started, drained and replaced as the live autoscaler says.

What it costs is counted from a machine's start to its end: one that boots or drains is paid for as well.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from deploy.autoscaler import Autoscaler, Limits, Sample
from loadtest.simulator.agenda import Action, Agenda
from loadtest.simulator.machine import Machine, Seen

Build = Callable[[int, Seen], Machine]
Routed = Callable[[tuple[Machine, ...]], None]


@dataclass(frozen=True, slots=True)
class Change:
    """A number of machines that was wanted from `at` on, and why."""

    at: float
    wanted: int
    why: str


class Fleet:
    """`build` makes a machine, `routed` is told which ones may be sent to. Begins with `limits.min` that are ready."""

    def __init__(
        self,
        agenda: Agenda,
        name: str,
        limits: Limits,
        boot_s: float,
        cooldown_s: float,
        build: Build,
        routed: Routed,
        gone: Callable[[Machine], None],
    ) -> None:
        self.name = name
        self.limits = limits
        self.machines: list[Machine] = []
        """Those that are starting, ready or draining, in the order of their start, and those that died unnoticed."""
        self.wanted = limits.min
        self.changes: list[Change] = []
        """Every change of the wanted number."""
        self.samples: list[Sample] = []
        """What the autoscaler was told, one per control period."""
        self._agenda = agenda
        self._boot_s = boot_s
        self._build = build
        self._routed = routed
        self._gone = gone
        self._autoscaler = Autoscaler(limits, cooldown_s)
        self._seen = Seen()
        self._count = 0
        self._paid_s = 0.0

    def begin(self) -> None:
        """The first machines are there already."""
        for _ in range(self.limits.min):
            self._add().state = "ready"
        self._route()

    def count(self, *states: str) -> int:
        """How many machines are in one of these states."""
        return sum(each.state in states for each in self.machines)

    def machine_seconds(self) -> float:
        """Paid until now, over all machines there ever were."""
        now = self._agenda.day_s
        return self._paid_s + sum(min(now, each.ended_at) - each.began_at for each in self.machines)

    # -- what the autoscaler says --------------------------------------------------------------------------------------

    def scale(self) -> None:
        """A control period is over."""
        now, seen = self._agenda.day_s, self._seen
        self._bury()
        ready = self._believed()
        busy = sum(each.busy_ratio() for each in ready) / len(ready) if ready else 0.0
        sample = Sample(now, seen.accepted, seen.refused, busy, len(ready), self.count("starting"))
        seen.accepted = seen.refused = 0
        self.samples.append(sample)
        decision = self._autoscaler.decide(now, sample, self._boot_s)
        if decision.wanted != self.wanted:
            self.wanted = decision.wanted
            self.changes.append(Change(now, decision.wanted, decision.why))
        self._reconcile()

    def _reconcile(self) -> None:
        """Start what is missing; let go what is too much, what is not ready first, then the newest."""
        alive = [each for each in self.machines if each.state in ("starting", "ready")]
        believed = self.count("starting") + len(self._believed())
        for _ in range(self.wanted - believed):
            machine = self._add()
            self._after(self._boot_s, self._booted, machine)
        surplus = believed - self.wanted
        if surplus <= 0:
            return
        alive.sort(key=lambda each: (each.state == "ready", -each.number))
        for machine in alive[:surplus]:
            if machine.state == "starting":
                machine.state = "gone"
                machine.ended_at = self._agenda.day_s
            else:
                machine.state = "draining"
        # first the routing, then the drain: nobody is sent to a machine that refuses
        self._route()
        for machine in alive[:surplus]:
            if machine.state == "draining":
                machine.drain()

    def _booted(self, machine: Machine) -> None:
        if machine.state == "starting":
            machine.state = "ready"
            self._route()

    # -- loss ----------------------------------------------------------------------------------------------------------

    def lose(self, share: float, noticed_s: float, is_silent: bool, chance: random.Random) -> list[Machine]:
        """`share` of the machines that are ready die now, at least one; others are started when it is noticed.

        Where they are not silent, their connections break at once. Returns who died.
        """
        ready = [each for each in self.machines if each.state == "ready"]
        count = min(len(ready), max(1, round(share * len(ready))))
        dying = sorted(chance.sample(ready, count), key=lambda each: each.number)
        for machine in dying:
            for attempt in machine.die(is_silent):
                attempt.coordinator.lost(attempt)
        if dying:
            self._after(noticed_s, self._notice, dying)
        return dying

    def _notice(self, dead: list[Machine]) -> None:
        """They are taken out of the routing, and replaced."""
        for machine in dead:
            machine.is_noticed = True
        self._bury()
        self._route()
        for machine in dead:
            for attempt in machine.forget():
                attempt.coordinator.lost(attempt)
            # what is still sent to one that nobody knows any more learns it at once
            machine.is_silent = False
        self._reconcile()

    # -- small parts ---------------------------------------------------------------------------------------------------

    def _after(self, day_s: float, action: Action, *args: object) -> None:
        agenda = self._agenda
        agenda.at(agenda.now + day_s / agenda.lapse, action, *args)

    def _add(self) -> Machine:
        self._count += 1
        machine = self._build(self._count, self._seen)
        self.machines.append(machine)
        return machine

    def _bury(self) -> None:
        """What has ended is counted and forgotten."""
        for machine in [each for each in self.machines if each.state == "gone" or each.is_noticed]:
            self._paid_s += machine.ended_at - machine.began_at
            self.machines.remove(machine)
            self._gone(machine)

    def _route(self) -> None:
        self._routed(tuple(self._believed()))

    def _believed(self) -> list[Machine]:
        """Those that are ready as far as anyone knows: one that died counts until that is noticed."""
        return [
            each
            for each in self.machines
            if each.state == "ready" or (each.state == "dead" and not each.is_noticed)
        ]
