"""The cost curve: what it learns, and the batch limit that follows."""

from __future__ import annotations

import math
import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minion.cost_curve import CostCurve


def test_nothing_is_known_at_first_and_batches_may_be_as_large_as_declared() -> None:
    curve = CostCurve(32, 0.5)
    assert not curve.is_known
    assert curve.predict(32) == 0.0
    assert curve.batch_limit == 32


def test_two_seeded_points_give_the_line_through_them() -> None:
    curve = CostCurve(32, 10.0)
    curve.seed([(1, 0.11), (32, 0.42)])
    assert curve.fixed_s == pytest.approx(0.1)
    assert curve.per_item_s == pytest.approx(0.01)


def test_many_seeded_points_are_forgotten_as_quickly_as_two() -> None:
    few, many = CostCurve(32, 10.0), CostCurve(32, 10.0)
    few.seed([(1, 1.0), (32, 1.0)])
    many.seed([(n, 1.0) for n in range(1, 33)])
    for curve in (few, many):
        for _ in range(10):
            curve.learn(16, 0.1)
    assert many.predict(16) == pytest.approx(few.predict(16), rel=0.02)


def test_a_seed_does_not_overwrite_what_was_learned() -> None:
    curve = CostCurve(32, 10.0)
    curve.learn(4, 1.0)
    curve.seed([(1, 9.0)])
    assert curve.predict(4) == pytest.approx(1.0)


def test_every_batch_is_learned_from() -> None:
    curve = CostCurve(32, 10.0)
    for n in [1, 8, 32, 4] * 20:
        curve.learn(n, 0.005 + 0.0005 * n)
    assert curve.fixed_s == pytest.approx(0.005, rel=1e-6)
    assert curve.per_item_s == pytest.approx(0.0005, rel=1e-6)


def test_what_was_long_ago_is_forgotten() -> None:
    curve = CostCurve(32, 10.0)
    curve.seed([(1, 1.0), (32, 2.0)])
    for n in [1, 8, 32, 4] * 25:
        curve.learn(n, 0.01 * n)
    assert curve.predict(32) == pytest.approx(0.32, rel=0.01)


def test_batches_of_one_size_move_the_level_and_never_lose_the_slope() -> None:
    curve = CostCurve(32, 10.0)
    curve.seed([(1, 0.11), (32, 0.42)])
    for _ in range(200):
        curve.learn(8, 0.28)
    assert curve.predict(8) == pytest.approx(0.28, rel=1e-3)
    assert 0.005 < curve.per_item_s <= 0.01


def test_the_batch_limit_keeps_two_batches_within_the_promise() -> None:
    curve = CostCurve(32, 0.05)
    curve.seed([(1, 0.0055), (32, 0.0371)])  # about 4.5 ms + 1 ms per item
    limit = curve.batch_limit
    assert 2 * curve.predict(limit) <= 0.05 < 2 * curve.predict(limit + 1)


def test_the_batch_limit_is_never_below_one_or_above_what_is_declared() -> None:
    slow, quick = CostCurve(32, 0.05), CostCurve(32, 0.05)
    slow.seed([(1, 1.0), (32, 30.0)])
    quick.seed([(1, 0.001), (32, 0.001)])
    assert slow.batch_limit == 1
    assert quick.batch_limit == 32


def test_a_limit_that_fits_exactly_is_not_lost_to_rounding() -> None:
    curve = CostCurve(8, 0.16)
    curve.seed([(1, 0.01), (8, 0.08)])
    assert curve.batch_limit == 8


def test_the_batch_limit_falls_at_once_and_rises_only_when_that_is_beyond_doubt() -> None:
    curve = CostCurve(8, 4.0)
    curve.seed([(1, 0.25), (8, 2.0)])
    curve.overrun = 0.2
    assert curve.batch_limit == 8

    def limit_at(item_s: float) -> int:
        curve.fixed_s, curve.per_item_s = 0.0, item_s
        curve._set_limits()
        return curve.batch_limit

    assert limit_at(0.28) == 7
    assert limit_at(0.25) == 7  # 8 would do, were the curve exact
    assert limit_at(0.21) == 8


def test_a_limit_lowered_for_want_of_memory_is_right_again_when_there_is_some() -> None:
    curve = CostCurve(8, 4.0)
    curve.seed([(1, 0.25), (8, 2.0)])
    curve.overrun = 0.2
    curve.allow(4)
    assert curve.batch_limit == 4
    curve.allow(8)
    assert curve.batch_limit == 8


@given(st.lists(st.tuples(st.integers(1, 64), st.floats(0, 100)), min_size=1, max_size=60))
def test_no_sequence_of_batches_gives_negative_or_infinite_costs(batches: list[tuple[int, float]]) -> None:
    curve = CostCurve(64, 0.5)
    for n, seconds in batches:
        curve.learn(n, seconds)
        assert 0 <= curve.fixed_s < math.inf
        assert 0 <= curve.per_item_s < math.inf
        assert 1 <= curve.batch_limit <= 64


