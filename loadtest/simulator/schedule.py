"""Schedule: when the calls of a scenario are due, and of which lane they are. Seconds in which calls are served."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from heapq import merge
from itertools import repeat

from crema.names import Lane
from loadtest.arrivals import bursts
from loadtest.simulator.scenario import Read, Scenario
from loadtest.simulator.traffic import Rate, Steps, Wave, even, poisson
from loadtest.trace import read_trace


def due(read: Read, chance: Callable[[str], random.Random]) -> Iterator[tuple[float, Lane]]:
    """Ascending. `chance` gives a source of chance for a purpose. Raises TraceError."""
    scenario = read.scenario
    interactive: Iterator[tuple[float, Lane]] = zip(moments(read, chance), repeat("interactive"))
    bulk_per_s = scenario.traffic.bulk_per_s
    if not bulk_per_s:
        return interactive
    seconds = scenario.seconds / scenario.time_lapse
    bulk = poisson(lambda now: bulk_per_s, bulk_per_s, seconds, chance("bulk"))
    return merge(interactive, zip(bulk, repeat("bulk")))


def moments(read: Read, chance: Callable[[str], random.Random]) -> Iterator[float]:
    """Of the interactive lane alone."""
    scenario = read.scenario
    traffic, seconds = scenario.traffic, scenario.seconds / scenario.time_lapse
    if traffic.file is not None:
        recorded = read_trace(read.folder / traffic.file)
        return (at - recorded[0] for at in recorded if at - recorded[0] < seconds)
    if traffic.shape == "bursts":
        assert traffic.rate_per_s is not None
        return bursts(traffic.rate_per_s, seconds, scenario.seed)
    rate, most = _rate(scenario)
    if traffic.shape == "constant":
        return even(rate, most, seconds)
    return poisson(rate, most, seconds, chance("arrivals"))


def _rate(scenario: Scenario) -> tuple[Rate, float]:
    """Calls a second, and the most there will be."""
    traffic, lapse = scenario.traffic, scenario.time_lapse
    if traffic.steps:
        rates = tuple(step.rate_per_s for step in traffic.steps)
        return Steps(tuple(step.at_s / lapse for step in traffic.steps), rates), max(rates)
    assert traffic.rate_per_s is not None
    most, wave = traffic.rate_per_s, traffic.wave
    if wave is None:
        return (lambda now: most), most
    peak_at_s = wave.period_s / 2 if wave.peak_at_s is None else wave.peak_at_s
    return Wave(wave.low_per_s, most, wave.period_s / lapse, peak_at_s / lapse), most
