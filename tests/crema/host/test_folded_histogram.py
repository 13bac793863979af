"""Folded observations show as if each had been observed by the library."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Histogram, generate_latest

from crema.host.folded_histogram import FoldedHistogram

BOUNDS = (0.01, 0.1, 1.0)


def histogram(registry: CollectorRegistry) -> Histogram:
    return Histogram("took_seconds", "Time", ["tier"], registry=registry, buckets=BOUNDS).labels(tier="x")


def figures(registry: CollectorRegistry) -> list[str]:
    return [line for line in generate_latest(registry).decode().splitlines() if "_created" not in line]


def test_folded_and_observed_one_by_one_are_the_same() -> None:
    plain, folding = CollectorRegistry(), CollectorRegistry()
    observed, folded = histogram(plain), FoldedHistogram(histogram(folding))
    for rounds in range(2):
        for amount in (0.001, 0.01, 0.0625, 0.5, 1.0, 7.0):
            observed.observe(amount + rounds)
            folded.observe(amount + rounds)
        folded.fold()
        assert figures(folding) == figures(plain)


def test_nothing_shows_before_it_is_folded_and_nothing_twice() -> None:
    registry = CollectorRegistry()
    folded = FoldedHistogram(histogram(registry))
    folded.observe(0.5)
    assert 'took_seconds_count{tier="x"} 0.0' in figures(registry)
    folded.fold()
    folded.fold()
    assert 'took_seconds_count{tier="x"} 1.0' in figures(registry)
