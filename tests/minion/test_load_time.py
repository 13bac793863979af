"""What share of its capacity a minion used."""

from __future__ import annotations

import pytest

from minion.load_time import WINDOW_S, LoadTime


def test_it_is_the_share_of_time_that_full_batches_would_have_taken() -> None:
    load = LoadTime(0.0)
    for second in range(1, 5):
        load.add(float(second), 0.25)
    assert load.ratio(4.0, 1) == pytest.approx(0.25)


def test_two_workers_have_twice_the_capacity() -> None:
    load = LoadTime(0.0)
    load.add(4.0, 2.0)
    assert load.ratio(4.0, 2) == pytest.approx(0.25)


def test_what_is_longer_ago_than_the_window_is_forgotten() -> None:
    load = LoadTime(0.0)
    load.add(1.0, 1.0)
    for tenth in range(11, 10 * int(WINDOW_S) + 30):
        load.add(tenth / 10, 0.0)
    assert load.ratio(WINDOW_S + 3.0, 1) == 0.0


def test_it_is_never_more_than_all() -> None:
    load = LoadTime(0.0)
    load.add(1.0, 5.0)
    assert load.ratio(1.0, 1) == 1.0
