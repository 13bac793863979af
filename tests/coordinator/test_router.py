"""Power of two choices on the predicted wait, in times given as arguments."""

from __future__ import annotations

import math
import random
from collections import Counter

import pytest

from coordinator.replica import Replica
from coordinator.router import NONE, Group, Router


def load(wait_ms: object) -> dict[str, object]:
    return {"pending": 1, "places": 64, "expected_wait_ms": wait_ms}


def fresh(address: str = "127.0.0.1:1", opened_at: float = -100.0) -> Replica:
    """One that is connected, and has been for long."""
    made = Replica(address)
    made.opened(opened_at)
    return made


def replica(wait_ms: float = 0.0, *, outstanding: int = 0, now: float = 0.0) -> Replica:
    """One whose last report, at `now`, was `wait_ms`."""
    made = fresh()
    made.sent(now)
    made.answered(now, load(wait_ms))
    for _ in range(outstanding):
        made.sent(now)
    return made


def refuse(made: Replica, now: float, retry_after_ms: float | None, wait_ms: float | None = None) -> None:
    made.sent(now)
    made.refused(now, None if wait_ms is None else load(wait_ms), retry_after_ms)


def shares(replicas: list[Replica], now: float = 0.0, calls: int = 2000) -> Counter[int]:
    router, group = Router(random.Random(1).random), Group(replicas)
    return Counter(router.choose(group, now) for _ in range(calls))


def test_one_replica_is_the_choice() -> None:
    refusing = replica()
    refuse(refusing, 0.0, 5000)
    assert Router().choose(Group([refusing]), 0.0) == 0


def test_one_that_is_not_connected_is_never_the_choice() -> None:
    gone, there = replica(), replica(5000)
    gone.closed()
    assert shares([gone, there]) == {1: 2000}
    assert shares([gone]) == {NONE: 2000}
    assert shares([]) == {NONE: 2000}


def test_of_two_the_shorter_wait_wins() -> None:
    assert shares([replica(20), replica(5)]) == {1: 2000}


def test_of_two_equal_waits_the_one_with_fewer_outstanding_wins() -> None:
    busy, idle = fresh("a:1"), fresh("b:1")
    busy.outstanding = 3
    assert shares([busy, idle]) == {1: 2000}


def test_the_worst_of_many_gets_nothing_and_the_others_share() -> None:
    found = shares([replica(50), *(replica(10) for _ in range(3))])
    assert 0 not in found
    assert all(found[index] > 400 for index in (1, 2, 3))


def test_a_replica_that_refused_is_skipped_until_its_retry_after() -> None:
    refused, other = replica(), replica(5000, now=10.0)
    refuse(refused, 10.0, 800, 0)
    assert shares([refused, other], 10.7) == {1: 2000}
    assert shares([refused, other], 10.81) == {0: 2000}


def test_when_all_refused_only_they_can_tell_whether_there_is_room() -> None:
    both = [replica(), replica()]
    for each, wait_ms in zip(both, (0, 900), strict=True):
        refuse(each, 1.0, 1000, wait_ms)
    assert shares(both, 1.5) == {0: 2000}


def test_one_that_was_not_ready_is_skipped_no_longer_than_until_it_answers() -> None:
    loading, other = replica(), replica(5000, now=10.0)
    loading.sent(10.0)
    loading.refused(10.0, load(0), 5000, is_ready=False)
    assert loading.unready_at == 10.0
    assert shares([loading, other], 11.0) == {1: 2000}
    loading.was_ready()
    assert shares([loading, other], 11.0) == {0: 2000}
    refuse(loading, 12.0, 800, 0)
    assert loading.unready_at == math.inf, "that it answers others says nothing of room for more"


def test_a_reported_wait_runs_down_with_time() -> None:
    assert replica(100, now=5.0).predicted_wait_ms(5.06) == pytest.approx(40)
    assert replica(100, now=5.0).predicted_wait_ms(9.0) == 0


def test_what_was_sent_since_the_report_counts_by_the_replicas_own_speed() -> None:
    slow = replica(10)
    for _ in range(60):
        slow.sent(0.0)
        slow.answered(0.0, load(10), item_ms=30.0)
    slow.sent(0.0)
    slow.sent(0.0)
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
    made.sent(0.0)
    made.answered(0.0, told)
    assert made.predicted_wait_ms(0.0) == 30
    assert made.outstanding == 0


