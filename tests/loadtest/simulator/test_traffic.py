"""When simulated calls come, and with which photos."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from loadtest.simulator.attempt import Photo
from loadtest.simulator.traffic import Photos, Steps, Wave, even, poisson


def test_a_wave_is_highest_at_its_peak_and_lowest_half_a_period_later() -> None:
    wave = Wave(200, 1000, 86400, 43200)
    assert wave(43200) == pytest.approx(1000)
    assert wave(0) == pytest.approx(200)
    assert wave(21600) == pytest.approx(600)


def test_poisson_follows_a_rate_that_changes() -> None:
    steps = Steps((0.0, 100.0), (10.0, 40.0))
    moments = list(poisson(steps, 40.0, 200.0, random.Random(1)))
    assert sum(at < 100 for at in moments) == pytest.approx(1000, rel=0.1)
    assert sum(at >= 100 for at in moments) == pytest.approx(4000, rel=0.06)


def test_even_arrivals_are_as_many_as_the_rate_says() -> None:
    assert len(list(even(lambda now: 20.0, 20.0, 50.0))) == 1000
    assert len(list(even(Wave(0, 20, 100, 50), 20.0, 100.0))) == pytest.approx(1000, abs=3)


def test_before_the_first_step_nobody_comes() -> None:
    assert Steps((5.0,), (10.0,))(4.9) == 0


def test_photos_come_in_their_shares() -> None:
    small, large = Photo(1.0, 10, 0.001), Photo(12.0, 100, 0.026)
    photos = Photos([(3, small), (1, large)], random.Random(1))
    assert Counter(photos.next() for _ in range(4000))[large] == pytest.approx(1000, rel=0.1)
    assert photos.mean_decode_s == pytest.approx((3 * 0.001 + 0.026) / 4)
    assert photos.mean_work == pytest.approx((3 * 1 + 12) / 4)
