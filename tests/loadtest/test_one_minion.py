"""One minion in virtual time: latency, throughput, overload and wrong cost curves, for a quick model and a slow one.

The goals are P7 to P11 of the project's performance goals. No machine is involved: a figure here changes only with the code.
"""

from __future__ import annotations

import random
import statistics
from collections.abc import Iterator

import pytest

from loadtest.arrivals import bursts, poisson
from loadtest.one_minion import GPU_LIKE, SEED_LIKE, SLEEPY, Arrival, Ledger, OneMinion, Profile

PROFILES = pytest.mark.parametrize("model", [GPU_LIKE, SEED_LIKE], ids=["gpu-like", "seed-like"])
OVERLOAD = pytest.mark.parametrize("load", [2.0, 4.0])


def seconds_of(model: Profile) -> float:
    """Long enough for some hundreds of full batches."""
    return 150 * model.seconds(model.max_size)


def at_load(model: Profile, load: float, seed: int = 1) -> Iterator[Arrival]:
    """Poisson arrivals at a multiple of the capacity, each of which must be answered within the model's promise."""
    return (Arrival(at, model.slo_s) for at in poisson(load * model.capacity, seconds_of(model), seed))


def seeded(model: Profile, times: float = 1.0, **more: object) -> OneMinion:
    """A minion that starts from a cost curve that is wrong by a factor."""
    minion = OneMinion(model, **more)  # type: ignore[arg-type]
    minion.curve.seed(model.points(times))
    return minion


def scattered(
    model: Profile, load: float, times: float = 1.0, runs: int = 2, scatter: float = 0.1
) -> list[Ledger]:
    """Some runs of a model whose times scatter around its formula: by a tenth, unless told otherwise."""

    def run(seed: int) -> Ledger:
        chance = random.Random(seed)
        minion = seeded(model, times, service=lambda n: model.seconds(n) * max(0.5, chance.gauss(1, scatter)))
        return minion.run(at_load(model, load, seed))

    return [run(seed) for seed in range(1, runs + 1)]


def goodput_of(ledgers: list[Ledger], model: Profile, after: int = 0) -> float:
    """Share of the capacity, over all runs, once `after` batches have ended."""

    def of(ledger: Ledger) -> float:
        begin = ledger.batches[after - 1][0] if after else 0.0
        return ledger.goodput(begin, seconds_of(model)) / model.capacity

    return statistics.fmean(map(of, ledgers))


def late_share_of(ledgers: list[Ledger], after: int = 0) -> float:
    """Share of the admitted, over all runs, once `after` batches have ended."""
    return statistics.fmean(
        ledger.late_share(begin=ledger.batches[after - 1][0] if after else 0.0) for ledger in ledgers
    )


def late_binding_mean(model: Profile, arrivals: list[float], limit: int) -> float:
    """Mean latency of the plainest late binding, written down independently: a free worker takes what waits."""
    free_at, first, latencies = 0.0, 0, list[float]()
    while first < len(arrivals):
        begin, last = max(free_at, arrivals[first]), first
        while last < len(arrivals) and last - first < limit and arrivals[last] <= begin:
            last += 1
        free_at = begin + model.seconds(last - first)
        latencies += [free_at - at for at in arrivals[first:last]]
        first = last
    return statistics.fmean(latencies)


# -- P7: latency -------------------------------------------------------------------------------------------------------


@PROFILES
def test_an_idle_minion_answers_after_the_time_of_a_batch_of_one(model: Profile) -> None:
    gap = 10 * model.seconds(1)
    ledger = seeded(model).run(Arrival(gap * i, model.slo_s) for i in range(3))
    assert ledger.latencies() == pytest.approx([model.seconds(1)] * 3)


@PROFILES
@pytest.mark.parametrize("load", [0.3, 0.6, 0.9])
def test_the_mean_latency_is_that_of_plain_late_binding(model: Profile, load: float) -> None:
    minion = seeded(model)
    ledger = minion.run(at_load(model, load))
    reference = late_binding_mean(model, [a.at for a in at_load(model, load)], minion.curve.batch_limit)
    assert statistics.fmean(ledger.latencies()) <= 1.1 * reference
    if not ledger.refused:
        assert statistics.fmean(ledger.latencies()) == pytest.approx(reference)


