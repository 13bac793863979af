"""Gate, batcher and cost curve together, in virtual time: what the policies promise under load."""

from __future__ import annotations

import math

import pytest

from tests.minion.virtual_minion import Arrival, VirtualMinion, poisson


def gpu_like(n: int) -> float:
    return 0.005 + 0.0005 * n


CAPACITY = 32 / gpu_like(32)
SECONDS = 10.0


def minion(**more: float) -> VirtualMinion:
    return VirtualMinion(gpu_like, max_size=32, places=10_000, slo_s=0.05, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("load", [2.0, 4.0])
def test_overload_is_refused_and_what_is_admitted_is_answered_in_time(load: float) -> None:
    busy = minion()
    busy.curve.seed([(1, gpu_like(1)), (32, gpu_like(32))])
    tally = busy.run(poisson(load * CAPACITY, SECONDS, within=0.05))
    assert tally.in_time >= 0.95 * CAPACITY * SECONDS
    assert tally.late + tally.expired <= 0.01 * tally.in_time
    assert max(tally.latencies) <= 0.05 + 1e-9


def test_a_curve_that_starts_too_fast_heals() -> None:
    busy = minion()
    busy.curve.seed([(1, gpu_like(1) / 1.5), (32, gpu_like(32) / 1.5)])
    tally = busy.run(poisson(2 * CAPACITY, SECONDS, within=0.05))
    assert tally.in_time >= 0.9 * CAPACITY * SECONDS
    assert tally.late + tally.expired <= 0.02 * tally.in_time


def test_a_curve_that_starts_too_slow_serves_from_the_first_request_and_heals() -> None:
    busy = minion()
    busy.curve.seed([(1, gpu_like(1) * 2), (32, gpu_like(32) * 2)])
    tally = busy.run(poisson(2 * CAPACITY, SECONDS, within=0.05))
    assert tally.in_time >= 0.9 * CAPACITY * SECONDS


def test_a_minion_that_knows_nothing_of_its_model_learns_it_from_the_batches() -> None:
    busy = minion()
    tally = busy.run(poisson(2 * CAPACITY, SECONDS, within=0.05))
    assert tally.in_time >= 0.9 * CAPACITY * SECONDS
    assert busy.curve.predict(32) == pytest.approx(gpu_like(32), rel=0.01)


def test_an_idle_minion_answers_after_the_time_of_a_batch_of_one() -> None:
    tally = minion().run([Arrival(1.0), Arrival(2.0)])
    assert tally.latencies == pytest.approx([gpu_like(1), gpu_like(1)])


def test_a_saturated_minion_runs_full_batches_without_pause() -> None:
    busy = VirtualMinion(gpu_like, max_size=32, places=10_000, slo_s=math.inf)
    tally = busy.run(Arrival(0.0) for _ in range(3200))
    # the first arrival goes alone, because the worker is free; from then on every batch is full
    assert tally.batches == 101
    assert tally.ended_at == pytest.approx(gpu_like(1) + 99 * gpu_like(32) + gpu_like(31))


def test_a_declared_wait_fills_the_batch_and_is_not_added_when_it_is_full() -> None:
    waiting = minion(max_wait_s=0.010)
    tally = waiting.run([Arrival(0.0), Arrival(0.004)])
    assert tally.batches == 1
    assert tally.latencies[0] == pytest.approx(0.010 + gpu_like(2))
    full = minion(max_wait_s=0.010)
    tally = full.run(Arrival(0.0) for _ in range(32))
    assert tally.latencies[0] == pytest.approx(gpu_like(32))


def test_without_deadlines_the_promise_of_the_model_bounds_the_wait() -> None:
    busy = minion()
    busy.curve.seed([(1, gpu_like(1)), (32, gpu_like(32))])
    tally = busy.run(poisson(4 * CAPACITY, 2.0, within=math.inf))
    assert max(tally.latencies) <= 0.05 + 1e-9
    assert tally.refused > 0
