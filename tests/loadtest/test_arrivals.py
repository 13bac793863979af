"""Arrivals: the rate that was asked for, in order, and the same ones every time."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator

import pytest

from loadtest.arrivals import bursts, constant, poisson, ramp, recorded

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


def test_a_ramp_goes_from_one_rate_to_the_other() -> None:
    counts = per_second(ramp(10.0, 110.0, 1000.0, 3), 1000)
    begin, middle, end = (statistics.mean(counts[at : at + 100]) for at in (0, 450, 900))
    assert (begin, middle, end) == pytest.approx((15, 60, 105), rel=0.1)


def test_a_ramp_may_fall_to_nothing_and_rise_from_it() -> None:
    assert len(list(ramp(100.0, 0.0, 100.0))) == pytest.approx(5000, rel=0.1)
    assert len(list(ramp(0.0, 100.0, 100.0))) == pytest.approx(5000, rel=0.1)


def test_a_ramp_that_does_not_rise_is_poisson_at_its_rate() -> None:
    assert list(ramp(20.0, 20.0, 10.0, 5)) == pytest.approx(list(poisson(20.0, 10.0, 5)))


def test_a_trace_begins_at_its_first_moment_at_the_speed_asked_for() -> None:
    assert list(recorded([100.0, 101.0, 104.0], speed=2.0)) == [0.0, 0.5, 2.0]
