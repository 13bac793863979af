"""Arrivals: the rate that was asked for, in order, and the same ones every time."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator

import pytest

from loadtest.arrivals import bursts, constant, poisson

Arrivals = Callable[[float, float], Iterator[float]]


@pytest.mark.parametrize("arrivals", [constant, poisson, bursts])
def test_the_average_rate_is_the_one_asked_for(arrivals: Arrivals) -> None:
    assert len(list(arrivals(50.0, 1000.0))) == pytest.approx(50_000, rel=0.07)


@pytest.mark.parametrize("arrivals", [constant, poisson, bursts])
def test_arrivals_ascend_and_end_in_time(arrivals: Arrivals) -> None:
    moments = list(arrivals(20.0, 30.0))
    assert moments == sorted(moments)
    assert moments[0] >= 0 and moments[-1] < 30.0


@pytest.mark.parametrize("arrivals", [poisson, bursts])
def test_one_seed_gives_the_same_arrivals_and_another_gives_others(
    arrivals: Callable[..., Iterator[float]],
) -> None:
    assert list(arrivals(20.0, 10.0, 7)) == list(arrivals(20.0, 10.0, 7))
    assert list(arrivals(20.0, 10.0, 7)) != list(arrivals(20.0, 10.0, 8))


def per_second(moments: Iterator[float], seconds: int) -> list[int]:
    counts = [0] * seconds
    for moment in moments:
        counts[int(moment)] += 1
    return counts


def test_poisson_counts_vary_as_much_as_their_mean() -> None:
    counts = per_second(poisson(40.0, 2000.0), 2000)
    assert statistics.pvariance(counts) == pytest.approx(40, rel=0.1)


def test_bursts_vary_more_than_poisson() -> None:
    counts = per_second(bursts(40.0, 2000.0), 2000)
    assert statistics.pvariance(counts) > 5 * 40


def test_bursts_that_exceed_the_average_alone_are_refused() -> None:
    with pytest.raises(ValueError, match="at most 1"):
        next(bursts(10.0, 1.0, factor=6, share=0.2))
