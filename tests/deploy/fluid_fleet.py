"""A fluid model of the replicas of one version under the autoscaler: load and capacity are rates, nothing is random.

Each replica accepts up to `capacity_per_s` and refuses the rest. A replica that is started is ready `boot_s` later; one
that is not wanted any more is gone at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise

from deploy.autoscaler import Autoscaler, Limits, Sample

STEP_S = 0.5


@dataclass
class FluidFleet:
    """`offered_per_s(t)` falls on it, from `t` on."""

    offered_per_s: Callable[[float], float]
    limits: Limits
    boot_s: float = 60.0
    period_s: float = 15.0
    cooldown_s: float = 300.0
    capacity_per_s: float = 10.0
    ready: int = 1
    now: float = 0.0
    booting: list[float] = field(default_factory=list)
    """When each of them will be ready."""
    wanted: list[tuple[float, int, str]] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    offered: list[tuple[float, float, float]] = field(default_factory=list)
    """(time, offered, refused) of each step."""

    def run(self, seconds: float) -> None:
        scaler = Autoscaler(self.limits, self.cooldown_s)
        accepted = refused = 0.0
        until, next_at = self.now + seconds, self.now + self.period_s
        while self.now < until:
            offer = self.offered_per_s(self.now) * STEP_S
            takes = min(offer, self.ready * self.capacity_per_s * STEP_S)
            accepted += takes
            refused += offer - takes
            self.offered.append((self.now, offer, offer - takes))
            self.now += STEP_S
            self.ready += sum(at <= self.now for at in self.booting)
            self.booting = [at for at in self.booting if at > self.now]
            if self.now >= next_at:
                busy = min(1.0, self.offered_per_s(self.now) / (self.ready * self.capacity_per_s))
                sample = Sample(self.now, accepted, refused, busy, self.ready, len(self.booting))
                self.samples.append(sample)
                decision = scaler.decide(self.now, sample, self.boot_s)
                self.wanted.append((self.now, decision.wanted, decision.why))
                self._follow(decision.wanted)
                accepted = refused = 0.0
                next_at += self.period_s

    def _follow(self, wanted: int) -> None:
        while self.ready + len(self.booting) < wanted:
            self.booting.append(self.now + self.boot_s)
        while self.ready + len(self.booting) > wanted:
            if self.booting:
                self.booting.pop()
            else:
                self.ready -= 1

    def refused_share(self, since: float, until: float) -> float:
        """Of what was offered between two times."""
        within = [(offered, refused) for at, offered, refused in self.offered if since <= at < until]
        return sum(refused for _, refused in within) / sum(offered for offered, _ in within)

    def turns(self, since: float = 0.0, until: float = float("inf")) -> list[float]:
        """When the wanted number changed its direction."""
        moves = [
            (at, number - before)
            for (_, before, _), (at, number, _) in pairwise(self.wanted)
            if number != before and since <= at < until
        ]
        return [at for (_, before), (at, move) in pairwise(moves) if move * before < 0]