def test_batches_that_take_as_long_as_predicted_have_no_overrun() -> None:
    curve = CostCurve(32, 10.0)
    curve.seed([(1, 0.11), (32, 0.42)])
    for n in [1, 8, 32, 4] * 20:
        curve.learn(n, 0.1 + 0.01 * n)
    assert curve.overrun == pytest.approx(0.0, abs=1e-6)


def test_the_overrun_is_about_the_standard_deviation_of_batches_that_scatter() -> None:
    chance = random.Random(1)
    curve = CostCurve(32, 10.0)
    curve.seed([(1, 0.42), (32, 0.42)])
    seen = []
    for _ in range(500):
        curve.learn(32, 0.42 * chance.gauss(1.0, 0.1))
        seen.append(curve.overrun)
    assert statistics.fmean(seen[100:]) == pytest.approx(0.1, rel=0.2)


def test_a_curve_that_was_too_slow_gives_no_overrun() -> None:
    curve = CostCurve(32, 10.0)
    curve.seed([(1, 1.0), (32, 2.0)])
    for _ in range(30):
        curve.learn(32, 1.0)
    assert curve.overrun == pytest.approx(0.0, abs=0.01)


def test_one_batch_that_takes_very_long_counts_as_one_that_takes_twice_as_long() -> None:
    endless, double = CostCurve(32, 10.0), CostCurve(32, 10.0)
    for curve, seconds in ((endless, 1000.0), (double, 2.0)):
        curve.seed([(1, 1.0), (32, 1.0)])
        curve.learn(32, seconds)
    assert endless.overrun == pytest.approx(double.overrun)


def test_what_is_feared_of_a_model_is_forgotten_once_it_was_seen_at_work() -> None:
    curve = CostCurve(32, 10.0)
    curve.seed([(1, 0.42), (32, 0.42)])
    assert curve.feared_overrun == pytest.approx(0.15)
    for _ in range(200):
        curve.learn(32, 0.42)
    assert curve.feared_overrun == pytest.approx(curve.overrun, abs=0.01)


def test_a_curve_that_knew_nothing_is_not_surprised() -> None:
    curve = CostCurve(32, 10.0)
    curve.learn(8, 0.3)
    assert curve.overrun == 0.0


# -- how far bulk fills a batch ----------------------------------------------------------------------------------------


def seeded(fixed_s: float, per_item_s: float, max_size: int = 32, slo_s: float = 10.0) -> CostCurve:
    curve = CostCurve(max_size, slo_s)
    curve.seed([(n, fixed_s + per_item_s * n) for n in (1, max_size)])
    return curve


def test_bulk_fills_batches_far_enough_for_four_fifths_of_the_throughput() -> None:
    curve = seeded(0.005, 0.0005)
    n = curve.bulk_limit
    assert n == 16  # 13 ms, where a full batch takes 21
    full = 32 / curve.predict(32)
    assert n / curve.predict(n) >= 0.8 * full > (n - 1) / curve.predict(n - 1)


def test_bulk_fills_a_batch_that_takes_as_long_whatever_is_in_it() -> None:
    assert seeded(0.020, 0.0).bulk_limit == 32
    assert seeded(0.020, 0.00001).bulk_limit == 32


def test_bulk_runs_alone_where_a_batch_gains_nothing() -> None:
    assert seeded(0.0, 0.1).bulk_limit == 1


def test_bulk_fills_no_batch_further_than_the_promise_allows() -> None:
    curve = seeded(0.020, 0.001, slo_s=0.050)
    assert curve.bulk_limit <= curve.batch_limit == 5


@pytest.mark.parametrize("per_item_s", [0.0, 5e-324, 1e-300])
@pytest.mark.parametrize("fixed_s", [0.0, 5e-324, 0.02])
def test_times_next_to_nothing_give_a_limit_of_bulk_all_the_same(fixed_s: float, per_item_s: float) -> None:
    assert 1 <= seeded(fixed_s, per_item_s).bulk_limit <= 32


def test_a_curve_that_knows_nothing_does_not_limit_bulk() -> None:
    assert CostCurve(32, 10.0).bulk_limit == 32


@given(st.floats(0, 10), st.floats(0, 10), st.integers(1, 64), st.floats(0.001, 100))
def test_the_limit_of_bulk_is_always_within_that_of_batches(
    fixed_s: float, per_item_s: float, max_size: int, slo_s: float
) -> None:
    curve = seeded(fixed_s, per_item_s, max_size, slo_s)
    assert 1 <= curve.bulk_limit <= curve.batch_limit
