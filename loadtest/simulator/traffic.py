"""Traffic: when calls are due, at a rate that may change with the time of day, and which photos they bring. Seeded."""

from __future__ import annotations

import bisect
import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from loadtest.simulator.attempt import Photo

Rate = Callable[[float], float]


@dataclass(frozen=True, slots=True)
class Wave:
    """A rate that swings between `low` and `high` per second once per `period_s`, highest at `peak_at_s`."""

    low: float
    high: float
    period_s: float
    peak_at_s: float

    def __call__(self, now: float) -> float:
        """Calls a second."""
        swing = math.cos(2 * math.pi * (now - self.peak_at_s) / self.period_s)
        return self.low + (self.high - self.low) * (1 + swing) / 2


@dataclass(frozen=True, slots=True)
class Steps:
    """A rate that changes at moments: `rates[i]` per second from `begins[i]` on; before the first nobody comes."""

    begins: tuple[float, ...]
    rates: tuple[float, ...]

    def __call__(self, now: float) -> float:
        """Calls a second."""
        index = bisect.bisect_right(self.begins, now) - 1
        return self.rates[index] if index >= 0 else 0.0


def poisson(rate: Rate, most: float, seconds: float, chance: random.Random) -> Iterator[float]:
    """Each independent of the others, `rate(now)` per second and never more than `most`."""
    now = 0.0
    gap, draw = chance.expovariate, chance.random
    while (now := now + gap(most)) < seconds:
        if draw() * most < rate(now):
            yield now


def even(rate: Rate, most: float, seconds: float) -> Iterator[float]:
    """Evenly spaced at `rate(now)` per second, never more than `most`: exact where the rate stays, close where it moves."""
    owed, step, count = 0.0, 1 / most, 0
    while (now := count * step) < seconds:
        count += 1
        owed += rate(now) * step
        if owed >= 1 - 1e-9:
            owed -= 1
            yield now


class Photos:
    """Kinds of photos, each with its share."""

    def __init__(self, kinds: Sequence[tuple[float, Photo]], chance: random.Random) -> None:
        self._photos = [photo for _, photo in kinds]
        total = sum(share for share, _ in kinds)
        self._bounds = [bound / total for bound in accumulate(share for share, _ in kinds)]
        self._draw = chance.random
        self._only = self._photos[0] if len(kinds) == 1 else None

    def next(self) -> Photo:
        """The photo of the next call."""
        if self._only is not None:
            return self._only
        return self._photos[min(bisect.bisect_right(self._bounds, self._draw()), len(self._photos) - 1)]

    @property
    def mean_work(self) -> float:
        """Expected work of a photo (`preprocessor.cost`)."""
        return self._mean(lambda photo: photo.work)

    @property
    def mean_decode_s(self) -> float:
        """Expected seconds of a core."""
        return self._mean(lambda photo: photo.decode_s)

    def _mean(self, of: Callable[[Photo], float]) -> float:
        before, total = 0.0, 0.0
        for bound, photo in zip(self._bounds, self._photos, strict=True):
            total += (bound - before) * of(photo)
            before = bound
        return total
