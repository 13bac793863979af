"""Batches in flight: when the worker will be free, and when to hand over the next batch, exactly."""

from __future__ import annotations

import pytest

from minion.cost_curve import CostCurve
from minion.in_flight import InFlight


def in_flight(wanted: int = 2, seconds: float = 1.0) -> InFlight:
    """A worker whose batches take `seconds`, whatever their size."""
    curve = CostCurve(8, 100.0)
    curve.seed([(1, seconds), (8, seconds)])
    return InFlight(wanted, curve)


def one_after_another(of: InFlight, host_s: float, batches: int) -> float:
    """Batches to an idle worker, which has each `host_s` after it was handed over; when the last one ended."""
    now = 0.0
    for _ in range(batches):
        of.handed(now, 8)
        now += host_s + 1.0
        of.ended(now, 1.0, host_s)
    return now


def test_an_idle_worker_takes_a_batch_at_once() -> None:
    assert in_flight().room_at(5.0, 8) == 5.0
    assert in_flight().free_at(5.0) is None


def test_one_in_flight_lets_a_batch_that_is_not_full_wait_for_the_end_of_the_first() -> None:
    single = in_flight(wanted=1)
    single.handed(0.0, 8)
    assert single.room_at(0.5, 7) is None
    single.ended(1.0, 1.0, 0.0)
    assert single.room_at(1.0, 7) == 1.0


def test_a_full_batch_goes_to_the_worker_just_before_it_is_free_whatever_the_model_asks_for() -> None:
    single = in_flight(wanted=1)
    now = one_after_another(single, 0.1, 60)
    single.handed(now, 8)
    assert single.room_at(now, 8) == pytest.approx(now + 1.0 - 0.1, abs=0.002)


def test_while_the_host_s_work_is_not_known_the_next_batch_goes_at_the_predicted_end() -> None:
    pair = in_flight()
    pair.handed(0.0, 8)
    assert pair.room_at(0.5, 8) == 1.0


def test_the_next_batch_goes_out_as_much_earlier_as_the_host_takes() -> None:
    pair = in_flight()
    now = one_after_another(pair, 0.1, 60)
    assert pair.lead_s == pytest.approx(0.1, rel=0.01)
    pair.handed(now, 8)
    assert pair.room_at(now, 8) == pytest.approx(now + 1.0 - 0.1, abs=0.002)


def test_a_host_that_takes_now_less_and_now_more_is_given_more_time() -> None:
    pair, now = in_flight(), 0.0
    for host_s in (0.05, 0.15) * 30:
        pair.handed(now, 8)
        now += host_s + 1.0
        pair.ended(now, 1.0, host_s)
    assert 0.15 < pair.lead_s < 0.30


def test_two_in_flight_are_two() -> None:
    pair = in_flight()
    pair.handed(0.0, 8)
    pair.handed(0.9, 8)
    assert len(pair) == 2
    assert pair.room_at(0.95, 8) is None
    assert pair.free_at(0.95) == pytest.approx(2.0)


def test_a_batch_that_lay_ready_cost_only_its_own_time() -> None:
    pair = in_flight()
    pair.handed(0.0, 8)
    pair.handed(0.5, 8)
    assert pair.ended(1.0, 1.0, 0.0) == pytest.approx(1.0)
    assert pair.ended(2.0, 1.0, 0.0) == pytest.approx(1.0)


def test_a_batch_that_came_too_late_raises_the_lead_and_one_that_lay_ready_lowers_it_slowly() -> None:
    pair = in_flight()
    pair.handed(0.0, 8)
    pair.handed(0.95, 8)
    pair.ended(1.0, 1.0, 0.0)
    pair.ended(2.2, 1.0, 0.2)  # 0.2 s idle: it should have been handed over 0.25 s before
    raised = pair.lead_s
    assert 0 < raised <= 0.25
    pair.handed(3.0, 8)
    pair.handed(3.1, 8)
    before = one_lead(pair, 4.0)
    assert 0.98 * before < one_lead(pair, 5.0) < before


def one_lead(of: InFlight, now: float) -> float:
    """The lead after the oldest batch has ended."""
    of.ended(now, 1.0, 0.0)
    return of.lead_s


def test_a_batch_that_takes_longer_than_predicted_ends_any_moment() -> None:
    pair = in_flight()
    pair.handed(0.0, 8)
    assert pair.free_at(7.0) == 7.0


def test_the_lead_is_never_more_than_half_a_full_batch() -> None:
    slow_host = in_flight()
    one_after_another(slow_host, 5.0, 20)
    assert slow_host.lead_s == pytest.approx(0.5)


def test_what_a_lost_worker_had_is_forgotten() -> None:
    pair = in_flight()
    pair.handed(0.0, 8)
    pair.lost(0.5)
    assert (len(pair), pair.free_at(0.5), pair.room_at(0.5, 8)) == (0, None, 0.5)


def test_batches_of_a_model_too_quick_for_a_timer_follow_one_another() -> None:
    quick = in_flight(seconds=0.002)
    quick.handed(0.0, 8)
    assert quick.room_at(0.001, 8) is None
    quick.ended(0.002, 0.002, 0.0)
    assert quick.room_at(0.002, 8) == 0.002


def overlapping(seconds: float = 1.0, wanted: int = 2) -> InFlight:
    """A worker that runs two batches at once."""
    curve = CostCurve(8, 100.0)
    curve.seed([(1, seconds), (8, seconds)])
    return InFlight(wanted, curve, overlaps=True)


def test_a_worker_that_overlaps_batches_gets_a_full_one_as_soon_as_it_has_one_only() -> None:
    pair = overlapping()
    pair.handed(0.0, 8)
    assert pair.room_at(0.1, 8, is_full=True) == 0.1
    pair.handed(0.1, 8)
    assert pair.room_at(0.2, 8, is_full=True) is None
    pair.ended(1.0, 1.0, 0.0)
    assert pair.room_at(1.0, 8, is_full=True) == 1.0


def test_a_batch_that_others_could_still_join_comes_just_in_time_there_too() -> None:
    pair = overlapping()
    pair.handed(0.0, 8)
    assert pair.room_at(0.1, 7, is_full=False) == 1.0


def test_batches_that_are_too_quick_for_a_timer_overlap_when_they_are_full() -> None:
    quick = overlapping(seconds=0.002)
    quick.handed(0.0, 8)
    assert quick.room_at(0.001, 8, is_full=True) == 0.001
    assert quick.room_at(0.001, 7, is_full=False) is None
