"""The autoscaler's rule: on single windows, and over hours of virtual time with a fluid model of the replicas."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.autoscaler import Autoscaler, Limits, Sample, decide, hold_s, need_of
from tests.deploy.fluid_fleet import FluidFleet

WIDE = Limits(1, 100)


def sample(
    at: float, accepted: float, refused: float = 0.0, busy: float = 1.0, ready: int = 1, starting: int = 0
) -> Sample:
    return Sample(at, accepted, refused, busy, ready, starting)


def twice(**members: float) -> list[Sample]:
    """The same period two times."""
    return [sample(15.0, **members), sample(30.0, **members)]  # type: ignore[arg-type]


# -- one window ----------------------------------------------------------------------------------------------------


def test_two_full_replicas_that_refuse_a_third_become_three() -> None:
    assert decide(30.0, twice(accepted=200, refused=100, ready=2), WIDE).wanted == 3


def test_three_idle_replicas_become_one() -> None:
    assert decide(30.0, twice(accepted=0, busy=0.0, ready=3), WIDE).wanted == 1


def test_how_many_follows_from_offered_over_accepted_and_not_from_the_share_refused() -> None:
    # a fifth is refused: a quarter more is needed, however small the share that one would like to see
    assert decide(30.0, twice(accepted=80, refused=20, ready=4), WIDE).wanted == 5


def test_refusals_of_one_period_alone_change_nothing() -> None:
    samples = [sample(15.0, 100, 0), sample(30.0, 100, 200)]
    assert decide(30.0, samples, WIDE).wanted == 1


def test_a_share_of_one_in_a_hundred_is_tolerated() -> None:
    assert decide(30.0, twice(accepted=396, refused=4, ready=4), WIDE).wanted == 4
    assert decide(30.0, twice(accepted=395, refused=5, ready=4), WIDE).wanted == 5


def test_a_full_fleet_that_refuses_nobody_stays_as_it_is() -> None:
    assert decide(30.0, twice(accepted=100, busy=1.0, ready=3), WIDE).wanted == 3


def test_down_only_to_what_would_be_busy_below_the_target() -> None:
    assert decide(30.0, twice(accepted=100, busy=0.54, ready=4), WIDE).wanted == 4
    assert decide(30.0, twice(accepted=100, busy=0.51, ready=4), WIDE).wanted == 3


def test_down_goes_to_half_at_most() -> None:
    assert decide(30.0, twice(accepted=1, busy=0.01, ready=9), WIDE).wanted == 4


def test_up_goes_by_four_or_to_three_times_as_many_at_most() -> None:
    assert decide(30.0, twice(accepted=1, refused=99), WIDE).wanted == 5
    assert decide(30.0, twice(accepted=10, refused=990, ready=10), WIDE).wanted == 30


def test_replicas_that_are_starting_count_into_how_far_it_may_go() -> None:
    assert decide(30.0, twice(accepted=1, refused=99, ready=1, starting=4), WIDE).wanted == 15


def test_while_replicas_are_starting_a_tenth_of_them_more_is_not_asked_for() -> None:
    assert decide(30.0, twice(accepted=100, refused=325, ready=1, starting=3), WIDE).wanted == 4
    assert decide(30.0, twice(accepted=100, refused=325, ready=1), WIDE).wanted == 5


def test_a_replica_that_became_ready_within_the_period_does_not_multiply_the_demand() -> None:
    # one of one refused two thirds until the very end, when three more were ready
    samples = [sample(15.0, 100, 200), sample(30.0, 100, 200, ready=4)]
    assert decide(30.0, samples, WIDE).wanted == 4


def test_min_and_max_are_kept() -> None:
    assert decide(30.0, twice(accepted=0, busy=0.0, ready=3), Limits(2, 4)).wanted == 2
    assert decide(30.0, twice(accepted=10, refused=990, ready=3), Limits(2, 4)).wanted == 4


def test_without_anything_known_it_is_min() -> None:
    assert decide(0.0, [], Limits(2, 4)).wanted == 2


def test_nothing_accepted_is_no_division_by_zero() -> None:
    assert decide(30.0, twice(accepted=0, refused=100), WIDE).wanted == 5


def test_when_all_replicas_are_lost_as_many_are_wanted_as_were_needed() -> None:
    samples = [*twice(accepted=400, busy=0.9, ready=4), sample(45.0, 0, 0, 0.0, ready=0)]
    assert decide(45.0, samples, WIDE).wanted == 4


def test_a_need_is_remembered_for_the_cooldown() -> None:
    samples = [
        *twice(accepted=400, busy=0.9, ready=4),
        *(sample(45.0 + 15 * n, 10, busy=0.1, ready=4) for n in range(30)),
    ]
    assert decide(329.0, [each for each in samples if each.at <= 329], WIDE).wanted == 4
    assert decide(330.0, [each for each in samples if each.at <= 330], WIDE).wanted == 2


def test_what_takes_long_to_start_is_kept_longer() -> None:
    assert [hold_s(boot_s) for boot_s in (60.0, 150.0, 151.0, 600.0, 6000.0)] == [300, 300, 600, 1200, 2400]


@pytest.mark.parametrize(
    ("samples", "limits", "why"),
    [
        (twice(accepted=200, refused=100, ready=2), WIDE, "429s: 2 replicas refused 33 % of what was offered"),
        (twice(accepted=100, refused=900), Limits(1, 4), "429s: 5 are needed, but max is 4"),
        ([sample(15.0, 9), sample(30.0, 9, 9)], WIDE, "429s in one period: 1 replica, waiting whether they last"),
        (twice(accepted=9, busy=0.8, ready=2), WIDE, "steady: no 429s, busy 80 %"),
        (twice(accepted=9, busy=0.1, ready=4), WIDE, "4 replicas busy 10 %: 2 would do"),
        (twice(accepted=0, busy=0.0), Limits(2, 4), "busy 0 %: min"),
        (twice(accepted=0, busy=0.0, ready=0, starting=1), WIDE, "no replica is ready"),
        (
            [*twice(accepted=9, busy=0.8, ready=4), sample(45.0, 9, busy=0.1, ready=4)],
            WIDE,
            "cooling down: 2 would do, 4 were needed 15 s ago",
        ),
    ],
)  # fmt: skip
def test_it_says_why(samples: list[Sample], limits: Limits, why: str) -> None:
    assert decide(samples[-1].at, samples, limits).why == why


SAMPLES = st.lists(
    st.builds(
        Sample,
        at=st.just(0.0),
        accepted=st.floats(0, 1e6),
        refused=st.floats(0, 1e6),
        busy_ratio=st.floats(0, 1),
        ready=st.integers(0, 50),
        starting=st.integers(0, 50),
    ),
    max_size=40,
)


@given(SAMPLES, st.integers(1, 10), st.integers(0, 40))
def test_whatever_was_seen_it_stays_within_its_limits_and_says_why(
    seen: list[Sample], least: int, more: int
) -> None:
    scaler = Autoscaler(Limits(least, least + more))
    for number, each in enumerate(seen):
        at = 15.0 * number
        decision = scaler.decide(
            at, Sample(at, each.accepted, each.refused, each.busy_ratio, each.ready, each.starting)
        )
        assert least <= decision.wanted <= least + more and decision.why


@given(SAMPLES, st.integers(1, 1500))
def test_what_it_keeps_of_the_past_is_all_that_it_needs(seen: list[Sample], boot_s: int) -> None:
    scaler, whole = Autoscaler(WIDE), []
    for number, each in enumerate(seen):
        at = 60.0 * number
        moved = Sample(at, each.accepted, each.refused, each.busy_ratio, each.ready, each.starting)
        whole.append(moved)
        assert scaler.decide(at, moved, boot_s) == decide(at, whole, WIDE, boot_s)


def test_a_need_is_of_its_own_period_and_the_one_before() -> None:
    assert need_of(sample(30.0, 100, 100), sample(15.0, 100, 100)) == 2
    assert need_of(sample(30.0, 100, 100), None) == 1


# -- virtual time --------------------------------------------------------------------------------------------------


def test_a_sine_of_an_hour_turns_the_number_once_per_half_period() -> None:
    fleet = FluidFleet(lambda t: 25 - 20 * math.cos(2 * math.pi * t / 3600), Limits(1, 20))
    fleet.run(2 * 3600)
    for half in range(4):
        assert len(fleet.turns(half * 1800, (half + 1) * 1800)) <= 1
    assert max(wanted for _, wanted, _ in fleet.wanted) == 5
    assert min(wanted for at, wanted, _ in fleet.wanted if at > 600) <= 2


@pytest.mark.parametrize("base", [0.7, 1.0])
def test_after_a_step_from_1x_to_4x_the_429s_end_within_boot_and_a_minute(base: float) -> None:
    fleet = FluidFleet(lambda t: 10 * base * (1 if t < 600 else 4), Limits(1, 20))
    fleet.run(1800)
    assert fleet.refused_share(600 + 60 + 60, 1800) < 0.01
    assert fleet.turns() == []


@pytest.mark.parametrize("phase_s", [0.0, 1.0, 7.5, 14.5])
@pytest.mark.parametrize("ready", [1, 3, 10])
def test_after_a_3x_step_enough_replicas_are_asked_for_within_two_periods(ready: int, phase_s: float) -> None:
    begins = 600 + phase_s
    fleet = FluidFleet(lambda t: 7 * ready * (1 if t < begins else 3), Limits(1, 100), ready=ready)
    fleet.run(1200)
    needed = math.ceil(0.99 * 2.1 * ready)
    asked = next(at for at, wanted, _ in fleet.wanted if wanted >= needed)
    assert asked <= begins + 2 * 15
    assert len(fleet.turns(begins, begins + 300)) <= 1
    assert max(wanted for _, wanted, _ in fleet.wanted) <= needed + 1


def test_load_that_falls_is_followed_in_one_direction() -> None:
    fleet = FluidFleet(lambda t: 5.0 if t < 300 or t > 2000 else 30.0, Limits(1, 4))
    fleet.run(4500)
    assert [wanted for _, wanted, _ in fleet.wanted][-1] == 1
    assert len(fleet.turns()) == 1


def test_a_long_boot_is_not_asked_for_again_and_again() -> None:
    fleet = FluidFleet(lambda t: 10.0 if t < 600 else 40.0, Limits(1, 100), boot_s=600.0)
    fleet.run(3000)
    assert max(wanted for _, wanted, _ in fleet.wanted) == 4


def test_what_gates_do_not_refuse_for_want_of_room_starts_nothing() -> None:
    # an attack with requests that end in 400, 401, 404, 415 or 422 is in neither figure: to the gates it is not there
    fleet = FluidFleet(lambda t: 6.0, Limits(1, 10))
    fleet.run(3600)
    assert {wanted for _, wanted, _ in fleet.wanted} == {1}


def test_noise_about_a_full_fleet_does_not_make_it_flap() -> None:
    noise = [0.97, 1.02, 1.0, 1.04, 0.95, 1.01, 0.99]
    fleet = FluidFleet(lambda t: 40 * noise[int(t / 5) % 7], Limits(1, 20), ready=4)
    fleet.run(3600)
    assert fleet.turns() == []
