"""Result: what a simulated run came to, as figures and as one document.

Latencies and rates are of the seconds in which calls were served; hours, prices and the timeline are of the day.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from deploy.autoscaler import Limits
from loadtest.figures import Figures
from loadtest.simulator.fleet import Change
from loadtest.simulator.ledger import Ledger, Moment


@dataclass(frozen=True, slots=True)
class Cost:
    """What the machines of one fleet cost; no kind: nothing is paid for them."""

    fleet: str
    kind: str | None
    hours: float
    price: float


@dataclass(frozen=True, slots=True)
class FleetResult:
    """One fleet: within which limits it was scaled, how, and the batches it ran."""

    name: str
    limits: Limits
    changes: tuple[Change, ...]
    batches: int
    items: int


@dataclass(frozen=True, slots=True)
class Result:
    """One run."""

    summary: str
    seed: int
    seconds: float
    warm_up_s: float
    time_lapse: float
    ledger: Ledger
    fleets: list[FleetResult]
    costs: list[Cost]
    attempts: int
    second_tries: dict[str, int]
    events: int
    took_s: float
    """CPU seconds of the simulation."""

    @property
    def figures(self) -> Figures:
        """Of the interactive calls that are counted."""
        return self.ledger.outcomes["interactive"].figures(self.counted_s)

    @property
    def counted_s(self) -> float:
        """Seconds in which the counted calls were served."""
        return (self.seconds - self.warm_up_s) / self.time_lapse

    def latency_ms(self, percent: float) -> float | None:
        """A percentile over answers and calls that waited for one until their deadline."""
        seconds = self.figures.percentiles_s[percent]
        return None if seconds is None else seconds * 1000

    @property
    def offered_per_s(self) -> float:
        """Interactive calls a second."""
        return self.figures.offered_per_s

    @property
    def goodput_per_s(self) -> float:
        """Whole answers within the SLO, a second."""
        return self.figures.goodput_per_s

    def share(self, *kinds: str) -> float:
        """Of the counted calls those that ended so; 0 where there were none."""
        return self.figures.share(*kinds) or 0.0  # type: ignore[arg-type]

    @property
    def hours(self) -> float:
        """Machine-hours of all machines that are paid for."""
        return sum(cost.hours for cost in self.costs if cost.kind is not None)

    @property
    def price(self) -> float:
        """Of all machines."""
        return sum(cost.price for cost in self.costs)

    def machines(self, fleet: str) -> tuple[int, float, int]:
        """Fewest, mean and most machines of a fleet that were ready, over the timeline's counted part."""
        ready = [
            moment.ready[fleet]
            for moment in self.ledger.moments
            if moment.begin * self.time_lapse >= self.warm_up_s
        ] or [self.ledger.moments[-1].ready[fleet]]
        return min(ready), sum(ready) / len(ready), max(ready)

    # -- JSON ----------------------------------------------------------------------------------------------------------

    def document(self) -> dict[str, Any]:
        """All of it as plain data: milliseconds, shares, calls a second."""
        figures, bulk = self.figures, self.ledger.outcomes["bulk"]
        return {
            "summary": self.summary,
            "seed": self.seed,
            "seconds": self.seconds,
            "warm_up_s": self.warm_up_s,
            "time_lapse": self.time_lapse,
            "slo_ms": _ms(self.ledger.slo_s),
            "calls": {
                "simulated": figures.offered,
                "offered_per_s": round(self.offered_per_s, 3),
                "goodput_per_s": round(self.goodput_per_s, 3),
                "good_share": _share(figures.good_share),
                "counts": dict(figures.counts),
                "codes": dict(figures.codes),
                "refused_share": _share(self.share("refused")),
                "partial_share": _share(self.share("partial")),
                "failed_share": _share(self.share("failed")),
            },
            "bulk": {
                "simulated": bulk.offered,
                "answered_per_s": round(bulk.counts["ok"] / self.counted_s, 3),
                "counts": dict(bulk.counts),
            },
            "latency_ms": {
                **{
                    f"p{percent:g}": _ms(self.latency_ms(percent), 1 / 1000)
                    for percent in figures.percentiles_s
                },
                "mean": _ms(figures.mean_s, 1),
                "max": _ms(figures.max_s, 1),
            },
            "attempts": self.attempts,
            "second_tries": dict(self.second_tries),
            "fleets": {each.name: self._fleet(each) for each in self.fleets},
            "cost": {
                "machine_hours": round(self.hours, 3),
                "price": round(self.price, 2),
                "of": {
                    cost.fleet: {
                        "kind": cost.kind,
                        "machine_hours": round(cost.hours, 3),
                        "price": round(cost.price, 2),
                    }
                    for cost in self.costs
                },
            },
            "timeline": [self._moment(moment) for moment in self.ledger.moments],
        }

    def _fleet(self, fleet: FleetResult) -> dict[str, Any]:
        fewest, mean, most = self.machines(fleet.name)
        return {
            "min": fleet.limits.min,
            "max": fleet.limits.max,
            "ready": {"fewest": fewest, "mean": round(mean, 2), "most": most},
            "changes": [
                {"at_s": change.at, "wanted": change.wanted, "why": change.why} for change in fleet.changes
            ],
            "mean_batch": round(fleet.items / fleet.batches, 2) if fleet.batches else None,
        }

    def _moment(self, moment: Moment) -> dict[str, Any]:
        step_s = self.ledger.seconds / len(self.ledger.moments)
        kinds = moment.kinds
        return {
            "at_s": round(moment.begin * self.time_lapse, 3),
            "offered_per_s": round(moment.offered / step_s, 3),
            "goodput_per_s": round(moment.good / step_s, 3),
            "refused_per_s": round(kinds.get("refused", 0) / step_s, 3),
            "partial_per_s": round(kinds.get("partial", 0) / step_s, 3),
            "failed_per_s": round(kinds.get("failed", 0) / step_s, 3),
            "p50_ms": _ms(moment.latencies.percentile_s(50.0), 1),
            "p99_ms": _ms(moment.latencies.percentile_s(99.0), 1),
            "ready": dict(moment.ready),
            "starting": dict(moment.starting),
            "wanted": dict(moment.wanted),
        }


def _ms(seconds: float | None, times: float = 1.0) -> float | None:
    return None if seconds is None else round(seconds * 1000 * times, 3)


def _share(share: float | None) -> float | None:
    return None if share is None else round(share, 6)
