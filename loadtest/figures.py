"""Figures: what calls came to, live or simulated: percentiles, goodput against an SLO, shares. Pure; seconds in and out.

`Outcomes` takes one call after another in constant memory and can be merged; `Outcomes.figures` says what they come to.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

Kind = Literal["ok", "partial", "refused", "failed", "lost"]
"""A whole answer; one that some models are missing from; a 429; any other problem; no answer at all."""
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)

GAVE_UP: Final = "gave_up"
"""The code of a call whose caller stopped waiting."""
# Whoever was told so had waited that long for nothing: left out, the slowest calls would not show in any percentile.
_WAITED_OUT: Final = frozenset({GAVE_UP, "deadline_exceeded"})

PERCENTILES: Final = (50.0, 90.0, 99.0, 99.9)

_SHORTEST_S: Final = 1e-6
# One bucket is half a percent wide, so that what is reported lies within a quarter of a percent of the truth.
_STEP: Final = math.log(1.005)


class Latencies:
    """A histogram of durations from 1 µs up: quantiles within 0.25 %, count, sum, least and most exact."""

    __slots__ = ("buckets", "count", "max_s", "min_s", "sum_s")

    def __init__(self, seconds: Iterable[float] = ()) -> None:
        self.buckets: dict[int, int] = {}
        self.count = 0
        self.sum_s = 0.0
        self.min_s = math.inf
        self.max_s = 0.0
        for each in seconds:
            self.add(each)

    def add(self, seconds: float) -> None:
        """Count one."""
        index = int(math.log(seconds / _SHORTEST_S) / _STEP) if seconds > _SHORTEST_S else 0
        self.buckets[index] = self.buckets.get(index, 0) + 1
        self.count += 1
        self.sum_s += seconds
        if seconds < self.min_s:
            self.min_s = seconds
        if seconds > self.max_s:
            self.max_s = seconds

    def merge(self, other: Latencies) -> None:
        """Count all of `other`."""
        for index, count in other.buckets.items():
            self.buckets[index] = self.buckets.get(index, 0) + count
        self.count += other.count
        self.sum_s += other.sum_s
        self.min_s = min(self.min_s, other.min_s)
        self.max_s = max(self.max_s, other.max_s)

    @property
    def mean_s(self) -> float | None:
        """None of nothing."""
        return self.sum_s / self.count if self.count else None

    def percentile_s(self, percent: float) -> float | None:
        """The duration that `percent` of all stay within (nearest rank); 100 is the longest; None of nothing."""
        if not self.count:
            return None
        # 99.9 / 100 * 1000 is a hair above 999
        rank = max(1, math.ceil(percent * self.count / 100 - 1e-9))
        if rank >= self.count:
            return self.max_s
        seen = 0
        for index in sorted(self.buckets):
            seen += self.buckets[index]
            if seen >= rank:
                middle_s = _SHORTEST_S * math.exp((index + 0.5) * _STEP)
                return min(max(middle_s, self.min_s), self.max_s)
        raise AssertionError("a bug of ours: fewer durations in the buckets than were counted")

    def document(self) -> dict[str, Any]:
        """Plain data for JSON; `Latencies.read` takes it."""
        return {
            "buckets": sorted(self.buckets.items()),
            "sum_s": self.sum_s,
            "min_s": self.min_s if self.count else None,
            "max_s": self.max_s,
        }

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Latencies:
        """What `document` gave."""
        read = cls()
        read.buckets = {int(index): int(count) for index, count in document["buckets"]}
        read.count = sum(read.buckets.values())
        read.sum_s = float(document["sum_s"])
        read.min_s = math.inf if document["min_s"] is None else float(document["min_s"])
        read.max_s = float(document["max_s"])
        return read


@dataclass(frozen=True, slots=True)
class Figures:
    """What calls came to that were due within `seconds`. Latencies count from when a call was due; shares are of what was
    offered; None: there was nothing to say it of."""

    seconds: float
    offered: int
    counts: Mapping[Kind, int]
    codes: Mapping[str, int]
    """How many calls each error code ended, the most frequent first."""
    good: int
    """Whole answers within the SLO."""
    slo_s: float
    percentiles_s: Mapping[float, float | None]
    """50, 90, 99, 99.9 → seconds, over answers and calls that waited for one until their time was over."""
    max_s: float | None
    mean_s: float | None
    refused_p99_s: float | None
    """How long one waits for a 429."""

    @property
    def offered_per_s(self) -> float:
        """Calls due, a second."""
        return self.offered / self.seconds

    @property
    def goodput_per_s(self) -> float:
        """Whole answers within the SLO, a second."""
        return self.good / self.seconds

    @property
    def good_share(self) -> float | None:
        """Whole answers within the SLO, of what was offered."""
        return self.good / self.offered if self.offered else None

    def share(self, *kinds: Kind) -> float | None:
        """Of what was offered, what ended so."""
        return sum(self.counts[kind] for kind in kinds) / self.offered if self.offered else None


class Outcomes:
    """How calls ended, against one SLO."""

    __slots__ = ("answered", "codes", "counts", "good", "refused", "slo_s")

    def __init__(self, slo_s: float) -> None:
        self.slo_s = slo_s
        self.counts: dict[Kind, int] = dict.fromkeys(KINDS, 0)
        self.codes: Counter[str] = Counter()
        self.good = 0
        self.answered = Latencies()
        """Of answers, and of calls that waited for one until their time was over."""
        self.refused = Latencies()

    def add(self, kind: Kind, seconds: float, code: str = "") -> None:
        """One call ended, `seconds` after it was due; `code` says how when it was no whole answer."""
        self.counts[kind] += 1
        if kind == "ok":
            self.answered.add(seconds)
            if seconds <= self.slo_s:
                self.good += 1
            return
        if code:
            self.codes[code] += 1
        if kind == "partial" or code in _WAITED_OUT:
            self.answered.add(seconds)
        elif kind == "refused":
            self.refused.add(seconds)

    def merge(self, other: Outcomes) -> None:
        """Take over all calls of `other`."""
        for kind in KINDS:
            self.counts[kind] += other.counts[kind]
        self.codes.update(other.codes)
        self.good += other.good
        self.answered.merge(other.answered)
        self.refused.merge(other.refused)

    @property
    def offered(self) -> int:
        """Calls that have ended."""
        return sum(self.counts.values())

    def figures(self, seconds: float) -> Figures:
        """What they come to, if they were due within `seconds`."""
        return Figures(
            seconds=seconds,
            offered=self.offered,
            counts=dict(self.counts),
            codes=dict(self.codes.most_common()),
            good=self.good,
            slo_s=self.slo_s,
            percentiles_s={percent: self.answered.percentile_s(percent) for percent in PERCENTILES},
            max_s=self.answered.max_s if self.answered.count else None,
            mean_s=self.answered.mean_s,
            refused_p99_s=self.refused.percentile_s(99.0),
        )

    def document(self) -> dict[str, Any]:
        """Plain data for JSON; `Outcomes.read` takes it."""
        return {
            "slo_s": self.slo_s,
            "counts": dict(self.counts),
            "codes": dict(self.codes),
            "good": self.good,
            "answered": self.answered.document(),
            "refused": self.refused.document(),
        }

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Outcomes:
        """What `document` gave."""
        read = cls(float(document["slo_s"]))
        read.counts.update(document["counts"])
        read.codes.update(document["codes"])
        read.good = int(document["good"])
        read.answered = Latencies.read(document["answered"])
        read.refused = Latencies.read(document["refused"])
        return read


def knee(steps: Iterable[Figures], share: float) -> Figures | None:
    """The highest load that holds the SLO: `share` of what was offered answered whole and in time, there and at every
    lower load. None when not even the lowest does."""
    holding = None
    for step in sorted(steps, key=lambda step: step.offered_per_s):
        if step.good_share is None or step.good_share < share:
            break
        holding = step
    return holding
