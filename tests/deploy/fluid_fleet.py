"""A fluid model of the replicas of one version under the autoscaler: load and capacity are rates, nothing is random.

Each replica accepts up to `capacity_per_s` and refuses the rest. One that is started is ready `boot_s` later; one that is
not wanted any more is gone at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise

from deploy.autoscaler import Autoscaler, Limits, Sample

STEP_S = 0.5
LABELS = 'tier="minion",model="tags",version="3.1"'


@dataclass
class Replica:
    """One of them, with its counters."""

    number: int
    ready_at: float
    boot_s: float
    accepted: float = 0.0
    refused: float = 0.0

    def shown(self, now: float, load: float) -> str:
        """Its `/metrics`."""
        is_ready = self.ready_at <= now
        items = f'crema_items_total{{{LABELS},lane="interactive",decision='
        return "\n".join(
            (
                f'{items}"accepted"}} {self.accepted!r}',
                f'{items}"full"}} {self.refused!r}',
                f"crema_load_ratio{{{LABELS}}} {load if is_ready else 0.0!r}",
                f"crema_ready{{{LABELS}}} {int(is_ready)}",
                f"crema_starting{{{LABELS}}} {int(not is_ready)}",
                f"crema_model_load_seconds_count{{{LABELS}}} {int(is_ready)}",
                f"crema_model_load_seconds_sum{{{LABELS}}} {self.boot_s if is_ready else 0.0}",
            )
        )


@dataclass
class FluidFleet:
    """`offered_per_s(t)` falls on it. With `scrape_s` it also keeps what its replicas show that often."""

    offered_per_s: Callable[[float], float]
    limits: Limits
    boot_s: float = 60.0
    period_s: float = 15.0
    cooldown_s: float = 300.0
    capacity_per_s: float = 10.0
    ready: int = 1
    scrape_s: float | None = None
    now: float = 0.0
    replicas: list[Replica] = field(default_factory=list)
    wanted: list[tuple[float, int, str]] = field(default_factory=list)
    """(time, number, why) of each decision."""
    offered: list[tuple[float, float, float]] = field(default_factory=list)
    """(time, offered, refused) of each step."""
    shown: list[tuple[float, dict[int, str]]] = field(default_factory=list)
    started: int = 0

    def __post_init__(self) -> None:
        for _ in range(self.ready):
            self._start(0.0)

    def run(self, seconds: float) -> None:
        scaler = Autoscaler(self.limits, self.cooldown_s)
        accepted = refused = 0.0
        until = self.now + seconds
        self._show()
        while self.now < until:
            offer = self.offered_per_s(self.now) * STEP_S
            ready = self._ready()
            takes = min(offer, len(ready) * self.capacity_per_s * STEP_S)
            for replica in ready:
                replica.accepted += takes / len(ready)
                replica.refused += (offer - takes) / len(ready)
            accepted += takes
            refused += offer - takes
            self.offered.append((self.now, offer, offer - takes))
            self.now += STEP_S
            self._show()
            if self.now % self.period_s == 0:
                count = len(self._ready())
                sample = Sample(self.now, accepted, refused, self._load(), count, len(self.replicas) - count)
                decision = scaler.decide(self.now, sample, self.boot_s)
                self.wanted.append((self.now, decision.wanted, decision.why))
                self._follow(decision.wanted)
                accepted = refused = 0.0

    def _ready(self) -> list[Replica]:
        return [each for each in self.replicas if each.ready_at <= self.now]

    def _load(self) -> float:
        return min(1.0, self.offered_per_s(self.now) / (len(self._ready()) * self.capacity_per_s))

    def _show(self) -> None:
        if self.scrape_s is not None and self.now % self.scrape_s == 0:
            load = self._load()
            self.shown.append((self.now, {each.number: each.shown(self.now, load) for each in self.replicas}))

    def _start(self, boot_s: float) -> None:
        self.replicas.append(Replica(self.started, self.now + boot_s, self.boot_s))
        self.started += 1

    def _follow(self, wanted: int) -> None:
        while len(self.replicas) < wanted:
            self._start(self.boot_s)
        # those that came last are the first to go: they may not even be ready
        del self.replicas[wanted:]

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
