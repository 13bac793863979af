"""Fleets in the simulation: the live autoscaler decides, on what a live one would see."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from deploy.autoscaler import Limits, decide
from deploy.replica_figures import Replicas, read_figures
from loadtest.simulator.cluster import Cluster
from tests.loadtest.simulator.small_scenario import cluster

SLOW = {"curve": [[1, 1000], [8, 2000]], "slo_ms": 8000, "replicas": {"min": 1, "max": 6}}
"""4 photos a second, so that an hour is a few thousand calls."""


def scaled(seconds: float, traffic: dict[str, Any], **more: Any) -> Cluster:
    built = cluster(
        seconds=seconds,
        traffic=traffic,
        slo_ms=8000,
        models={"slow": SLOW},
        autoscaler={"period_s": 15, "cooldown_s": 300},
        **{"boot_s": 60, "call": {"deadline_ms": 20000}, **more},
    )
    built.run()
    return built


STEP = {"steps": [{"at_s": 0, "rate_per_s": 2.8}, {"at_s": 120, "rate_per_s": 11.2}]}


def turns(wanted: list[int]) -> int:
    """How often a number changed its direction."""
    moves = [later - earlier for earlier, later in pairwise(wanted) if later != earlier]
    return sum((one > 0) != (other > 0) for one, other in pairwise(moves))


def test_a_step_to_four_times_the_load_is_refused_less_than_one_percent_once_machines_have_booted() -> None:
    built = scaled(600, STEP)
    after = [moment for moment in built.ledger.moments if moment.begin >= 120 + 60 + 60]
    offered = sum(moment.offered for moment in after)
    assert sum(moment.kinds.get("refused", 0) for moment in after) < 0.01 * offered
    assert turns([1, *(change.wanted for change in built.fleets[0].changes)]) == 0


def test_a_wave_of_an_hour_changes_direction_once_per_half_of_it() -> None:
    built = scaled(3600, {"rate_per_s": 10, "wave": {"low_per_s": 2, "period_s": 3600}})
    wanted = [1, *(change.wanted for change in built.fleets[0].changes)]
    assert max(wanted) >= 3
    assert turns(wanted) <= 2


def test_the_autoscaler_decides_as_a_live_one_that_is_shown_the_same_window() -> None:
    built = scaled(900, STEP)
    fleet = built.fleets[0]
    wanted = {change.at: change.wanted for change in fleet.changes}
    current = fleet.limits.min
    for index, sample in enumerate(fleet.samples):
        live = decide(sample.at, fleet.samples[: index + 1], Limits(1, 6), boot_s=60, cooldown_s=300)
        current = wanted.get(sample.at, current)
        assert live.wanted == current
    assert len(wanted) >= 1


def test_its_figures_are_those_that_a_supervisor_reads_from_metrics() -> None:
    """One period's gate decisions, once as the simulation counts them and once through `/metrics`."""
    built = scaled(300, STEP)
    sample = max(built.fleets[0].samples, key=lambda each: each.refused)
    shown = "\n".join(
        [
            f'crema_items_total{{tier="minion",lane="interactive",decision="accepted"}} {sample.accepted}',
            f'crema_items_total{{tier="minion",lane="interactive",decision="full"}} {sample.refused}',
            f"crema_load_ratio {sample.busy_ratio}",
            "crema_ready 1",
        ]
    )
    live = Replicas()
    live.sample(0.0, {}, 0)
    told = live.sample(sample.at, {"one": read_figures(shown)}, sample.starting)
    assert sample.refused > 0
    assert (told.accepted, told.refused, told.ready, told.busy_ratio) == (
        sample.accepted, sample.refused, sample.ready, pytest.approx(sample.busy_ratio),
    )  # fmt: skip


def test_a_fleet_that_shrinks_lets_its_machines_finish() -> None:
    down = {"steps": [{"at_s": 0, "rate_per_s": 11.2}, {"at_s": 300, "rate_per_s": 1.2}]}
    built = scaled(1200, down)
    figures = built.ledger.outcomes["interactive"]
    assert any(change.wanted < 3 for change in built.fleets[0].changes[1:])
    assert figures.counts["failed"] == figures.counts["lost"] == 0


def test_bulk_and_photos_that_nobody_can_decode_scale_no_model() -> None:
    built = scaled(120, {"rate_per_s": 1.2, "bulk_per_s": 24})
    assert built.fleets[0].changes == []


def test_machines_that_boot_slowly_are_there_later() -> None:
    quick, slow = (scaled(400, STEP, boot_s=boot_s) for boot_s in (20, 200))

    def first_at(built: Cluster) -> float:
        return next(moment.begin for moment in built.ledger.moments if moment.ready["slow"] > 1)

    assert first_at(slow) - first_at(quick) == pytest.approx(180, abs=20)


def test_without_an_autoscaler_there_are_as_many_as_at_first() -> None:
    built = cluster(traffic={"rate_per_s": 900})
    built.run()
    assert {moment.ready["steady"] for moment in built.ledger.moments} == {1}
