"""The coordinator's own gate is bounded by calls and by bytes."""

from __future__ import annotations

import pytest

from coordinator.gate import Gate
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
