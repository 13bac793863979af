"""The coordinator's own gate is bounded by calls and by bytes."""

from __future__ import annotations

import pytest

from coordinator.gate import Gate, Holding
from crema.errors import CremaError


def test_the_gate_refuses_the_third_of_two() -> None:
    gate = Gate(max_requests=2)
    gate.enter()
    gate.enter()
    assert gate.is_full()
    with pytest.raises(CremaError, match="2 of 2") as caught:
        gate.enter()
    assert (caught.value.code, caught.value.status) == ("overloaded", 429)
    assert caught.value.retry_after_ms is not None
    gate.leave(0.1)
    gate.enter()


def test_bytes_are_bounded_too() -> None:
    gate = Gate(max_bytes=100)
    gate.hold(60)
    with pytest.raises(CremaError):
        gate.hold(41)
    gate.hold(40)
    gate.release(100)
    assert gate.bytes == 0


def test_retry_after_follows_how_long_calls_take_within_bounds() -> None:
    gate = Gate()
    quick = gate.refusal("full").retry_after_ms
    for _ in range(200):
        gate.enter()
        gate.leave(4.0)
    slow = gate.refusal("full").retry_after_ms
    assert quick == 100
    assert slow is not None
    assert 1900 < slow <= 2000


def test_a_full_gate_lets_in_who_holds_less_than_an_equal_part() -> None:
    gate, greedy, modest = Gate(max_requests=4), Holding(), Holding()
    for _ in range(4):
        gate.enter(greedy)
    with pytest.raises(CremaError):
        gate.enter(greedy)
    gate.enter(modest)
    gate.enter(modest)
    with pytest.raises(CremaError):
        gate.enter(modest)
    with pytest.raises(CremaError):
        gate.enter()


def test_bytes_are_divided_alike_and_never_more_than_twice() -> None:
    gate, greedy = Gate(max_bytes=100), Holding()
    gate.hold(100, greedy)
    with pytest.raises(CremaError):
        gate.hold(1, greedy)
    others = [Holding() for _ in range(9)]
    with pytest.raises(CremaError):
        gate.hold(51, others[0])
    for part, other in zip((50, 33, 17), others, strict=False):
        gate.hold(part, other)
    with pytest.raises(CremaError):
        gate.hold(1, others[3])


def test_who_holds_nothing_any_more_has_no_part() -> None:
    gate, gone, stays = Gate(max_requests=2), Holding(), Holding()
    gate.enter(gone)
    gate.hold(10, gone)
    gate.leave(0.1, gone)
    gate.release(10, gone)
    gate.enter(stays)
    gate.enter(stays)
    assert gate.is_full(stays)
    assert not gate.is_full(Holding())
