"""The simulated cluster: exact, repeatable, and nothing in it gets lost."""

from __future__ import annotations

import statistics
from typing import Any

import pytest

from loadtest.one_minion import SLEEPY, Arrival, OneMinion
from loadtest.simulator.result import Result
from loadtest.simulator.schedule import moments
from tests.loadtest.simulator.small_scenario import STEADY, cluster

NO_NETWORK = {"client_ms": 0, "preprocessor_ms": 0, "minion_ms": 0}
LIGHT = {"curve": [[1, 1], [8, 2]]}


def test_one_seed_gives_one_result_and_another_seed_another() -> None:
    first, again, other = (cluster(seed=seed, seconds=3).run().document() for seed in (1, 1, 2))
    assert first == again
    assert first != other


ODD: dict[str, dict[str, Any]] = {
    "calm": {},
    "overload": {"traffic": {"rate_per_s": 900}},
    "bursts": {"traffic": {"rate_per_s": 300, "shape": "bursts"}},
    "too many photos": {"photos": [{"megapixels": 12, "kilobytes": 2900, "decode_ms": 60}]},
    "impatient": {"traffic": {"rate_per_s": 600}, "call": {"deadline_ms": 60}},
    "a full coordinator": {"traffic": {"rate_per_s": 900}, "coordinator": {"places": 10}},
    "half of the machines die in silence": {
        "models": {"steady": {**STEADY, "replicas": 4}, "light": {**LIGHT, "replicas": 2}},
        "preprocessor": {"replicas": 2},
        "losses": [{"at_s": 1, "share": 0.5, "noticed_s": 1}],
        "boot_s": 0.5,
    },
    "all machines die": {
        "losses": [{"at_s": 1, "share": 1, "how": "broken", "noticed_s": 0.5}],
        "boot_s": 0.5,
    },
    "bulk beside": {"traffic": {"rate_per_s": 200, "bulk_per_s": 800}},
    "two coordinators": {"coordinator": {"processes": 2}, "models": {"steady": {**STEADY, "replicas": 3}}},
}


@pytest.mark.parametrize("more", ODD.values(), ids=ODD.keys())
def test_every_call_ends_once_and_nothing_keeps_a_place(more: dict[str, Any]) -> None:
    built = cluster(**{"seconds": 3, **more})
    built.run()
    ledger = built.ledger
    assert ledger.offered == ledger.ended > 0
    counted = sum(sum(outcomes.counts.values()) for outcomes in ledger.outcomes.values())
    assert counted == ledger.offered
    assert all(coordinator._gate.requests == 0 for coordinator in built.coordinators)
    assert all(
        machine.pending == 0
        for fleet in built.fleets
        for machine in fleet.machines
        if machine.state != "dead"
    )
    for coordinator in built.coordinators:
        assert [replica.outstanding for replica in coordinator._replicas.values()] == [0] * len(
            coordinator._replicas
        )


def test_little_s_law_holds() -> None:
    built = cluster(seconds=20, traffic={"rate_per_s": 300})
    inside: list[int] = []

    def look() -> None:
        inside.append(sum(each._gate.requests for each in built.coordinators))
        if built.agenda.now < 20:
            built.agenda.at(built.agenda.now + 0.01, look)

    built.agenda.at(1.0, look)
    built.run()
    ledger = built.ledger
    rate, mean_s = ledger.offered / 20, ledger.response_s / ledger.ended
    assert statistics.fmean(inside) == pytest.approx(rate * mean_s, rel=0.04)


@pytest.mark.parametrize("load", [0.5, 0.9, 2.0])
def test_one_minion_behind_a_coordinator_does_what_one_minion_does_alone(load: float) -> None:
    built = cluster(
        seconds=6,
        traffic={"rate_per_s": load * SLEEPY.capacity},
        network=NO_NETWORK,
        coordinator={"cpu_ms": 0, "places": 10_000},
        preprocessor={"cores": 256, "scatter": 0},
        models={"sleepy": {"curve": [[1, 20], [8, 20]], "slo_ms": 500, "scatter": 0}},
    )
    due = list(moments(built._read, built._chance))
    built.run()
    decode_s = 0.002
    alone = OneMinion(SLEEPY)
    alone.curve.seed(SLEEPY.points())
    ledger = alone.run(Arrival(at + decode_s, 5.0 - decode_s) for at in due)
    figures = built.ledger.outcomes["interactive"]
    assert figures.counts["ok"] == len(ledger.answers)
    assert figures.counts["refused"] == len(ledger.refused)
    assert figures.answered.mean_s == pytest.approx(statistics.fmean(ledger.latencies()) + decode_s)
    assert figures.answered.max_s == pytest.approx(ledger.latencies()[-1] + decode_s)
    assert built.batches["sleepy"].count == len(ledger.batches)


def test_a_call_ends_with_its_slowest_model() -> None:
    slow = {"curve": [[1, 100], [8, 100]], "scatter": 0, "slo_ms": 2000}
    result = cluster(models={"light": {**LIGHT, "scatter": 0}, "slow": slow}, traffic={"rate_per_s": 2}).run()
    assert result.latency_ms(50.0) == pytest.approx(100 + 2 + 1 + 1 + 2 * (0.5 + 0.25), abs=1.5)


