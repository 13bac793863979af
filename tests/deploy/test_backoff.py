"""Backoff: the waits between starts, without a clock."""

from __future__ import annotations

from itertools import accumulate

import pytest

from deploy.backoff import JITTER, MOST_S, STABLE_S, Backoff


def test_a_process_that_was_ready_is_started_again_at_once() -> None:
    assert Backoff().ended(STABLE_S, 1.0) == 0.0


def test_a_process_that_never_becomes_ready_waits_twice_as_long_each_time() -> None:
    backoff = Backoff()
    assert [backoff.ended(None, 0.0) for _ in range(8)] == [1, 2, 4, 8, 16, 32, 60, 60]


@pytest.mark.parametrize("chance", [0.0, 0.5, 1.0])
def test_a_crash_loop_makes_at_most_six_starts_in_a_minute(chance: float) -> None:
    backoff = Backoff()
    starts = [0.0, *accumulate(backoff.ended(None, chance) for _ in range(20))]
    assert sum(start < 60 for start in starts) <= 6


def test_jitter_only_makes_the_wait_longer_and_by_at_most_a_quarter() -> None:
    assert Backoff().ended(None, 1.0) == pytest.approx(1 + JITTER)


def test_a_process_that_dies_soon_after_it_was_ready_never_waits_for_long() -> None:
    backoff = Backoff()
    assert [backoff.ended(0.5, 0.0) for _ in range(8)] == [0, 1, 2, 4, 4, 4, 4, 4]


def test_a_stable_life_forgets_the_failures_before_it() -> None:
    backoff = Backoff()
    for _ in range(10):
        backoff.ended(None, 0.0)
    assert backoff.ended(STABLE_S, 0.0) == 0.0
    assert backoff.never_ready == 0


def test_the_wait_is_bounded_after_any_number_of_failures() -> None:
    backoff = Backoff()
    assert max(backoff.ended(None, 1.0) for _ in range(3000)) <= MOST_S * (1 + JITTER)