@pytest.mark.parametrize("load", [0.3, 0.6])
def test_a_batch_handed_over_just_in_time_is_quicker_than_one_at_once_or_one_after_the_other(
    load: float,
) -> None:
    def mean(**how: object) -> float:
        minion = seeded(GPU_LIKE, host_s=lambda n: 0.001 + 0.0001 * n, **how)
        return statistics.fmean(minion.run(at_load(GPU_LIKE, load)).latencies())

    just_in_time = mean(in_flight=2)
    assert just_in_time < 0.95 * mean(in_flight=1)
    assert just_in_time < 0.80 * mean(in_flight=2, eager=True)


# -- P8: throughput ----------------------------------------------------------------------------------------------------


@PROFILES
def test_a_saturated_minion_runs_full_batches_without_a_pause(model: Profile) -> None:
    minion = seeded(model)
    ledger = minion.run(at_load(model, 3.0))
    limit = minion.curve.batch_limit
    assert len(ledger.answers) / ledger.ended_at >= 0.97 * limit / model.seconds(limit)


@PROFILES
@pytest.mark.parametrize("in_flight", [1, 2])
def test_the_host_s_work_costs_a_saturated_minion_no_throughput(model: Profile, in_flight: int) -> None:
    minion = seeded(model, in_flight=in_flight, host_s=lambda n: 0.1 * model.seconds(n))
    ledger = minion.run(at_load(model, 3.0))
    limit = minion.curve.batch_limit
    assert len(ledger.answers) / ledger.ended_at >= 0.97 * limit / model.seconds(limit)


# -- P9: overload ------------------------------------------------------------------------------------------------------


@PROFILES
@pytest.mark.parametrize("load", [2.0, 4.0, 10.0])
def test_overload_is_refused_and_what_is_admitted_is_answered_in_time(model: Profile, load: float) -> None:
    ledger = seeded(model).run(at_load(model, load))
    assert ledger.goodput(0, seconds_of(model)) >= 0.95 * model.capacity
    assert ledger.late_share() <= 0.01
    assert max(ledger.latencies()) <= model.slo_s + 1e-9


@PROFILES
def test_overload_in_bursts_is_survived_as_well(model: Profile) -> None:
    rate, seconds = 4 * model.capacity, seconds_of(model)
    ledger = seeded(model).run(Arrival(at, model.slo_s) for at in bursts(rate, seconds))
    assert ledger.goodput(0, seconds) >= 0.95 * model.capacity
    assert ledger.late_share() <= 0.01


@pytest.mark.parametrize(
    ("model", "load", "runs"),
    [(SEED_LIKE, load, 8) for load in (1.0, 2.0, 4.0, 10.0)]
    + [(GPU_LIKE, load, 1) for load in (2.0, 4.0, 10.0)],
)
def test_a_model_whose_times_scatter_by_a_tenth_answers_in_time_whatever_the_chance(
    model: Profile, load: float, runs: int
) -> None:
    ledgers = scattered(model, load, runs=runs)
    assert max(ledger.late_share() for ledger in ledgers) <= 0.01
    if load > 1:
        assert goodput_of(ledgers, model) >= 0.95


@pytest.mark.parametrize("load", [2.0, 4.0, 10.0])
def test_a_model_whose_times_scatter_by_a_fifth_stays_busy_and_answers_nearly_all_in_time(
    load: float,
) -> None:
    ledgers = scattered(SEED_LIKE, load, runs=8, scatter=0.2)
    assert goodput_of(ledgers, SEED_LIKE) >= 0.95
    assert late_share_of(ledgers) <= 0.01


@PROFILES
def test_after_an_overload_the_first_who_comes_is_answered_as_ever(model: Profile) -> None:
    after = seconds_of(model) + model.slo_s
    minion = seeded(model)
    ledger = minion.run([*at_load(model, 4.0), Arrival(after, model.slo_s)])
    assert ledger.answers[-1].seconds == pytest.approx(model.seconds(1))


@PROFILES
def test_who_comes_back_when_told_to_is_let_in(model: Profile) -> None:
    crowd = [Arrival(0.0, model.slo_s)] * (8 * model.max_size)
    refused = seeded(model).run(crowd).refused
    assert refused
    again = Arrival(refused[-1].refusal.retry_after_s, model.slo_s)
    assert len(seeded(model).run([*crowd, again]).refused) == len(refused)


# -- P10, P11: a cost curve that is wrong at first ---------------------------------------------------------------------