def test_every_end_of_a_request_is_counted_once() -> None:
    made = fresh()
    for end in (
        lambda: made.answered(0.0, None),
        lambda: made.refused(0.0, None, None),
        lambda: made.given_up(0.0),
    ):
        made.sent(0.0)
        assert made.outstanding == 1
        end()
        assert made.outstanding == 0


def test_a_second_try_goes_to_another_replica_and_only_to_one_that_is_worth_it() -> None:
    router, first, other = Router(), replica(), replica(500)
    group = Group([first, other])
    assert router.choose_another(group, 0.0, first) == 1
    refuse(other, 0.0, 700)
    assert router.choose_another(group, 0.0, first) == NONE
    assert router.choose_another(group, 0.71, first) == 1
    other.eject(9.0)
    assert router.choose_another(group, 1.0, first) == NONE


def test_what_a_lost_replica_had_goes_to_whoever_is_left() -> None:
    router, lost, refusing, ejected = Router(), replica(), replica(), replica()
    group = Group([lost, refusing, ejected])
    refuse(refusing, 0.0, 5000)
    ejected.eject(9.0)
    assert router.choose_another(group, 1.0, lost) == NONE, "it lives: its answer may still come"
    lost.closed()
    assert router.choose_another(group, 1.0, lost) == 1
    refusing.closed()
    assert router.choose_another(group, 1.0, lost) == 2
    ejected.closed()
    assert router.choose_another(group, 1.0, lost) == NONE


def test_a_returning_replica_starts_with_a_tenth_and_has_its_full_share_after_ten_seconds() -> None:
    def share(age_s: float) -> float:
        returning, others = fresh(opened_at=0.0), [fresh(), fresh(), fresh()]
        return shares([returning, *others], age_s, 20_000)[0] / 20_000 * 4

    found = [share(age_s) for age_s in (0.0, 2.5, 5.0, 7.5, 10.0)]
    assert 0.05 < found[0] < 0.2
    assert found == sorted(found)
    assert found[-1] == pytest.approx(1.0, abs=0.05)


def test_where_all_have_just_come_back_none_is_held_back() -> None:
    found = shares([fresh(opened_at=0.0) for _ in range(4)], 0.1, 8000)
    assert all(1700 < count < 2300 for count in found.values())


def test_an_ejected_replica_gets_nothing_until_its_time_and_then_one_request_at_a_time() -> None:
    ejected, other = replica(), replica(5000, now=5.0)
    ejected.eject(5.0)
    assert shares([ejected, other], 4.9) == {1: 2000}
    assert shares([ejected, other], 5.1) == {0: 2000}
    ejected.sent(5.1)
    assert shares([ejected, other], 5.2) == {1: 2000}
    ejected.given_up(5.1)
    assert shares([ejected, other], 5.3) == {0: 2000}


def test_when_only_an_ejected_replica_is_connected_it_is_better_than_nothing() -> None:
    ejected, gone = replica(), replica()
    ejected.eject(100.0)
    gone.closed()
    assert shares([ejected, gone], 1.0) == {0: 2000}


def test_patience_is_three_times_the_predicted_finish_and_a_quarter_of_a_second_at_least() -> None:
    made = fresh()
    assert made.patience_s(0.0, 900.0) == 0.9
    made.sent(0.0)
    made.answered(0.0, load(0), 10.0, 40.0)
    assert made.patience_s(0.0, 900.0) == 0.25
    made.sent(0.0)
    made.answered(0.0, load(200), 10.0, 40.0)
    assert made.patience_s(0.0, 900.0) == pytest.approx(3 * 0.24)


def test_what_other_coordinators_send_counts_too_where_the_replica_holds_more_than_ours() -> None:
    def wait_ms(pending: int) -> float:
        made = fresh()
        for _ in range(200):
            made.sent(0.0)
            made.sent(0.0)
            made.answered(0.0, {"pending": pending, "expected_wait_ms": 0}, 5.0)
            made.given_up(0.0)
        made.sent(0.0)
        return made.predicted_wait_ms(0.0)

    assert wait_ms(1) == pytest.approx(5.0, rel=0.01)
    assert wait_ms(4) == pytest.approx(20.0, rel=0.01)
