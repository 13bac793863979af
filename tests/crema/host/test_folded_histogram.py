"""Folded histograms show what the library's own would."""

from __future__ import annotations

import random

from prometheus_client import CollectorRegistry, Histogram, generate_latest

from crema.host.folded_histogram import FoldedHistogram
from crema.host.metrics import SECONDS


def samples(registry: CollectorRegistry) -> list[str]:
    """What a scrape shows, without when the metric was made."""
    return [line for line in generate_latest(registry).decode().splitlines() if "_created" not in line]


def test_a_scrape_shows_the_same_as_of_a_plain_histogram() -> None:
    plain, folded = CollectorRegistry(), CollectorRegistry()
    one = Histogram("x_seconds", "x", ("model",), registry=plain, buckets=SECONDS).labels("m")
    other = Histogram("x_seconds", "x", ("model",), registry=folded, buckets=SECONDS).labels("m")
    kept = FoldedHistogram(other, SECONDS)
    chance = random.Random(0)
    # every bound itself, both sides of it, and beyond the last
    amounts = [bound * factor for bound in SECONDS for factor in (0.5, 1, 1.5)] + [0.0, 1e9]
    for _ in range(3):
        chance.shuffle(amounts)
        for amount in amounts:
            one.observe(amount)
        kept.observe(amounts[0])
        kept.observe_all(amounts[1:])
        kept.fold()
        kept.fold()
    # sums of floats depend on the order
    assert [line for line in samples(plain) if "_sum" not in line] == [
        line for line in samples(folded) if "_sum" not in line
    ]
    sums = [registry.get_sample_value("x_seconds_sum", {"model": "m"}) for registry in (plain, folded)]
    assert sums[0] is not None
    assert sums[1] is not None
    assert abs(sums[0] - sums[1]) < 1e-3
