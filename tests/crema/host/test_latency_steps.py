"""Steps of time: each time is in the first step whose upper end is not below it."""

from __future__ import annotations

import pytest

from crema.host.latency_steps import MOST_STEPS, step_of, upper_ms


@pytest.mark.parametrize("ms", [0.05, 0.1, 0.11, 1.0, 47.9, 5_000.0, 25_000.0])
def test_a_time_lies_above_the_step_before_its_own(ms: float) -> None:
    step = step_of(ms)
    assert ms <= upper_ms(step)
    assert step == 0 or upper_ms(step - 1) < ms


def test_the_upper_end_of_a_step_belongs_to_it() -> None:
    assert [step_of(upper_ms(step)) for step in range(120)] == list(range(120))


def test_what_takes_for_ever_has_a_step_too() -> None:
    assert step_of(1e12) == MOST_STEPS
