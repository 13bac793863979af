"""P12 in virtual time: the live router in front of live gates and batchers. Exact, so the goals are asserted."""

from __future__ import annotations

import pytest

from loadtest.arrivals import poisson
from loadtest.one_minion import GPU_LIKE
from loadtest.routed_minions import Counts, RoutedMinions


def run(times: list[float], load: float, seconds: float = 3.0, coordinators: int = 1) -> Counts:
    """Load is a share of what the replicas can do together; the first second is not counted."""
    rate = load * sum(GPU_LIKE.capacity / each for each in times)
    return RoutedMinions(GPU_LIKE, times, coordinators=coordinators).run(poisson(rate, seconds), begin=1.0)


@pytest.mark.parametrize(
    ("count", "coordinators", "load", "seconds"),
    [
        (2, 1, 0.8, 5.0),
        (2, 4, 0.8, 5.0),
        (8, 1, 0.95, 2.5),
        (8, 4, 0.95, 2.5),
        pytest.param(64, 1, 0.9, 1.3, marks=pytest.mark.slow),
        pytest.param(64, 4, 0.9, 1.3, marks=pytest.mark.slow),
    ],
)
def test_equal_replicas_refuse_nobody(count: int, coordinators: int, load: float, seconds: float) -> None:
    found = run([1.0] * count, load, seconds, coordinators)
    assert found.refused_share <= 0.001
    assert found.attempts_per_request <= 1.1
    assert found.late == 0


@pytest.mark.parametrize("coordinators", [1, 4])
@pytest.mark.parametrize("count", [2, 8])
def test_one_replica_at_half_speed_costs_nobody_a_refusal(count: int, coordinators: int) -> None:
    found = run([2.0, *[1.0] * (count - 1)], 0.8, 2.5, coordinators)
    assert found.refused_share <= 0.001
    assert found.attempts_per_request <= 1.1
    assert found.sent_to[0] > 0, "a replica at half speed is slow, not broken"


@pytest.mark.parametrize("coordinators", [1, 4])
def test_half_too_much_is_refused_and_little_more(coordinators: int) -> None:
    found = run([1.0] * 8, 1.5, 1.6, coordinators)
    assert found.refused_share <= 1 / 3 + 0.02
    assert found.attempts_per_request <= 1.1


def test_ten_times_too_much_does_not_multiply_the_attempts() -> None:
    assert run([1.0] * 2, 10.0, 1.3).attempts_per_request <= 1.1


def test_a_replica_that_becomes_ten_times_slower_is_left_out_within_five_seconds() -> None:
    def p99(makes_slow: bool) -> tuple[float, float]:
        routed = RoutedMinions(GPU_LIKE, [1.0, 1.0], deadline_s=1.0)
        slow = routed.minions[0]
        if makes_slow:
            routed.time.at(2.0, lambda: setattr(slow, "times", 10.0))
        counts = routed.run(poisson(0.3 * 2 * GPU_LIKE.capacity, 12.0), begin=7.0)
        assert counts.refused_share <= 0.001
        return counts.p99_s(), counts.sent_to.get(0, 0) / counts.attempts

    healthy_s, _ = p99(makes_slow=False)
    found_s, share = p99(makes_slow=True)
    assert found_s <= 2 * healthy_s
    assert share <= 0.15
