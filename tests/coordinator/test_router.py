"""Power of two choices on the predicted wait, in times given as arguments."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from coordinator.router import Replica, Router


def load(wait_ms: object) -> dict[str, object]:
    return {"pending": 1, "places": 64, "expected_wait_ms": wait_ms}


def replica(wait_ms: float = 0.0, *, outstanding: int = 0, now: float = 0.0) -> Replica:
    """One whose last report, at `now`, was `wait_ms`."""
    made = Replica("127.0.0.1:1")
    made.sent()
    made.answered(now, load(wait_ms))
    for _ in range(outstanding):
        made.sent()
    return made


def shares(replicas: list[Replica], now: float = 0.0, calls: int = 2000) -> Counter[int]:
    router = Router(random.Random(1).random)
    return Counter(router.choose(replicas, now) for _ in range(calls))


def test_one_replica_is_the_choice() -> None:
    refusing = replica()
    refusing.sent()
    refusing.refused(0.0, None, 5000)
    assert Router().choose([refusing], 0.0) == 0


def test_of_two_the_shorter_wait_wins() -> None:
    assert shares([replica(20), replica(5)]) == {1: 2000}


def test_of_two_equal_waits_the_one_with_fewer_outstanding_wins() -> None:
    busy, idle = Replica("a:1"), Replica("b:1")
    busy.outstanding = 3
    assert shares([busy, idle]) == {1: 2000}


def test_the_worst_of_many_gets_nothing_and_the_others_share() -> None:
    found = shares([replica(50), *(replica(10) for _ in range(3))])
    assert 0 not in found
    assert all(found[index] > 400 for index in (1, 2, 3))


def test_a_replica_that_refused_is_skipped_until_its_retry_after() -> None:
    refused, other = replica(), replica(5000, now=10.0)
    refused.sent()
    refused.refused(10.0, load(0), 800)
    assert shares([refused, other], 10.7) == {1: 2000}
    assert shares([refused, other], 10.81) == {0: 2000}


def test_when_all_refused_only_they_can_tell_whether_there_is_room() -> None:
    both = [replica(), replica()]
    for each, wait_ms in zip(both, (0, 900), strict=True):
        each.sent()
        each.refused(1.0, load(wait_ms), 1000)
    assert shares(both, 1.5) == {0: 2000}


def test_a_reported_wait_runs_down_with_time() -> None:
    assert replica(100, now=5.0).predicted_wait_ms(5.06) == pytest.approx(40)
    assert replica(100, now=5.0).predicted_wait_ms(9.0) == 0


def test_what_was_sent_since_the_report_counts_by_the_replicas_own_speed() -> None:
    slow = replica(10)
    for _ in range(60):
        slow.sent()
        slow.answered(0.0, load(10), item_ms=30.0)
    slow.sent()
    slow.sent()
    assert slow.predicted_wait_ms(0.0) == pytest.approx(10 + 2 * 30, rel=0.01)


@pytest.mark.parametrize(
    "told",
    [
        None,
        {},
        {"expected_wait_ms": "5"},
        {"expected_wait_ms": True},
        {"expected_wait_ms": -1},
        {"expected_wait_ms": float("nan")},
        {"expected_wait_ms": 1e12},
        5,
    ],
)
def test_a_load_that_makes_no_sense_is_ignored(told: object) -> None:
    made = replica(30)
    made.sent()
    made.answered(0.0, told)
    assert made.predicted_wait_ms(0.0) == 30
    assert made.outstanding == 0


def test_every_end_of_a_request_is_counted_once() -> None:
    made = Replica("a:1")
    for end in (lambda: made.answered(0.0, None), lambda: made.refused(0.0, None, None), made.given_up):
        made.sent()
        assert made.outstanding == 1
        end()
        assert made.outstanding == 0
