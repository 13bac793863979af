"""MetricWindow: what happened between two looks at a process's `/metrics`. Pure: texts and times in, figures out.

Reads the text format as our own tiers write it, with the standard library alone, so that the verbs that show it are quick.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

Labels = tuple[tuple[str, str], ...]

_SAMPLE: Final = re.compile(r"^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)", re.MULTILINE)
_LABEL: Final = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_ESCAPED: Final = {"\\\\": "\\", '\\"': '"', "\\n": "\n"}


@dataclass(frozen=True, slots=True)
class Scrape:
    """One look: when it was (monotonic seconds) and every sample by name and labels."""

    at_s: float
    samples: Mapping[str, Mapping[Labels, float]]

    @classmethod
    def parse(cls, at_s: float, text: str) -> Scrape:
        """Prometheus's text format. Lines that are no samples are passed over; a value that is no number is ValueError."""
        samples: dict[str, dict[Labels, float]] = {}
        for name, labels, value in _SAMPLE.findall(text):
            samples.setdefault(name, {})[_labels(labels)] = float(value)
        return cls(at_s, samples)

    def matching(self, name: str, wanted: Mapping[str, str]) -> Iterator[tuple[Labels, float]]:
        """The samples of `name` that have all the labels wanted."""
        for labels, value in self.samples.get(name, {}).items():
            if wanted.items() <= dict(labels).items():
                yield labels, value


@dataclass(frozen=True, slots=True)
class MetricWindow:
    """One or several processes between two looks at each. One that was looked at once has gauges and no rates.

    Names are without the prefix `crema_`; labels narrow a figure down, and what they leave is added up.
    """

    pairs: tuple[tuple[Scrape | None, Scrape], ...]

    @property
    def seconds(self) -> float:
        """The time between the two looks; of several processes the mean. 0 when none was looked at twice."""
        times = [after.at_s - before.at_s for before, after in self.pairs if before is not None]
        return sum(times) / len(times) if times else 0.0

    def increase(self, name: str, **labels: str) -> float | None:
        """By how much a counter grew; None when no process was looked at twice."""
        if self.seconds <= 0:
            return None
        return math.fsum(
            grown
            for before, after in self.pairs
            if before is not None
            for _, grown in _grown(before, after, f"crema_{name}", labels)
        )

    def rate(self, name: str, **labels: str) -> float | None:
        """The increase per second."""
        increase = self.increase(name, **labels)
        return None if increase is None else increase / self.seconds

    def mean(self, name: str, **labels: str) -> float | None:
        """The mean of what a histogram observed in the window; None when that was nothing."""
        count, total = self.increase(f"{name}_count", **labels), self.increase(f"{name}_sum", **labels)
        return total / count if count and total is not None else None

    def quantile(self, share: float, name: str, **labels: str) -> float | None:
        """The `share` quantile of what a histogram observed in the window, by linear interpolation inside its bucket, as
        Prometheus does; None when that was nothing. What lies past the last bound is said to lie on it."""
        buckets: dict[float, float] = {}
        for before, after in self.pairs:
            if before is not None:
                for found, grown in _grown(before, after, f"crema_{name}_bucket", labels):
                    bound = float(dict(found)["le"])
                    buckets[bound] = buckets.get(bound, 0.0) + grown
        return _quantile(share, sorted(buckets.items()))

    def gauge(self, name: str, **labels: str) -> float | None:
        """A gauge at the second look, added up over the processes; None when none has it."""
        found = [value for _, after in self.pairs for _, value in after.matching(f"crema_{name}", labels)]
        return math.fsum(found) if found else None

    def total(self, name: str, **labels: str) -> float:
        """A counter at the second look: since the processes started."""
        return math.fsum(
            value for _, after in self.pairs for _, value in after.matching(f"crema_{name}", labels)
        )


def joined(windows: Iterable[MetricWindow]) -> MetricWindow:
    """All their processes as one."""
    return MetricWindow(tuple(pair for window in windows for pair in window.pairs))


def _grown(
    before: Scrape, after: Scrape, name: str, labels: Mapping[str, str]
) -> Iterator[tuple[Labels, float]]:
    earlier = before.samples.get(name, {})
    for found, value in after.matching(name, labels):
        then = earlier.get(found, 0.0)
        # a counter that fell began anew: what it shows came since
        yield found, value - then if value >= then else value


def _quantile(share: float, buckets: list[tuple[float, float]]) -> float | None:
    """`buckets`: (upper bound, how many at or below it), sorted."""
    count = buckets[-1][1] if buckets else 0.0
    if count <= 0:
        return None
    rank, lower, below = share * count, 0.0, 0.0
    for bound, at_most in buckets:
        if at_most >= rank and at_most > below:
            if math.isinf(bound):
                return lower
            return lower + (bound - lower) * (rank - below) / (at_most - below)
        lower, below = bound, at_most
    return lower


def _labels(text: str) -> Labels:
    return tuple(
        (name, re.sub(r"\\.", lambda found: _ESCAPED.get(found[0], found[0]), value))
        for name, value in _LABEL.findall(text)
    )