@PROFILES
@OVERLOAD
def test_a_curve_that_starts_half_as_dear_again_too_cheap_heals(model: Profile, load: float) -> None:
    ledger = seeded(model, 1 / 1.5).run(at_load(model, load))
    assert ledger.goodput(0, seconds_of(model)) >= 0.90 * model.capacity
    assert ledger.late_share(begin=ledger.batches[19][0]) <= 0.02


@PROFILES
@OVERLOAD
def test_a_curve_that_starts_twice_too_dear_serves_from_the_first_request_and_heals(
    model: Profile, load: float
) -> None:
    ledger = seeded(model, 2.0).run(at_load(model, load))
    first = next(at_load(model, load))
    assert ledger.batches[0] == (pytest.approx(first.at + model.seconds(1)), 1)
    healed = ledger.batches[49][0]
    assert ledger.goodput(healed, seconds_of(model)) >= 0.90 * model.capacity


@PROFILES
@OVERLOAD
def test_a_minion_that_knows_nothing_of_its_model_learns_it_from_the_batches(
    model: Profile, load: float
) -> None:
    minion = OneMinion(model)
    ledger = minion.run(at_load(model, load))
    assert ledger.goodput(0, seconds_of(model)) >= 0.90 * model.capacity
    assert ledger.late_share(begin=ledger.batches[19][0]) <= 0.02
    limit = minion.curve.batch_limit
    assert minion.curve.predict(limit) == pytest.approx(model.seconds(limit), rel=0.01)


@PROFILES
@OVERLOAD
def test_a_curve_that_is_too_cheap_heals_although_the_times_scatter(model: Profile, load: float) -> None:
    ledgers = scattered(model, load, 1 / 1.5)
    assert goodput_of(ledgers, model) >= 0.90
    assert late_share_of(ledgers, after=20) <= 0.02


@PROFILES
@OVERLOAD
def test_a_curve_that_is_too_dear_heals_although_the_times_scatter(model: Profile, load: float) -> None:
    assert goodput_of(scattered(model, load, 2.0), model, after=50) >= 0.90


# -- the rest of what the parts promise together -----------------------------------------------------------------------


def test_a_declared_wait_fills_the_batch_and_is_not_added_when_it_is_full() -> None:
    ledger = seeded(GPU_LIKE, max_wait_s=0.010).run([Arrival(0.0), Arrival(0.004)])
    assert ledger.batches == [(pytest.approx(0.010 + GPU_LIKE.seconds(2)), 2)]
    ledger = seeded(GPU_LIKE, max_wait_s=0.010).run(Arrival(0.0) for _ in range(32))
    assert ledger.batches == [(pytest.approx(GPU_LIKE.seconds(32)), 32)]


def test_without_deadlines_the_promise_of_the_model_bounds_the_wait() -> None:
    ledger = seeded(GPU_LIKE).run(Arrival(a.at) for a in at_load(GPU_LIKE, 4.0))
    assert max(ledger.latencies()) <= GPU_LIKE.slo_s + 1e-9
    assert ledger.refused


def test_a_request_of_n_items_is_answered_when_its_last_item_is() -> None:
    ledger = seeded(GPU_LIKE).run([Arrival(0.0, n=40)])
    assert [n for _, n in ledger.batches] == [32, 8]
    assert ledger.latencies() == pytest.approx([GPU_LIKE.seconds(32) + GPU_LIKE.seconds(8)])


def test_every_place_is_given_back() -> None:
    minion = seeded(GPU_LIKE, 1 / 1.5, in_flight=2, host_s=lambda n: 0.001)
    minion.run(at_load(GPU_LIKE, 4.0))
    assert (minion.gate.pending, len(minion.batcher), len(minion.in_flight)) == (0, 0, 0)


# -- W3: 20 ms per batch of 8, nothing tuned ---------------------------------------------------------------------------


@pytest.mark.parametrize(("load", "least"), [(1.0, 0.95), (2.0, 0.98), (4.0, 0.98), (10.0, 0.98)])
def test_a_host_that_takes_a_millisecond_per_batch_costs_a_sleeping_model_nothing(
    load: float, least: float
) -> None:
    ledger = seeded(SLEEPY, host_s=lambda n: 0.001).run(at_load(SLEEPY, load))
    assert ledger.goodput(0, seconds_of(SLEEPY)) >= least * SLEEPY.capacity
    assert ledger.late_share() == 0
    assert max(ledger.latencies()) <= 0.11  # the places bound the wait long before the promise does
