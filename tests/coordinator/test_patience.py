"""Everyone who waits is reminded once, soon after the time asked for."""

from __future__ import annotations

import asyncio
from time import monotonic

from coordinator.patience import Patience
from coordinator.wheel import TICK_S, Wheel


class Waiter:
    def __init__(self) -> None:
        self.reminded: list[float] = []

    def is_late(self, now: float) -> None:
        self.reminded.append(now)


def test_a_waiter_is_due_at_the_first_tick_after_its_time_and_once() -> None:
    wheel, waiter = Wheel(), Waiter()
    wheel.add(1.01, waiter)
    assert wheel.due(1.02) == []
    assert wheel.due(1.01 + TICK_S) == [waiter]
    assert wheel.due(9.0) == []
    assert not wheel


def test_the_earliest_is_first_and_a_time_that_has_passed_is_soon() -> None:
    wheel, early, late, past = Wheel(), Waiter(), Waiter(), Waiter()
    wheel.add(3.0, late)
    wheel.add(2.0, early)
    wheel.due(1.0)
    wheel.add(0.0, past)
    assert wheel.due(5.0) == [past, early, late]


async def test_the_loop_turns_the_wheel_as_long_as_someone_waits() -> None:
    patience, first, second = Patience(), Waiter(), Waiter()
    began = monotonic()
    patience.add(began + 0.01, first)
    patience.add(began + 0.1, second)
    async with asyncio.timeout(5):
        while not second.reminded:
            await asyncio.sleep(0.01)
    assert len(first.reminded) == len(second.reminded) == 1
    assert second.reminded[0] >= began + 0.1
