"""Phase: a stretch of a load run with one kind of arrivals and one kind of calls. Plain data; it sends nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal, get_args

from loadtest.arrivals import bursts, constant, poisson, ramp, recorded
from loadtest.trace import read_trace

Arrivals = Literal["poisson", "constant", "bursts", "ramp", "trace"]
ARRIVALS: Final[tuple[Arrivals, ...]] = get_args(Arrivals)

# What is drawn for one phase tells nothing of another.
_SEED_STEP: Final = 1_000_003


@dataclass(frozen=True, slots=True)
class Phase:
    """`seconds` of calls, of which about `rate` a second are due; `query` holds their options."""

    name: str
    seconds: float
    rate: float
    arrivals: Arrivals = "poisson"
    to_rate: float | None = None
    """Where a ramp ends."""
    factor: float = 3.4
    share: float = 0.2
    burst_s: float = 0.5
    trace: str | None = None
    """The trace's path."""
    speed: float = 1.0
    query: tuple[tuple[str, str], ...] = ()
    begins_s: float = 0.0
    """From the start of the run."""
    is_step: bool = False
    """One of several loads of the same kind, among which the knee is looked for."""
    is_counted: bool = True
    """False for a warm-up: sent, but in no figure."""

    @property
    def ends_s(self) -> float:
        """From the start of the run."""
        return self.begins_s + self.seconds

    @property
    def highest_rate(self) -> float:
        """About the most calls a second."""
        return max(self.rate, self.to_rate or 0.0) * (self.factor if self.arrivals == "bursts" else 1.0)

    def moments(self, seed: int) -> Iterator[float]:
        """When calls are due, in seconds from the phase's beginning, ascending. Raises TraceError."""
        if self.arrivals == "constant":
            return constant(self.rate, self.seconds)
        if self.arrivals == "bursts":
            return bursts(
                self.rate, self.seconds, seed, factor=self.factor, share=self.share, burst_s=self.burst_s
            )
        if self.arrivals == "ramp":
            return ramp(self.rate, self.rate if self.to_rate is None else self.to_rate, self.seconds, seed)
        if self.arrivals == "trace":
            moments = recorded(read_trace(Path(self.trace or "")), self.speed)
            return (moment for moment in moments if moment < self.seconds)
        return poisson(self.rate, self.seconds, seed)

    def document(self) -> dict[str, Any]:
        """Plain data for JSON; `Phase.read` takes it."""
        return asdict(self)

    @classmethod
    def read(cls, document: dict[str, Any]) -> Phase:
        """What `document` gave."""
        query = tuple((str(name), str(value)) for name, value in document["query"])
        return cls(**{**document, "query": query})


def in_turn(phases: list[Phase], pause_s: float = 0.0) -> list[Phase]:
    """The same phases, one after the other, with `pause_s` between two steps so that none meets what another left."""
    placed: list[Phase] = []
    for phase in phases:
        before = placed[-1] if placed else None
        pause = pause_s if before is not None and before.is_step and phase.is_step else 0.0
        placed.append(replace(phase, begins_s=before.ends_s + pause if before else 0.0))
    return placed


def schedule(phases: list[Phase], seed: int) -> Iterator[tuple[int, float]]:
    """(number of the phase, seconds from the start of the run) of every call, ascending."""
    for number, phase in enumerate(phases):
        for moment in phase.moments(seed + number * _SEED_STEP):
            yield number, phase.begins_s + moment
