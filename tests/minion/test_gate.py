"""The gate: by count and by predicted time, exactly."""

from __future__ import annotations

import math

import pytest

from crema.names import Lane
from minion.cost_curve import CostCurve
from minion.gate import Gate, Refusal


def gate(places: int = 10, slo_s: float = 1.0, per_batch_s: float | None = None, max_size: int = 4) -> Gate:
    """A gate whose model takes `per_batch_s` for any batch, reliably (None: not known yet)."""
    curve = CostCurve(max_size, slo_s)
    if per_batch_s is not None:
        curve.seed([(1, per_batch_s), (max_size, per_batch_s)])
        curve.feared_overrun = 0.0
    return Gate(places, slo_s, curve)


def enter(
    of: Gate,
    n: int = 1,
    *,
    lane: Lane = "interactive",
    remaining_s: float = math.inf,
    ahead: int = 0,
    waiting: int | None = None,
    free_at: float | None = None,
    now: float = 0.0,
) -> Refusal | None:
    return of.enter(
        now, n, lane, remaining_s, ahead=ahead, waiting=ahead if waiting is None else waiting, free_at=free_at
    )


def test_gate_refuses_the_eleventh_of_ten() -> None:
    full = gate(places=10)
    assert [enter(full) for _ in range(10)] == [None] * 10
    refusal = enter(full)
    assert refusal is not None
    assert refusal.reason == "full"
    assert "10 of 10 places taken" in refusal.message


def test_a_place_given_back_is_free_again() -> None:
    full = gate(places=1)
    assert enter(full) is None
    full.leave(1)
    assert enter(full) is None


def test_a_request_of_n_items_takes_n_places() -> None:
    some = gate(places=10)
    assert enter(some, 7) is None
    assert some.pending == 7


def test_a_request_is_refused_as_a_whole() -> None:
    some = gate(places=10)
    enter(some, 7)
    refusal = enter(some, 4)
    assert refusal is not None
    assert some.pending == 7
    assert enter(some, 3) is None


def test_giving_back_more_than_was_taken_is_a_bug() -> None:
    with pytest.raises(AssertionError, match="bug of ours"):
        gate().leave(1)


def test_an_idle_and_empty_minion_admits_whatever_the_curve_says() -> None:
    hopeless = gate(slo_s=0.1, per_batch_s=5.0)
    assert enter(hopeless, remaining_s=0.01) is None


def test_an_item_s_own_batch_counts_as_full() -> None:
    # t(1) would fit into the remaining time, t(4) does not: later arrivals will fill the batch
    curve = CostCurve(4, 10.0)
    curve.seed([(1, 0.1), (4, 0.4)])
    busy = Gate(10, 10.0, curve)
    refusal = enter(busy, remaining_s=0.3, free_at=0.0)
    assert refusal is not None
    assert refusal.reason == "deadline"
    assert enter(busy, remaining_s=0.4, free_at=0.0) is None


def test_what_is_left_of_the_running_batch_counts() -> None:
    busy = gate(slo_s=10.0, per_batch_s=0.5)
    assert enter(busy, remaining_s=0.75, free_at=0.25) is None
    assert enter(busy, remaining_s=0.75, free_at=0.26) is not None


def test_a_batch_that_takes_longer_than_predicted_leaves_no_negative_rest() -> None:
    busy = gate(slo_s=10.0, per_batch_s=0.5)
    assert enter(busy, remaining_s=0.4, free_at=-5.0) is not None
    assert enter(busy, remaining_s=0.5, free_at=-5.0) is None


@pytest.mark.parametrize(("ahead", "fits"), [(0, True), (3, True), (4, False), (7, False)])
def test_whole_batches_ahead_are_counted(ahead: int, fits: bool) -> None:
    busy = gate(places=100, slo_s=10.0, per_batch_s=0.5)
    assert (enter(busy, remaining_s=0.9, ahead=ahead, free_at=0.0) is None) is fits


def test_the_last_item_of_a_request_decides() -> None:
    busy = gate(places=100, slo_s=10.0, per_batch_s=0.5)
    assert enter(busy, 4, remaining_s=0.9, ahead=1, free_at=0.0) is not None
    assert enter(busy, 3, remaining_s=0.9, ahead=1, free_at=0.0) is None


def test_without_a_deadline_the_model_s_promise_bounds_an_interactive_request() -> None:
    busy = gate(places=100, slo_s=1.0, per_batch_s=0.5)
    assert enter(busy, ahead=4, free_at=0.0) is None
    assert enter(busy, ahead=8, free_at=0.0) is not None


def test_the_model_s_promise_does_not_bound_bulk() -> None:
    busy = gate(places=100, slo_s=1.0, per_batch_s=0.5)
    assert enter(busy, lane="bulk", ahead=80, free_at=0.0) is None
    assert enter(busy, lane="bulk", ahead=80, remaining_s=2.0, free_at=0.0) is not None


def test_retry_after_is_the_predicted_drain() -> None:
    busy = gate(places=9, slo_s=10.0, per_batch_s=0.5)
    for _ in range(9):
        assert enter(busy, free_at=0.0) is None
    refusal = enter(busy, ahead=5, free_at=0.25)
    assert refusal is not None
    assert refusal.retry_after_s == 0.25 + 2 * 0.5


