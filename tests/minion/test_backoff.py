"""How long to wait before the next worker."""

from __future__ import annotations

from minion.backoff import Backoff


def test_a_worker_that_had_served_is_replaced_at_once() -> None:
    backoff = Backoff()
    backoff.served()
    assert backoff.failed(0.0) == 0.0


def test_the_wait_doubles_up_to_a_minute_while_workers_keep_failing() -> None:
    backoff = Backoff()
    assert [backoff.failed(0.0) for _ in range(8)] == [1, 2, 4, 8, 16, 32, 60, 60]


def test_jitter_only_lengthens_the_wait() -> None:
    assert Backoff().failed(1.0) == 1.25


def test_at_most_six_starts_in_a_minute_of_failing() -> None:
    backoff, now, starts = Backoff(), 0.0, 0
    while now < 60.0:
        starts += 1
        now += backoff.failed(0.0)
    assert starts <= 6


def test_serving_starts_the_count_anew() -> None:
    backoff = Backoff()
    for _ in range(5):
        backoff.failed(0.0)
    backoff.served()
    assert backoff.failed(0.0) == 0.0
    assert backoff.failed(0.0) == 1.0
