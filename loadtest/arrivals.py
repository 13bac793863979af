"""Arrivals: open-loop moments at which requests are due, whatever became of those before. Seeded, so a run repeats exactly.

All give seconds from 0 in ascending order, as many as fit into `seconds`. They send nothing.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Iterator


def constant(rate: float, seconds: float) -> Iterator[float]:
    """`rate` per second, evenly spaced; the first at 0."""
    count = 0
    while (now := count / rate) < seconds:
        yield now
        count += 1


def poisson(rate: float, seconds: float, seed: int = 1) -> Iterator[float]:
    """`rate` per second on average, each independent of the others."""
    chance = random.Random(seed)
    now = chance.expovariate(rate)
    while now < seconds:
        yield now
        now += chance.expovariate(rate)


def bursts(
    rate: float,
    seconds: float,
    seed: int = 1,
    *,
    factor: float = 3.4,
    share: float = 0.2,
    burst_s: float = 0.5,
) -> Iterator[float]:
    """`rate` per second on average, Poisson at `factor` times that in bursts that make up `share` of the time.

    A burst lasts `burst_s` seconds on average. Raises ValueError when the bursts alone exceed the average.
    """
    if not 0 < share < 1 or factor * share > 1:
        raise ValueError("share must be between 0 and 1, and factor times share at most 1")
    chance = random.Random(seed)
    calm_rate = rate * (1 - factor * share) / (1 - share)
    calm_s = burst_s * (1 - share) / share
    began, is_burst = 0.0, False
    while began < seconds:
        ends = min(seconds, began + chance.expovariate(1 / (burst_s if is_burst else calm_s)))
        now_rate = factor * rate if is_burst else calm_rate
        now = began
        # a phase forgets what was left of the gap before it: that is what Poisson means
        while now_rate > 0 and (now := now + chance.expovariate(now_rate)) < ends:
            yield now
        began, is_burst = ends, not is_burst


def ramp(from_rate: float, to_rate: float, seconds: float, seed: int = 1) -> Iterator[float]:
    """Poisson, at a rate that goes in a straight line from `from_rate` to `to_rate` per second."""
    chance = random.Random(seed)
    # expected so far: from_rate * t + half_slope * t², solved for the t at which the next one is due
    half_slope = (to_rate - from_rate) / (2 * seconds)
    expected, most = 0.0, (from_rate + to_rate) / 2 * seconds
    while (expected := expected + chance.expovariate(1.0)) < most:
        # in the form that neither divides by a slope of 0 nor loses digits where it is small
        root = math.sqrt(max(0.0, from_rate * from_rate + 4 * half_slope * expected))
        if (now := 2 * expected / (from_rate + root)) < seconds:
            yield now


def recorded(moments: Iterable[float], speed: float = 1.0) -> Iterator[float]:
    """Moments of a trace, from the first one on, `speed` times as fast as they were."""
    first: float | None = None
    for moment in moments:
        first = moment if first is None else first
        yield (moment - first) / speed
