"""The gate: places and bytes, and when to come back."""

from __future__ import annotations

import pytest

from crema.errors import CremaError
from preprocessor.gate import Gate


def test_the_gate_refuses_the_third_of_two() -> None:
    gate = Gate(2)
    gate.enter(10, 0.0)
    gate.enter(10, 0.0)
    with pytest.raises(CremaError, match="2 of 2 places") as caught:
        gate.enter(10, 1234.5)
    assert (caught.value.status, caught.value.retryable, caught.value.retry_after_ms) == (429, True, 1235)


def test_a_place_given_back_is_free() -> None:
    gate = Gate(1)
    gate.enter(10, 0.0).leave()
    gate.enter(10, 0.0)
    assert gate.pending == 1


def test_leaving_twice_is_leaving_once() -> None:
    gate = Gate(2)
    first, _ = gate.enter(10, 0.0), gate.enter(10, 0.0)
    first.leave()
    first.leave()
    assert (gate.pending, gate.pending_bytes) == (1, 10)


def test_waiting_bytes_are_bounded_too() -> None:
    gate = Gate(10, max_bytes=100)
    gate.enter(60, 0.0)
    with pytest.raises(CremaError, match="100 bytes"):
        gate.enter(60, 0.0)
    gate.enter(40, 0.0)


def test_an_idle_gate_never_refuses() -> None:
    Gate(1, max_bytes=100).enter(1000, 0.0)


def test_nobody_is_told_to_come_back_at_once() -> None:
    gate = Gate(1)
    gate.enter(10, 0.0)
    with pytest.raises(CremaError) as caught:
        gate.enter(10, 0.0)
    assert caught.value.retry_after_ms == 50
