"""The gate: places, bytes, predicted work, lanes, and when to come back."""

from __future__ import annotations

import math

import pytest

from crema.names import Lane
from preprocessor.cost import DecodeCost, work_of
from preprocessor.gate import MOST_MS, Ahead, Gate, Overloaded, Permit
from preprocessor.header import ImageHeader

IDLE = Ahead()


def made(places: int, workers: int = 1, max_bytes: int = 1000) -> Gate:
    return Gate(places, workers, DecodeCost(), max_bytes)


def enter(
    gate: Gate,
    nbytes: int = 10,
    lane: Lane = "interactive",
    left_ms: float = math.inf,
    ahead: Ahead = IDLE,
    now: float = 0.0,
) -> Permit:
    return gate.enter(now, nbytes, lane, left_ms, ahead)


def waits(ms: float, images: int = 1) -> Ahead:
    return Ahead(images, ms, ms)


def test_the_gate_refuses_the_third_of_two() -> None:
    gate = made(2)
    enter(gate)
    enter(gate)
    with pytest.raises(Overloaded, match="2 of 2 places") as caught:
        enter(gate, ahead=waits(1234.5))
    assert (caught.value.status, caught.value.retryable, caught.value.retry_after_ms) == (429, True, 1235)
    assert caught.value.reason == "full"


def test_a_place_given_back_is_free() -> None:
    gate = made(1)
    enter(gate).leave()
    enter(gate)
    assert gate.pending == 1


def test_leaving_twice_is_leaving_once() -> None:
    gate = made(2)
    first, _ = enter(gate), enter(gate)
    first.leave()
    first.leave()
    assert (gate.pending, gate.pending_bytes) == (1, 10)


def test_waiting_bytes_are_bounded_too() -> None:
    gate = made(10, max_bytes=100)
    enter(gate, 60)
    with pytest.raises(Overloaded, match="100 bytes"):
        enter(gate, 60)
    enter(gate, 40)


def test_an_idle_gate_never_refuses() -> None:
    gate = made(1, max_bytes=100)
    permit = enter(gate, 1000, left_ms=0.001)
    gate.weigh(permit, 1e9, 0.001, IDLE)


def test_nobody_is_told_to_come_back_at_once() -> None:
    gate = made(1)
    enter(gate)
    with pytest.raises(Overloaded) as caught:
        enter(gate)
    assert caught.value.retry_after_ms == 50


def test_who_could_not_be_ready_in_time_is_refused_with_the_time_of_the_drain() -> None:
    gate = made(10)
    with pytest.raises(Overloaded, match="300 ms, 200 ms are allowed") as caught:
        enter(gate, left_ms=200, ahead=Ahead(3, 300, 700))
    assert (caught.value.reason, caught.value.retry_after_ms) == ("deadline", 700)
    enter(gate, left_ms=400, ahead=Ahead(3, 300, 700))


def test_interactive_waits_two_seconds_at_most_and_bulk_as_long_as_its_caller() -> None:
    gate = made(10)
    with pytest.raises(Overloaded):
        enter(gate, ahead=waits(MOST_MS + 1))
    enter(gate, lane="bulk", ahead=waits(MOST_MS + 1))


def test_an_image_is_weighed_by_its_pixels_and_a_progressive_one_four_times() -> None:
    gate = made(10)
    plain = work_of(ImageHeader("jpeg", 6000, 5000))
    in_passes = work_of(ImageHeader("jpeg", 6000, 5000, many_scans=True))
    permit = enter(gate, left_ms=400, ahead=waits(200))
    gate.weigh(permit, plain, 400, waits(200))  # 30 megapixels, 4 ms each
    with pytest.raises(Overloaded, match="681 ms"):
        gate.weigh(permit, in_passes, 400, waits(200))


def test_prices_that_scatter_keep_a_margin_before_the_deadline() -> None:
    cost = DecodeCost()
    gate = Gate(10, 1, cost)
    gate.enter(0.0, 10, "interactive", 110, waits(100)).leave()
    for _ in range(50):
        cost.observe(1.0, cost.predict_ms(1.0) * 1.5)
        cost.observe(1.0, cost.predict_ms(1.0) * 0.5)
    with pytest.raises(Overloaded, match="110 ms are allowed"):
        gate.enter(0.0, 10, "interactive", 110, waits(100))


def test_bulk_leaves_room_for_as_many_interactive_images_as_lately_waited() -> None:
    gate = made(20, workers=2)
    permits = [enter(gate, ahead=waits(5, images)) for images in range(10)]
    for permit in permits:
        permit.leave()
    assert gate.bulk_places(0.0) == 20 - 2 - 10
    held = [enter(gate, lane="bulk") for _ in range(8)]
    with pytest.raises(Overloaded, match="bulk may fill 8 of the 20") as caught:
        enter(gate, lane="bulk")
    assert caught.value.reason == "bulk" and len(held) == 8
    enter(gate)
    assert gate.bulk_places(100.0) == 18


def test_bulk_always_has_as_many_places_as_there_are_decoders() -> None:
    gate = made(8, workers=2)
    for images in range(8):
        enter(gate, ahead=waits(5, images)).leave()
    enter(gate, lane="bulk")
    enter(gate, lane="bulk")
