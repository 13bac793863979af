"""The busy share of the last ten seconds."""

from __future__ import annotations

import pytest

from minion.busy_time import BusyTime


def test_an_idle_minion_is_not_busy() -> None:
    assert BusyTime(0.0).ratio(5.0) == 0.0


def test_before_ten_seconds_have_passed_the_share_is_of_the_time_since_the_start() -> None:
    busy = BusyTime(0.0)
    busy.begin(1.0)
    busy.end(2.0)
    assert busy.ratio(4.0) == pytest.approx(0.25)


def test_a_batch_that_is_running_counts() -> None:
    busy = BusyTime(0.0)
    busy.begin(2.0)
    assert busy.ratio(4.0) == pytest.approx(0.5)


def test_what_is_older_than_ten_seconds_does_not_count() -> None:
    busy = BusyTime(0.0)
    busy.begin(0.0)
    busy.end(5.0)
    assert busy.ratio(12.0) == pytest.approx(0.3)
    assert busy.ratio(30.0) == 0.0


def test_many_short_batches_are_counted_in_full() -> None:
    busy = BusyTime(0.0)
    for step in range(20_000):
        busy.begin(step * 0.001)
        busy.end(step * 0.001 + 0.0005)
    assert busy.ratio(20.0) == pytest.approx(0.5, abs=0.01)


def test_the_share_is_never_over_one() -> None:
    busy = BusyTime(0.0)
    busy.begin(0.0)
    assert busy.ratio(100.0) == 1.0
