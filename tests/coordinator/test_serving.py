"""`/servez`: whether a load balancer should send callers to this coordinator."""

from __future__ import annotations

from pathlib import Path

import pytest

from coordinator import app as app_module
from coordinator.app import App
from tests.coordinator.conftest import Cluster
from tests.coordinator.stub_tiers import card, version_row


async def test_a_coordinator_that_is_ready_takes_calls(cluster: Cluster) -> None:
    answer, body = await cluster.get("/servez", operations=True)
    assert (answer.status, body) == (200, {"serving": True})


async def test_a_model_without_replicas_makes_it_unready_and_takes_no_calls_away_from_the_others(
    cluster: Cluster,
) -> None:
    await cluster.get("/servez", operations=True)
    models = cluster.models()
    models["captions"]["versions"] = {"1.4": version_row([], card("captions", "1.4", output="caption"))}
    await cluster.reroute(models)
    assert (await cluster.get("/readyz", operations=True))[0].status == 503
    assert (await cluster.get("/servez", operations=True))[0].status == 200


async def test_one_that_has_just_started_waits_for_its_replicas(tmp_path: Path) -> None:
    app = App(tmp_path / "routing.json")
    app.directory.is_loaded = True
    assert not app.is_serving


async def test_one_that_waited_long_enough_serves_what_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app_module, "SERVES_AFTER_S", -1.0)
    app = App(tmp_path / "routing.json")
    assert not app.is_serving, "it has read no routing"
    app.directory.is_loaded = True
    assert app.is_serving


async def test_one_that_drains_takes_no_more_calls(cluster: Cluster) -> None:
    assert cluster.app.is_serving
    cluster.app.is_draining = True
    assert (await cluster.get("/servez", operations=True))[0].status == 503


async def test_it_is_not_on_the_public_listener(cluster: Cluster) -> None:
    assert (await cluster.get("/servez"))[0].status == 404