def test_a_draining_gate_refuses_even_when_it_is_empty() -> None:
    closing = gate()
    closing.is_draining = True
    refusal = enter(closing)
    assert refusal is not None
    assert refusal.reason == "draining"
    assert closing.pending == 0


def test_the_predicted_wait_ends_where_the_item_s_batch_begins() -> None:
    busy = gate(per_batch_s=0.25)
    assert busy.wait_s(0.0, 0, None) == 0.0
    assert busy.wait_s(0.0, 3, 0.1) == 0.1
    assert busy.wait_s(0.0, 4, 0.1) == 0.35


def test_a_gate_that_knows_no_cost_admits_by_count() -> None:
    new = gate(places=3)
    assert [enter(new, ahead=i, free_at=0.0) for i in range(3)] == [None] * 3
    assert enter(new, ahead=3) is not None


def test_several_workers_on_one_queue_move_it_that_many_times_as_quickly() -> None:
    pair = gate(places=100, slo_s=10.0, per_batch_s=0.5)
    pair.workers = 2
    assert pair.wait_s(0.0, 8, 0.25) == 0.25 + 2 * 0.5 / 2
    assert enter(pair, ahead=8, free_at=0.25, remaining_s=1.25) is None
    assert enter(pair, ahead=8, free_at=0.26, remaining_s=1.25) is not None


# -- a model whose times scatter ---------------------------------------------------------------------------------------


def test_a_model_whose_times_scatter_is_given_less_to_promise() -> None:
    curve = CostCurve(4, 10.0)
    curve.seed([(1, 0.5), (4, 0.5)])
    curve.feared_overrun = 0.0
    scattering = Gate(100, 10.0, curve)
    assert enter(scattering, remaining_s=1.9, ahead=4, free_at=0.5) is None
    for _ in range(50):
        curve.learn(4, 0.4)
        curve.learn(4, 0.6)
    assert curve.predict(4) == pytest.approx(0.5, rel=0.05)
    assert enter(scattering, remaining_s=1.9, ahead=4, free_at=0.5) is not None


def test_however_a_model_s_times_scatter_half_of_the_time_before_its_batch_is_left_to_come_in() -> None:
    curve = CostCurve(4, 10.0)
    curve.seed([(1, 0.5), (4, 0.5)])
    for _ in range(50):
        curve.learn(4, 0.1)
        curve.learn(4, 0.9)
    full_s = curve.predict(4)
    assert enter(Gate(100, 10.0, curve), remaining_s=2 * full_s, free_at=0.49 * full_s) is None
    assert enter(Gate(100, 10.0, curve), remaining_s=2 * full_s, free_at=0.51 * full_s) is not None


def test_two_deviations_are_kept_clear_even_where_the_next_batch_may_then_not_be_filled() -> None:
    curve = CostCurve(8, 5.0)
    curve.seed([(1, 2.3), (8, 2.3)])
    curve.overrun = curve.feared_overrun = 0.1
    least_s = 2 * 0.1 * 2.3 * math.sqrt(2)
    assert enter(Gate(100, 5.0, curve), free_at=5.0 - 2.3 - least_s - 0.01) is None
    assert enter(Gate(100, 5.0, curve), free_at=5.0 - 2.3 - least_s + 0.01) is not None


def lets_in_early(curve: CostCurve, crowd: Lane = "interactive") -> bool:
    """Whether one comes in whose answer is predicted 0.7 s before the promise, while ten times as many come as can be answered."""
    gate, now = Gate(1000, 5.0, curve), 0.0
    for _ in range(1000):
        now += curve.predict(8) / 80
        if enter(gate, lane=crowd, now=now) is None:
            gate.leave(1)
    free_at = now + 5.0 - curve.predict(8) - 0.7
    return enter(gate, now=now, waiting=1, free_at=free_at) is None


def test_a_model_that_was_not_seen_at_work_is_given_less_to_promise_until_it_was() -> None:
    curve = CostCurve(8, 5.0)
    curve.seed([(1, 2.3), (8, 2.3)])
    assert not lets_in_early(curve)
    for _ in range(100):
        curve.learn(8, 2.3)
    assert lets_in_early(curve)


def test_a_flood_of_bulk_costs_interactive_no_time_to_come_in() -> None:
    curve = CostCurve(8, 5.0)
    curve.seed([(1, 2.3), (8, 2.3)])
    assert lets_in_early(curve, crowd="bulk")
    assert not lets_in_early(curve, crowd="interactive")


# -- lanes -------------------------------------------------------------------------------------------------------------


def test_bulk_leaves_half_of_the_places_to_interactive() -> None:
    some = gate(places=16, slo_s=100.0, per_batch_s=0.01)
    assert [enter(some, lane="bulk", ahead=i, free_at=0.01) for i in range(8)] == [None] * 8
    refusal = enter(some, lane="bulk", ahead=8, free_at=0.01)
    assert refusal is not None
    assert refusal.reason == "bulk"
    assert refusal.retry_after_s == pytest.approx(0.01 + 2 * 0.01)
    assert [enter(some, ahead=i, free_at=0.01) for i in range(8)] == [None] * 8


