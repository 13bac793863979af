"""Replicas that come and go while the others serve: in which order, and what becomes of names and GPUs."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from deploy.autoscaler import Limits
from deploy.child import Child
from deploy.fleet import Fleet
from deploy.gpus import Gpu, Gpus
from deploy.replica_changes import Leaving, ScaledVersion, dispensable
from deploy.starter import Starter
from deploy.version import ServedVersion
from tests.deploy.toy_cluster import resolved, write_package
from tests.deploy.toy_site import Site


class FakeChild:
    """One replica; what is done to it is written down."""

    def __init__(self, name: str, diary: list[str], is_ready: bool = True) -> None:
        self.name = name
        self.is_ready = is_ready
        self._diary = diary
        self.may_end = asyncio.Event()
        self.may_end.set()

    async def stop(self, drain_s: float) -> None:
        self._diary.append(f"{self.name} drains")
        await self.may_end.wait()
        self._diary.append(f"{self.name} ended")

    def kill(self) -> None:
        self._diary.append(f"{self.name} killed")
        self.may_end.set()


class FakeFleet:
    """As much of a fleet as replicas' changes touch."""

    def __init__(self, diary: list[str]) -> None:
        self.leaving: dict[Any, Any] = {}
        self.routing = SimpleNamespace(revision=7)
        self._diary = diary

    def publish(self) -> None:
        self._diary.append("routed around")

    async def is_in_force(self, revision: int, defaults: Mapping[str, str], timeout_s: float) -> bool:
        self._diary.append("in force")
        return True

    def wake(self) -> None:
        pass

    def start_minion(self, served: ServedVersion, placement: object) -> None:
        served.replicas.append(cast(Child, FakeChild(f"{served.label}-{len(served.replicas)}", self._diary)))


def test_who_is_not_ready_goes_first_and_then_who_came_last() -> None:
    diary: list[str] = []
    children = [FakeChild("a", diary), FakeChild("b", diary, is_ready=False), FakeChild("c", diary)]
    assert dispensable(cast(list[Child], children)).name == "b"
    children[1].is_ready = True
    assert dispensable(cast(list[Child], children)).name == "c"


async def test_a_replica_leaves_the_routing_before_it_is_drained() -> None:
    diary: list[str] = []
    fleet = FakeFleet(diary)
    await Leaving(cast(Fleet, fleet)).begin(cast(Child, FakeChild("a", diary)), None)
    assert diary == ["routed around", "in force", "a drains", "a ended"]
    assert fleet.leaving == {}


async def test_who_is_still_draining_when_the_cluster_ends_is_waited_for_and_then_killed() -> None:
    diary: list[str] = []
    child = FakeChild("a", diary)
    child.may_end.clear()
    leaving = Leaving(cast(Fleet, FakeFleet(diary)))
    leaving.begin(cast(Child, child), None)
    await leaving.close(0.05)
    assert diary[-3:] == ["a drains", "a killed", "a ended"]


@pytest.fixture
def served(tmp_path: Path) -> ServedVersion:
    write_package(tmp_path, "fast", resources="{device: gpu, gpu_memory_mb: 400}")
    more = 'models: {fast: {versions: {"1.0": {replicas: {min: 1, max: 4}}}}}\n'
    model = resolved(tmp_path, more).models["fast"]
    return ServedVersion(model.name, model.versions[0])


async def test_gpus_are_taken_for_new_replicas_and_given_back_by_those_that_left(
    served: ServedVersion,
) -> None:
    diary: list[str] = []
    fleet = FakeFleet(diary)
    starter = Starter(cast(Fleet, fleet), cast(Any, None), cast(Any, None), cast(Any, None), cast(Any, None))
    starter.gpus = Gpus([Gpu("GPU-1", 1000, 1000)])
    leaving = Leaving(cast(Fleet, fleet))
    version = ScaledVersion(served, cast(Fleet, fleet), starter, leaving)
    assert version.limits == Limits(1, 4)
    problem = version.scale(3)
    # two fit on the GPU, the third does not
    assert len(served.replicas) == 2 and problem is not None and "needs 400 MB" in problem
    assert starter.gpus.gpus[0].left_mb == 200
    assert version.scale(1) is None
    assert len(served.replicas) == len(served.placements) == 1
    await leaving.close(5)
    await asyncio.sleep(0)
    assert starter.gpus.gpus[0].left_mb == 600


SCALED = """\
models: {left: {versions: {"1.0": {replicas: {min: 1, max: 3}}}}}
preprocessor: {replicas: {min: 1, max: 2}}
autoscaling: {period_s: 0.5, cooldown_s: 1}
"""


@pytest.mark.cluster
async def test_a_supervisor_starts_replicas_under_load_and_drains_them_after_it(site: Site) -> None:
    site.tell("minion", per_s=[100, 200])
    await site.serving(SCALED)
    await site.until(lambda: len(site.replicas("left")) == 3)
    left = next(row for row in site.status()["models"] if row["model"] == "left")
    assert (left["wanted"], left["replicas"]) == (3, 3) and left["why"].startswith("429s: ")
    # whose max is its min stays as it is, and says what it would need
    assert len(site.replicas("right")) == 1
    site.tell("minion")
    await site.until(lambda: len(site.replicas("left")) == 1)
    await site.until(lambda: sum(line == "minion ended" for line in site.diary()) == 2)
    assert len(site.routing()["models"]["left"]["versions"]["1.0"]["http"]) == 1


@pytest.mark.cluster
async def test_the_preprocessor_tier_follows_its_own_refusals(site: Site) -> None:
    site.tell("preprocessor", per_s=[100, 100])
    await site.serving(SCALED)
    await site.until(lambda: len(site.routing()["preprocessors"]) == 2)
    assert site.status()["preprocessor"]["wanted"] == 2
    site.tell("preprocessor")
    await site.until(lambda: len(site.routing()["preprocessors"]) == 1)


@pytest.mark.cluster
async def test_a_cluster_that_ends_while_a_replica_leaves_leaves_nothing(site: Site) -> None:
    site.tell("minion", per_s=[100, 200])
    await site.serving(SCALED)
    await site.until(lambda: len(site.replicas("left")) == 3)
    site.tell("minion")
    await site.until(lambda: len(site.replicas("left")) < 3)
    await site.stop()
    diary = site.diary()
    assert sum("started" in line for line in diary) == sum(line.endswith("ended") for line in diary)
