"""Supervisor: the order of things, with tiers that only announce, answer /readyz and end."""

from __future__ import annotations

import asyncio
import json
import os
import signal

import pytest

from deploy.supervisor import NothingToServe
from tests.deploy.toy_cluster import write_package
from tests.deploy.toy_site import PATIENCE_S, Site

# starts real (if small) processes
pytestmark = pytest.mark.cluster


async def test_everything_is_started_and_routed_to(site: Site) -> None:
    await site.serving()
    assert {row["state"] for row in site.status()["processes"]} == {"ready"}
    assert [len(site.replicas(model)) for model in ("left", "right")] == [1, 1]
    assert len(site.routing()["preprocessors"]) == 1
    assert site.urls == [site.status()["urls"]["api"]]


async def test_the_api_answers_while_environments_are_built(site: Site) -> None:
    site.pythons.holds = asyncio.Event()
    site.start()
    await site.until(lambda: (site.folder / "diary").exists() and len(site.diary()) == 2)
    assert sorted(line.split()[0] for line in site.diary()) == ["coordinator", "preprocessor"]
    assert site.routing()["models"]["left"]["versions"]["1.0"]["state"] == "starting"
    site.pythons.holds.set()
    await site.until(lambda: bool(site.urls))


async def test_the_tiers_are_stopped_coordinator_first_and_preprocessor_last(site: Site) -> None:
    await site.serving()
    await site.stop()
    ended = [line.split()[0] for line in site.diary() if line.endswith("ended")]
    assert ended == ["coordinator", "minion", "minion", "preprocessor"]
    assert not (site.folder / ".crema" / "supervisor.json").exists()


async def test_a_version_without_an_environment_fails_and_the_others_serve(site: Site) -> None:
    site.pythons.fails = {"left"}
    await site.serving()
    assert site.display.of("FAILED") == ["left@1.0"]
    entry = site.routing()["models"]["left"]["versions"]["1.0"]
    assert (entry["state"], entry["problem"]) == ("failed", "has no lock try: crema lock")
    assert len(site.replicas("right")) == 1


async def test_a_version_whose_gpu_is_not_there_fails_and_the_others_serve(site: Site) -> None:
    write_package(site.folder, "fast", resources="{device: gpu}")
    await site.serving()
    assert site.display.of("FAILED") == ["fast@1.0"]
    assert "needs a GPU" in site.routing()["models"]["fast"]["versions"]["1.0"]["problem"]


async def test_when_no_version_can_be_started_the_supervisor_ends_with_the_reason(site: Site) -> None:
    site.pythons.fails = {"left", "right"}
    site.start()
    assert site.task is not None
    with pytest.raises(NothingToServe):
        await asyncio.wait_for(site.task, PATIENCE_S)
    assert site.display.of("FAILED") == ["left@1.0", "right@1.0"]


async def test_a_version_that_cannot_load_is_said_and_does_not_keep_the_others(site: Site) -> None:
    site.tell("minion", ready=False, state="failed", problem="no weights")
    await site.serving()
    assert [line[3] for line in site.display.lines if line[0] == "FAILED"] == ["no weights"] * 2
    site.tell("minion")
    await site.until(lambda: len(site.replicas("left")) == 1)
    await site.until(lambda: "left@1.0" in site.display.of("READY"))


async def test_a_replica_that_is_not_ready_leaves_the_routing_and_comes_back(site: Site) -> None:
    await site.serving()
    site.tell("minion", ready=False, state="starting")
    await site.until(lambda: site.replicas("left") == [])
    site.tell("minion")
    await site.until(lambda: len(site.replicas("left")) == 1)


async def test_a_killed_minion_is_out_of_the_routing_when_its_end_is_known_and_is_started_again(
    site: Site,
) -> None:
    await site.serving()
    victim, before = site.pid("minion"), site.replicas("left")
    os.kill(victim, signal.SIGKILL)
    await site.until(lambda: site.replicas("left") != before)
    await site.until(lambda: len(site.replicas("left")) == 1 and site.pid("minion") != victim)
    assert "left@1.0-0" in site.display.of("RESTART")


async def test_each_change_of_the_routing_is_kept(site: Site) -> None:
    await site.serving()
    kept = sorted(site.state.routing_history.iterdir())
    assert json.loads(kept[-1].read_text()) == site.routing()
    assert len(kept) == site.routing()["revision"]


async def test_a_disk_that_is_full_for_a_while_stops_nothing(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    await site.serving()
    before = site.replicas("left")

    def full(descriptor: int) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("deploy.supervisor.TEND_S", 0.1)
    with monkeypatch.context() as patch:
        patch.setattr("deploy.routing_file.os.fsync", full)
        victim = site.pid("minion")
        os.kill(victim, signal.SIGKILL)
        await site.until(lambda: site.pid("minion") not in (None, victim))
        assert site.replicas("left") == before
    await site.until(lambda: site.replicas("left") not in ([], before))


async def test_stop_does_not_wait_for_an_environment_that_is_being_built(site: Site) -> None:
    site.pythons.holds = asyncio.Event()
    site.start()
    await site.pythons.asked.wait()
    await asyncio.wait_for(site.stop(), PATIENCE_S)
    assert site.task is not None
    assert site.task.exception() is None


async def test_several_coordinators_inherit_the_same_two_listening_sockets(site: Site) -> None:
    await site.serving('coordinator: {listen: "127.0.0.1:0", operations: "127.0.0.1:0", processes: 2}\n')
    first, second = (line for line in site.diary() if line.startswith("coordinator started"))
    assert first.partition("--listen-fd")[2] == second.partition("--listen-fd")[2]
    assert first.endswith("--http 127.0.0.1:0")


async def test_a_coordinator_that_follows_another_inherits_the_same_listening_sockets(site: Site) -> None:
    await site.serving()
    os.kill(site.pid("coordinator"), signal.SIGKILL)
    started: list[str] = []

    def is_started_twice() -> bool:
        started[:] = [line for line in site.diary() if line.startswith("coordinator started")]
        return len(started) == 2

    await site.until(is_started_twice)
    first, second = (line.partition("--listen-fd")[2] for line in started)
    assert first == second != ""


async def test_a_coordinator_is_started_again_on_the_ports_that_callers_know(site: Site) -> None:
    await site.serving()
    url, victim = site.status()["urls"]["api"], site.pid("coordinator")
    os.kill(victim, signal.SIGKILL)
    await site.until(lambda: site.pid("coordinator") not in (None, victim))
    await site.until(
        lambda: len([line for line in site.diary() if line.startswith("coordinator started")]) == 2
    )
    assert f"--listen {url.removeprefix('http://')}" in site.diary()[-1]


async def test_supervisor_json_tells_where_to_ask_and_which_processes_are_ours(site: Site) -> None:
    await site.serving()
    written = json.loads((site.state.path / "supervisor.json").read_text())
    assert written["pid"] == os.getpid()
    assert written["public"] == site.urls[0]
    assert {entry["pid"] for entry in written["children"]} >= {site.pid("minion"), site.pid("coordinator")}