def test_one_full_model_makes_answers_partial_and_where_all_are_needed_429s() -> None:
    models = {"steady": STEADY, "light": LIGHT}
    shares = {}
    for on_error in ("partial", "fail"):
        result = cluster(
            seconds=4, models=models, traffic={"rate_per_s": 800}, call={"on_error": on_error}
        ).run()
        shares[on_error] = (result.share("partial"), result.share("refused"))
    assert shares["partial"] == (pytest.approx(0.5, abs=0.05), 0.0)
    assert shares["fail"] == (0.0, pytest.approx(0.5, abs=0.05))


def test_more_photos_than_the_cores_decode_are_refused_before_any_model_sees_them() -> None:
    result = cluster(
        photos=[{"megapixels": 12, "kilobytes": 2900, "decode_ms": 40}], preprocessor={"cores": 4}, seconds=15
    ).run()
    assert result.goodput_per_s <= 100
    assert result.share("refused") == pytest.approx(0.5, abs=0.1)


def test_bulk_is_refused_before_anyone_who_waits() -> None:
    ledger = cluster(seconds=4, traffic={"rate_per_s": 200, "bulk_per_s": 1200}).run().ledger
    assert ledger.outcomes["interactive"].counts["refused"] == 0
    assert ledger.outcomes["bulk"].counts["refused"] > 0.5 * ledger.outcomes["bulk"].offered


def test_a_coordinator_whose_thread_is_full_answers_later_and_not_more() -> None:
    light, heavy = (
        cluster(coordinator={"cpu_ms": cpu_ms, "places": 100_000}, seconds=3).run() for cpu_ms in (0.1, 4.5)
    )
    assert (heavy.latency_ms(50.0) or 0) > (light.latency_ms(50.0) or 0) + 4


def test_two_coordinators_share_the_calls() -> None:
    built = cluster(coordinator={"processes": 2}, models={"steady": {**STEADY, "replicas": 2}})
    result = built.run()
    sent = [coordinator.attempts for coordinator in built.coordinators]
    assert sum(sent) == result.attempts
    assert min(sent) > 0.45 * result.attempts


# -- machines that die -------------------------------------------------------------------------------------------------


def lost(how: str, **more: Any) -> Result:
    return cluster(
        seconds=30,
        traffic={"rate_per_s": 80},
        models={"steady": {**STEADY, "replicas": 4}},
        preprocessor={"replicas": 4, "cores": 2},
        losses=[{"at_s": 10, "share": 0.34, "how": how, "noticed_s": 3}],
        boot_s=5,
        **more,
    ).run()


@pytest.mark.parametrize("how", ["broken", "silent"])
def test_a_third_of_the_machines_may_die_and_no_call_is_lost(how: str) -> None:
    result = lost(how)
    assert result.figures.counts["failed"] == result.figures.counts["lost"] == 0
    assert result.share("refused") == 0
    assert result.second_tries["ok"] > 0


@pytest.mark.parametrize("more", [{}, {"autoscaler": {"period_s": 1}}], ids=["fixed", "scaled"])
def test_what_died_is_replaced_once_that_was_noticed(more: dict[str, Any]) -> None:
    result = lost("silent", **more)
    ready = [(moment.begin, moment.ready["steady"]) for moment in result.ledger.moments]
    assert min(count for at, count in ready if 10.5 < at < 17.5) == 3
    assert {count for at, count in ready if at > 18.5} == {4}


def test_without_second_tries_a_machine_that_dies_costs_calls() -> None:
    # one replica: there is no other one to try
    result = cluster(
        losses=[{"at_s": 5, "share": 1, "of": ["steady"], "how": "broken", "noticed_s": 1}], boot_s=1
    ).run()
    assert result.figures.codes["not_ready"] > 0


def test_a_machine_is_paid_for_while_it_boots_and_not_once_it_is_dead() -> None:
    result = lost("broken", machines={"gpu": {"price_per_hour": 2}})
    hours = {cost.fleet: cost.hours for cost in result.costs}
    # three of four for 30 s, one for 10 s, its successor from second 13 on
    assert hours["steady"] * 3600 == pytest.approx(3 * 30 + 10 + 17)


def test_the_price_is_that_of_the_kind_of_machine() -> None:
    result = cluster(
        machines={"gpu": {"price_per_hour": 3.6}},
        models={"steady": {**STEADY, "replicas": 2, "machine": "gpu"}},
    ).run()
    assert result.price == pytest.approx(2 * 10 / 3600 * 3.6)
    assert result.hours == pytest.approx(2 * 10 / 3600)


def test_the_rate_follows_the_wave_and_a_time_lapse_changes_neither_rate_nor_hours() -> None:
    wave = {"rate_per_s": 50, "wave": {"low_per_s": 10, "period_s": 240}}
    whole = cluster(seconds=240, traffic=wave)
    part = cluster(seconds=240, traffic=wave, time_lapse=6)
    assert whole.run().offered_per_s == pytest.approx(30, rel=0.05)
    result = part.run()
    assert result.offered_per_s == pytest.approx(30, rel=0.1)
    assert part.ledger.offered == pytest.approx(whole.ledger.offered / 6, rel=0.1)
    assert result.costs[0].hours == pytest.approx(240 / 3600)
    peak = max(result.ledger.moments, key=lambda moment: moment.offered)
    assert 60 < peak.begin * 6 < 180