def test_bulk_leaves_a_batch_s_worth_of_places_to_interactive_where_that_is_more_than_half() -> None:
    assert gate(places=7, per_batch_s=0.01).bulk_places(0.0) == 4
    assert gate(places=9, per_batch_s=0.01, max_size=6).bulk_places(0.0) == 5


def test_bulk_leaves_as_many_places_more_as_interactive_items_lately_waited() -> None:
    some = gate(places=32, slo_s=100.0, per_batch_s=0.01)
    assert some.bulk_places(0.0) == 16
    enter(some, ahead=17, free_at=0.01)
    assert some.bulk_places(0.0) == 10


def test_a_queue_that_was_turned_away_counts_as_well() -> None:
    some = gate(places=16, slo_s=0.1, per_batch_s=0.05)
    assert enter(some, n=20, ahead=0, free_at=0.05) is not None
    assert some.bulk_places(0.0) == 4


def test_the_queue_that_interactive_had_is_forgotten_in_time() -> None:
    some = gate(places=32, slo_s=100.0, per_batch_s=0.01)
    enter(some, n=20, ahead=0, free_at=0.01)
    kept = [some.bulk_places(now) for now in (0.0, 10.0, 20.0, 60.0)]
    assert kept == sorted(kept)
    assert (kept[0], kept[-1]) == (8, 16)


def test_bulk_comes_in_while_less_than_a_batch_is_here_whatever_interactive_had() -> None:
    some = gate(places=16, slo_s=100.0, per_batch_s=0.01)
    enter(some, n=3, ahead=20, free_at=0.01)
    assert enter(some, lane="bulk", ahead=0, free_at=0.01) is None
    assert enter(some, lane="bulk", ahead=1, free_at=0.01) is not None


def test_an_idle_minion_takes_a_bulk_request_that_fills_it() -> None:
    assert enter(gate(places=8, per_batch_s=0.01), 8, lane="bulk") is None


@pytest.mark.parametrize("places", [1, 2, 3, 5, 8])
def test_bulk_finds_room_in_a_minion_of_any_size(places: int) -> None:
    small = gate(places=places, slo_s=100.0, per_batch_s=0.01)
    assert 1 <= small.bulk_places(0.0) <= places
    assert enter(small, lane="bulk") is None


def test_interactive_may_have_every_place() -> None:
    some = gate(places=16, slo_s=100.0, per_batch_s=0.01)
    assert [enter(some, ahead=i, free_at=0.01) for i in range(16)] == [None] * 16


def test_each_of_several_workers_has_a_batch_s_worth_of_places_kept_for_interactive() -> None:
    pair = gate(places=16, per_batch_s=0.01)
    pair.workers = 2
    assert pair.bulk_places(0.0) == 8


def test_a_spread_is_kept_clear_of_as_far_as_the_next_batch_can_still_be_filled() -> None:
    def admits(arrivals_per_batch: int) -> bool:
        curve = CostCurve(8, 5.0)
        curve.seed([(1, 2.3), (8, 2.3)])
        curve.overrun = curve.feared_overrun = 0.1
        gate, now = Gate(1000, 5.0, curve), 0.0
        for _ in range(20 * arrivals_per_batch):
            now += 2.3 / arrivals_per_batch
            if gate.enter(now, 1, "interactive", math.inf, ahead=0, waiting=0, free_at=None) is None:
                gate.leave(1)
        # 2.0 s of the running batch are left and its own takes 2.3 s: 0.7 s before the promise
        free_at = now + 2.0
        return gate.enter(now, 1, "interactive", math.inf, ahead=0, waiting=1, free_at=free_at) is None

    assert admits(8)  # a refusal would cost a place in the next batch
    assert not admits(32)  # four times as many come: the next batch fills anyhow


def test_who_only_asks_does_not_count_as_an_arrival() -> None:
    curve = CostCurve(8, 5.0)
    gate = Gate(8, 5.0, curve)
    assert gate.enter(0.0, 1, "interactive", math.inf, ahead=0, waiting=0, free_at=None) is None
    gate.take_back(1, "interactive")
    assert (gate.pending, gate._wanted) == (0, 0)


@pytest.mark.parametrize("free_at", [None, 0.5])
@pytest.mark.parametrize("overrun", [0.0, 0.01, 0.3, 1.0])
@pytest.mark.parametrize("ahead", [0, 3, 4, 17, 200])
def test_who_is_let_in_without_a_look_at_the_margin_would_be_let_in_with_one(
    ahead: int, overrun: float, free_at: float | None
) -> None:
    busy = gate(places=1000, slo_s=2.0, per_batch_s=0.05)
    busy._curve.overrun = busy._curve.feared_overrun = overrun
    for allowed_s in (0.05, 0.5, 2.0, 10.0):
        assert busy._margin_s(allowed_s, ahead, free_at) <= busy._most_margin_s(ahead)
