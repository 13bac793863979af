"""Second tries cost a tenth of the requests at most, or three a second."""

from __future__ import annotations

import pytest

from coordinator.retry_budget import MOST_EARNED, MOST_GRANTED, RetryBudget


def spent(per_s: float, seconds: float, first: RetryBudget | None = None) -> tuple[int, int]:
    """(requests, second tries) when every request wants one."""
    budget = first or RetryBudget()
    tries, requests = 0, int(per_s * seconds)
    for number in range(requests):
        budget.sent(1)
        tries += budget.take(number / per_s)
    return requests, tries


def test_of_many_requests_a_tenth_may_be_tried_again() -> None:
    requests, tries = spent(1000, 60)
    assert tries <= 0.1 * requests + MOST_GRANTED + 1
    assert tries >= 0.099 * requests


def test_of_few_requests_three_a_second_may_be_tried_again() -> None:
    _, tries = spent(10, 60)
    assert tries == pytest.approx(3 * 60 + MOST_GRANTED, abs=2)


def test_what_is_saved_up_is_bounded() -> None:
    budget = RetryBudget()
    budget.sent(1_000_000)
    taken = 0
    while budget.take(0.0):
        taken += 1
    assert MOST_EARNED <= taken <= MOST_EARNED + MOST_GRANTED


def test_a_clock_that_stands_still_grants_nothing() -> None:
    budget = RetryBudget()
    assert sum(budget.take(5.0) for _ in range(100)) == MOST_GRANTED
