"""The lanes under load, in virtual time: bulk fills what interactive leaves, and interactive hardly notices."""

from __future__ import annotations

import heapq
import statistics

import pytest

from crema.names import Lane
from loadtest.arrivals import poisson
from loadtest.one_minion import GPU_LIKE, SLEEPY, Arrival, Ledger, OneMinion, Profile

BATCHES = 250


def mixed(model: Profile, interactive: float, bulk: float) -> Ledger:
    """Both lanes at these multiples of the capacity; bulk is more patient."""
    minion, seconds = OneMinion(model), BATCHES * model.seconds(model.max_size)
    minion.curve.seed(model.points())

    def of(lane: Lane, load: float, within: float, seed: int) -> list[Arrival]:
        if not load:
            return []
        return [Arrival(at, within, lane) for at in poisson(load * model.capacity, seconds, seed)]

    arrivals = of("interactive", interactive, model.slo_s, 1), of("bulk", bulk, 10 * model.slo_s, 2)
    return minion.run(heapq.merge(*arrivals, key=lambda arrival: arrival.at))


def goodput(ledger: Ledger, model: Profile, lane: Lane | None = None) -> float:
    """As a share of the capacity."""
    return ledger.goodput(0, BATCHES * model.seconds(model.max_size), lane) / model.capacity


def refused(ledger: Ledger, lane: Lane) -> list[str]:
    return [entry.refusal.reason for entry in ledger.refused if entry.lane == lane]


MODELS = pytest.mark.parametrize("model", [GPU_LIKE, SLEEPY], ids=["gpu-like", "sleepy"])


@pytest.mark.parametrize(
    ("model", "least"),
    [pytest.param(GPU_LIKE, 0.80, id="gpu-like"), pytest.param(SLEEPY, 0.97, id="sleepy")],
)
def test_a_flood_of_bulk_fills_the_worker_as_far_as_short_batches_go(model: Profile, least: float) -> None:
    ledger = mixed(model, 0.3, 3.0)
    assert goodput(ledger, model) >= least
    assert refused(ledger, "interactive") == []
    assert goodput(ledger, model, "bulk") >= least - 0.35
    assert max(ledger.latencies()) <= 0.6 * model.slo_s


@MODELS
def test_bulk_alone_may_use_the_whole_worker(model: Profile) -> None:
    ledger = mixed(model, 0.0, 3.0)
    assert goodput(ledger, model, "bulk") >= 0.97


@MODELS
def test_near_its_limit_interactive_is_refused_no_more_than_without_bulk(model: Profile) -> None:
    alone, beside = mixed(model, 0.9, 0.0), mixed(model, 0.9, 3.0)
    asked = len(alone.answers) + len(refused(alone, "interactive"))
    more = len(refused(beside, "interactive")) - len(refused(alone, "interactive"))
    assert more <= 0.005 * asked
    assert goodput(beside, model, "bulk") > 0.01  # and bulk is not starved


@MODELS
def test_an_overload_of_interactive_leaves_nothing_for_bulk(model: Profile) -> None:
    ledger = mixed(model, 2.0, 3.0)
    assert goodput(ledger, model, "interactive") >= 0.95
    assert goodput(ledger, model, "bulk") <= 0.02


@MODELS
def test_bulk_waits_longer_than_interactive(model: Profile) -> None:
    ledger = mixed(model, 0.5, 3.0)
    assert statistics.fmean(ledger.latencies("bulk")) > 1.2 * statistics.fmean(ledger.latencies())


@MODELS
def test_bulk_that_is_kept_out_is_told_so_and_when_to_come_back(model: Profile) -> None:
    ledger = mixed(model, 0.6, 3.0)
    assert set(refused(ledger, "bulk")) == {"bulk"}
    assert all(entry.refusal.retry_after_s > 0 for entry in ledger.refused)
