"""All processes on the cores of one machine."""

from __future__ import annotations

from typing import Any

import pytest

from loadtest.simulator.scenario import ScenarioError
from tests.loadtest.simulator.small_scenario import STEADY, cluster

EACH = {"message_ms": 0.1, "wake_ms": 0.05}
BUSY = {name: dict(EACH) for name in ("caller", "coordinator", "preprocessor", "host", "worker")}
SMALL = {"megapixels": 0.003, "kilobytes": 1, "decode_ms": 0.4}
NO_SCATTER: dict[str, Any] = {"models": {"steady": {**STEADY, "scatter": 0}}}
PREPROCESSOR = {"cores": 1, "scatter": 0}


def run(cores: int, rate_per_s: float = 200, **more: Any) -> Any:
    one_machine = {"cores": cores, **BUSY, **more}
    return cluster(
        one_machine=one_machine, photos=[SMALL], preprocessor=PREPROCESSOR, traffic={"rate_per_s": rate_per_s},
        seconds=3, **NO_SCATTER,
    )  # fmt: skip


def test_processes_that_cost_nothing_answer_as_those_on_machines_of_their_own() -> None:
    free = cluster(
        one_machine={"cores": 64}, photos=[SMALL], preprocessor=PREPROCESSOR, seconds=3, **NO_SCATTER
    ).run()
    apart = cluster(
        coordinator={"cpu_ms": 0}, photos=[SMALL], preprocessor=PREPROCESSOR, seconds=3, **NO_SCATTER
    ).run()
    assert free.figures.counts == apart.figures.counts
    for percent in (50.0, 99.0):
        assert free.latency_ms(percent) == pytest.approx(apart.latency_ms(percent), rel=0.01)


def test_one_seed_gives_one_result() -> None:
    assert run(2).run().document() == run(2).run().document()


@pytest.mark.parametrize("rate_per_s", [200, 1000])
def test_every_call_ends_once_and_nothing_keeps_a_place(rate_per_s: float) -> None:
    built = run(2, rate_per_s, decoder_start_ms=100, decoder_photos=500)
    built.run()
    ledger = built.ledger
    assert ledger.offered == ledger.ended > 0
    assert all(coordinator._gate.requests == 0 for coordinator in built.coordinators)
    assert all(machine.pending == 0 for fleet in built.fleets for machine in fleet.machines)


def test_the_work_of_all_hops_is_in_the_latency() -> None:
    result = run(64, rate_per_s=2).run()
    # caller 2, coordinator 3, preprocessor 2, host 2, worker 2 messages, all of which wake somebody; the network, the batch
    assert result.latency_ms(50.0) == pytest.approx(11 * 0.15 + 0.4 + 1 + 2 * (0.5 + 0.25) + 20, abs=0.3)


def test_fewer_cores_make_the_slowest_calls_slower() -> None:
    few, many = (run(cores, rate_per_s=800).run() for cores in (1, 8))
    assert few.latency_ms(99.0) > 1.3 * many.latency_ms(99.0)


def test_the_start_of_a_decoder_shows_in_the_slowest_calls_alone() -> None:
    calm, disturbed = (
        run(2, 800, decoder_start_ms=start_ms, decoder_photos=1000).run() for start_ms in (0, 200)
    )
    assert disturbed.latency_ms(50.0) == pytest.approx(calm.latency_ms(50.0), rel=0.03)
    assert disturbed.latency_ms(99.0) > calm.latency_ms(99.0) + 10


def test_a_decoder_is_replaced_after_as_many_photos_as_it_may_have_with_those_before() -> None:
    # some 2,400 photos come
    before, after = (
        run(2, 800, decoder_start_ms=200, decoder_photos=4000, decoder_served=served).run()
        for served in (0, 2800)
    )
    assert after.latency_ms(99.0) > before.latency_ms(99.0) + 10


def test_a_machine_that_all_share_is_not_lost_in_part() -> None:
    with pytest.raises(ScenarioError, match="must not be given where all run on one_machine"):
        cluster(one_machine={"cores": 2}, losses=[{"at_s": 5, "share": 0.5}])
