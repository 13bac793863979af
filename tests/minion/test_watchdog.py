"""How long a batch may run."""

from __future__ import annotations

import pytest

from minion.watchdog import FIRST_BATCHES, Watchdog


def learned(*seconds: float) -> Watchdog:
    watchdog = Watchdog()
    watchdog.warmed_up(2.0)
    for each in seconds:
        watchdog.learn(each)
    return watchdog


def test_the_first_twenty_batches_have_ten_times_the_warm_up() -> None:
    assert learned(*[0.1] * (FIRST_BATCHES - 1)).bound_s() == 20.0


def test_a_quick_warm_up_allows_three_seconds() -> None:
    watchdog = Watchdog()
    watchdog.warmed_up(0.001)
    assert watchdog.bound_s() == 3.0


def test_then_it_is_ten_times_what_99_of_100_batches_took_at_most() -> None:
    assert learned(*[0.5] * FIRST_BATCHES).bound_s() == 5.0
    # of 256 batches two are over the p99
    assert learned(*[0.5] * 254, 9.0, 9.0).bound_s() == 5.0
    assert learned(*[0.5] * 240, *[9.0] * 16).bound_s() == 90.0


def test_it_is_never_less_than_three_seconds() -> None:
    assert learned(*[0.02] * 100).bound_s() == 3.0


def test_what_was_long_ago_does_not_count() -> None:
    assert learned(*[9.0] * 20, *[0.4] * 268).bound_s() == 4.0


def test_a_batch_that_is_predicted_to_be_long_gets_its_time() -> None:
    assert learned(*[0.02] * 100).bound_s(predicted_s=4.0) == 8.0


@pytest.mark.parametrize("fixed_s", [0.5, 600.0])
def test_a_manifest_s_word_replaces_all_of_that(fixed_s: float) -> None:
    watchdog = Watchdog(fixed_s)
    watchdog.warmed_up(9.0)
    assert watchdog.bound_s(predicted_s=50.0) == fixed_s
