"""Quotas in exact time: a token bucket of one second, and calls in flight."""

from __future__ import annotations

import pytest

from coordinator.quota import Quota
from crema.errors import CremaError


def refusal(quota: Quota, now: float) -> CremaError:
    with pytest.raises(CremaError) as caught:
        quota.enter(now)
    return caught.value


def test_without_limits_everything_enters() -> None:
    quota = Quota("app")
    for _ in range(1000):
        quota.enter(0.0)
    assert quota.in_flight == 1000


def test_a_second_s_worth_enters_at_once_and_then_at_the_rate() -> None:
    quota = Quota("app", rate_per_s=10)
    for _ in range(10):
        quota.enter(5.0)
    error = refusal(quota, 5.0)
    assert (error.code, error.retry_after_ms) == ("overloaded", 100)
    assert "10 photos a second" in error.message
    quota.enter(5.125)
    refusal(quota, 5.125)


def test_what_is_not_used_is_not_saved_beyond_a_second() -> None:
    quota = Quota("app", rate_per_s=2)
    for _ in range(2):
        quota.enter(1000.0)
    refusal(quota, 1000.0)


def test_a_rate_below_one_a_second_lets_one_in() -> None:
    quota = Quota("app", rate_per_s=0.5)
    quota.enter(0.0)
    assert refusal(quota, 0.0).retry_after_ms == 2000
    quota.enter(2.0)


def test_the_photos_of_a_batch_are_paid_for_by_later_calls() -> None:
    quota = Quota("app", rate_per_s=10)
    quota.enter(0.0)
    quota.take_more(19)
    refusal(quota, 1.0)
    quota.enter(1.25)


def test_calls_in_flight_are_bounded_until_one_leaves() -> None:
    quota = Quota("app", concurrency=2)
    quota.enter(0.0)
    quota.enter(0.0)
    assert "2 calls in flight" in refusal(quota, 0.0).message
    quota.leave()
    quota.enter(0.0)


def test_a_refused_call_takes_nothing() -> None:
    quota = Quota("app", rate_per_s=1, concurrency=5)
    quota.enter(0.0)
    refusal(quota, 0.0)
    assert quota.in_flight == 1
