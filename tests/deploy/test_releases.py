"""Releases: the verbs on a supervisor with fake tiers, and what comes of packages that are dropped in."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Coroutine
from typing import Any

import pytest

from crema.host.packages import PackageFolder
from crema.names import parse_version
from deploy import releases, version_starts
from deploy.canary_rule import Decision
from deploy.pointers import ReleaseRefused
from deploy.refusals import NotServed
from deploy.releases import Releases
from deploy.supervisor import Supervisor
from tests.deploy.toy_cluster import write_package
from tests.deploy.toy_site import Site

# starts real (if small) processes
pytestmark = pytest.mark.cluster

POLICY = "releases: {{watch: false, new_version: {}}}\n"


class Verbs:
    """The verbs of a site's supervisor, and what they left."""

    def __init__(self, site: Site) -> None:
        assert isinstance(site.supervisor, Supervisor)
        self.site = site
        self.releases: Releases = site.supervisor._releases
        self.said: list[str] = []

    async def release(self, package: str, percent: float | None = None) -> dict[str, Any]:
        return await self.releases.release(package, percent, self.said.append)

    async def promote(self, version: str) -> dict[str, Any]:
        return await self.releases.promote("left", version, self.said.append)

    async def rollback(self) -> dict[str, Any]:
        return await self.releases.rollback("left", self.said.append)

    async def retire(self, version: str) -> dict[str, Any]:
        return await self.releases.retire("left", version, self.said.append)

    async def drop_in(self, version: str) -> None:
        write_package(self.site.folder, "left", version)
        await self.look_at(version)

    async def look_at(self, version: str) -> None:
        path = self.site.folder / "model_packages" / "left" / version
        self.releases.dropped_in(PackageFolder("left", parse_version(version), path))
        await asyncio.gather(*self.releases._tasks)

    def row(self) -> dict[str, Any]:
        return self.site.routing()["models"]["left"]  # type: ignore[no-any-return]

    def shares(self) -> dict[str, float | None]:
        return {version: each["canary_percent"] for version, each in self.row()["versions"].items()}

    def records(self) -> list[dict[str, Any]]:
        lines = (self.site.folder / ".crema" / "audit.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]

    def model(self, version: str) -> dict[str, Any]:
        models = self.site.status()["models"]
        return next(each for each in models if (each["model"], each["version"]) == ("left", version))


@pytest.fixture
async def verbs(site: Site, monkeypatch: pytest.MonkeyPatch) -> Verbs:
    monkeypatch.setattr(version_starts, "ENDED_S", 0.5)
    await site.serving("releases: {watch: false}\n")
    return with_linger(site, 0.0)


def with_linger(site: Site, linger_s: float) -> Verbs:
    found = Verbs(site)
    found.releases._linger_s = linger_s
    return found


async def served(verbs: Verbs, version: str = "1.1", percent: float | None = None) -> dict[str, Any]:
    write_package(verbs.site.folder, "left", version)
    return await verbs.release(f"left@{version}", percent)


async def refused(work: Coroutine[Any, Any, Any]) -> str:
    with pytest.raises(ReleaseRefused) as error:
        await work
    return str(error.value)


async def test_a_release_is_checked_started_and_reachable_beside(verbs: Verbs) -> None:
    told = await served(verbs)
    assert verbs.site.checks.checked == ["left@1.1"]
    assert verbs.shares() == {"1.0": None, "1.1": 0.0}
    assert (verbs.row()["default"], len(verbs.row()["versions"]["1.1"]["replicas"])) == ("1.0", 1)
    assert told["says"] == "left is 1.0, 1.1 beside: only by its number"


async def test_a_release_from_elsewhere_comes_into_the_packages_folder(verbs: Verbs) -> None:
    write_package(verbs.site.folder / "rnd", "left", "1.1")
    await verbs.release(str(verbs.site.folder / "rnd" / "model_packages" / "left" / "1.1"), 5.0)
    assert (verbs.site.folder / "model_packages" / "left" / "1.1" / "model.yaml").is_file()
    assert verbs.shares() == {"1.0": None, "1.1": 5.0}


async def test_what_fails_its_check_is_never_started_and_status_says_why(verbs: Verbs) -> None:
    verbs.site.checks.problems["left@1.1"] = "golden: the tags differ"
    started = len(verbs.site.diary())
    with pytest.raises(NotServed, match="golden: the tags differ") as error:
        await served(verbs)
    assert error.value.detail == "Traceback\n  model.py"
    assert (len(verbs.site.diary()), verbs.shares()) == (started, {"1.0": None})
    shown = verbs.model("1.1")
    assert (shown["state"], shown["problem"]) == ("failed", "golden: the tags differ")
    assert shown["traceback"] == "Traceback\n  model.py"


async def test_what_does_not_load_leaves_no_process_and_gets_nothing(verbs: Verbs) -> None:
    verbs.site.tell("minion", ready=False, state="failed", problem="no weights\nTraceback")
    assert await refused(served(verbs)) == "no weights"
    assert (verbs.shares(), verbs.model("1.1")["traceback"]) == ({"1.0": None}, "Traceback")
    rows = [row for row in verbs.site.status()["processes"] if row.get("model") == "left"]
    assert {row["version"] for row in rows} == {"1.0"}


async def test_promoting_moves_the_name_and_a_step_back_moves_it_back(verbs: Verbs) -> None:
    await served(verbs)
    assert (await verbs.promote("1.1"))["default"] == "1.1"
    assert verbs.row()["default"] == "1.1"
    assert (await verbs.rollback())["default"] == "1.0"
    assert verbs.shares() == {"1.0": None, "1.1": 0.0}


async def test_a_name_moves_only_onto_a_ready_version(verbs: Verbs) -> None:
    await served(verbs)
    verbs.site.tell("minion", ready=False, state="starting")
    await verbs.site.until(lambda: not verbs.row()["versions"]["1.1"]["replicas"])
    assert "left@1.1 is not ready" in await refused(verbs.promote("1.1"))
    assert verbs.row()["default"] == "1.0"


async def test_a_retired_version_leaves_the_routing_before_its_minions_end(verbs: Verbs) -> None:
    await served(verbs)
    await verbs.promote("1.1")
    verbs.releases._linger_s = 0.3
    await verbs.retire("1.0")
    assert verbs.shares() == {"1.1": None}
    assert verbs.model("1.0")["state"] == "draining"
    assert "minion ended" not in verbs.site.diary()
    await verbs.site.until(lambda: "minion ended" in verbs.site.diary())
    await verbs.site.until(
        lambda: [each["version"] for each in verbs.site.status()["models"]] == ["1.1", "1.0"]
    )


async def test_a_step_back_has_a_version_that_lingers_again_without_starting_it(verbs: Verbs) -> None:
    await served(verbs)
    await verbs.promote("1.1")
    verbs.releases._linger_s = 60.0
    await verbs.retire("1.0")
    started = len(verbs.site.diary())
    await verbs.rollback()
    assert (verbs.shares(), verbs.model("1.0")["state"]) == ({"1.0": None, "1.1": None}, "ready")
    assert len(verbs.site.diary()) == started


async def test_a_step_back_starts_a_retired_version_that_has_ended(verbs: Verbs) -> None:
    await served(verbs)
    await verbs.promote("1.1")
    await verbs.retire("1.0")
    await verbs.site.until(lambda: verbs.releases._fleet.find("left", "1.0") is None)
    checked = list(verbs.site.checks.checked)
    await verbs.rollback()
    assert verbs.shares() == {"1.0": None, "1.1": None}
    assert len(verbs.row()["versions"]["1.0"]["replicas"]) == 1
    assert verbs.site.checks.checked == checked


async def test_a_release_that_is_undone_drains_its_version(verbs: Verbs) -> None:
    await served(verbs, percent=5.0)
    await verbs.rollback()
    assert verbs.shares() == {"1.0": None}
    await verbs.site.until(lambda: verbs.releases._fleet.find("left", "1.1") is None)


async def test_the_default_cannot_be_retired(verbs: Verbs) -> None:
    await served(verbs)
    assert "promote another one first: 1.1" in await refused(verbs.retire("1.0"))


async def test_a_canary_that_is_taken_back_keeps_its_number_and_status_says_why(verbs: Verbs) -> None:
    await served(verbs, percent=5.0)
    figures = {"answers": 60}
    verbs.releases.take_back("left", "1.1", Decision("take_back", "5 % failed", figures, figures))
    assert verbs.shares() == {"1.0": None, "1.1": 0.0}
    assert verbs.model("1.1")["note"] == "canary taken back: 5 % failed"
    assert verbs.records()[-1]["action"] == "take_back"
    await verbs.release("left@1.1", 5.0)
    assert "note" not in verbs.model("1.1")


async def test_a_full_disk_refuses_the_verb_and_moves_nothing(
    verbs: Verbs, monkeypatch: pytest.MonkeyPatch
) -> None:
    await served(verbs)

    def full(body: object) -> bool:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(verbs.releases._fleet.routing, "publish", full)
    assert "cannot be written" in await refused(verbs.promote("1.1"))
    assert verbs.releases._book.default("left") == "1.0"


async def test_a_coordinator_that_does_not_take_the_routing_is_said(
    verbs: Verbs, monkeypatch: pytest.MonkeyPatch
) -> None:
    await served(verbs)
    monkeypatch.setattr(releases, "IN_FORCE_S", 0.2)
    verbs.site.tell("coordinator", revision=1)
    await verbs.site.until(lambda: verbs.releases._fleet.coordinators[0].health.revision == 1)  # type: ignore[union-attr]
    assert "not every coordinator goes by it" in await refused(verbs.promote("1.1"))


async def test_every_verb_leaves_exactly_one_record_with_the_digest_and_the_result(verbs: Verbs) -> None:
    await served(verbs)
    await verbs.promote("1.1")
    await refused(verbs.retire("1.1"))
    await verbs.rollback()
    kept = verbs.records()
    assert [each["action"] for each in kept] == ["release", "promote", "retire", "rollback"]
    assert [each["result"].partition(":")[0] for each in kept] == ["ok", "ok", "failed", "ok"]
    assert all(len(each["digest"]) == 64 and each["who"] for each in kept if each["result"] == "ok")


@pytest.mark.parametrize(
    ("policy", "version", "default", "share"),
    [
        ("nothing", "1.1", "1.0", 0.0),
        ("canary 5%", "1.1", "1.0", 5.0),
        ("canary 5%", "0.9", "1.0", 0.0),
        ("default", "1.1", "1.1", None),
        ("default", "2.0", "1.0", 0.0),
    ],
)
async def test_what_a_dropped_in_version_gets_is_policy(
    site: Site, policy: str, version: str, default: str, share: float | None
) -> None:
    await site.serving(POLICY.format(policy))
    verbs = with_linger(site, 0.0)
    await verbs.drop_in(version)
    assert (verbs.row()["default"], verbs.shares()[version]) == (default, share)
    assert verbs.records()[-1]["action"] == "drop_in"


async def test_a_model_that_is_dropped_in_serves_its_first_version(site: Site) -> None:
    await site.serving("releases: {watch: true}\n")
    write_package(site.folder / "rnd", "new", "1.0")
    shutil.copytree(site.folder / "rnd" / "model_packages" / "new", site.folder / "model_packages" / "new")
    await site.until(lambda: "new" in site.routing()["models"])
    assert site.routing()["models"]["new"]["default"] == "1.0"


async def test_a_refused_package_that_is_repaired_is_served(verbs: Verbs) -> None:
    verbs.site.checks.problems["left@1.1"] = "load: no weights"
    await verbs.drop_in("1.1")
    assert verbs.model("1.1")["state"] == "failed"
    verbs.site.checks.problems.clear()
    await verbs.look_at("1.1")
    assert (verbs.model("1.1")["state"], verbs.shares()["1.1"]) == ("ready", 0.0)


async def test_a_copy_that_pauses_is_looked_at_again_once_it_is_whole(verbs: Verbs) -> None:
    checks = verbs.site.checks
    checks.problems["left@1.1"] = "weights: missing"
    checks.holds = asyncio.Event()
    write_package(verbs.site.folder, "left", "1.1")
    first = asyncio.create_task(verbs.look_at("1.1"))
    await verbs.site.until(lambda: bool(checks.checked))
    # the rest of it came while the half was checked
    second = asyncio.create_task(verbs.look_at("1.1"))
    await asyncio.sleep(0)
    checks.holds.set()
    checks.problems.clear()
    await asyncio.gather(first, second)
    await verbs.site.until(lambda: "1.1" in verbs.shares())
    assert len(checks.checked) == 2


async def test_a_serving_version_whose_files_changed_is_not_released_again(verbs: Verbs) -> None:
    await served(verbs)
    (verbs.site.folder / "model_packages" / "left" / "1.1" / "model.py").write_text(
        "class Toy: other = True\n"
    )
    assert "make a new version" in await refused(verbs.release("left@1.1", 5.0))
    await verbs.look_at("1.1")
    assert "files changed" in verbs.model("1.1")["note"]


async def test_a_cluster_that_stops_leaves_nothing_of_a_version_that_drains(verbs: Verbs) -> None:
    await served(verbs)
    await verbs.promote("1.1")
    await verbs.retire("1.0")
    await verbs.site.stop()
    started = [line for line in verbs.site.diary() if line.startswith("minion started")]
    ended = [line for line in verbs.site.diary() if line == "minion ended"]
    assert len(started) == len(ended) == 3


async def test_what_is_released_by_hand_gets_no_second_release_by_the_watch(site: Site) -> None:
    await site.serving(POLICY.format("canary 5%"))
    verbs = with_linger(site, 0.0)
    await served(verbs)
    await verbs.look_at("1.1")
    assert (verbs.shares()["1.1"], [each["action"] for each in verbs.records()]) == (0.0, ["release"])


async def test_what_was_released_serves_again_after_a_restart(verbs: Verbs) -> None:
    await served(verbs)
    await verbs.promote("1.1")
    await verbs.retire("1.0")
    site = verbs.site
    await site.stop()
    site.urls.clear()
    await site.serving("releases: {watch: false}\n")
    again = with_linger(site, 0.0)
    assert (again.row()["default"], again.shares()) == ("1.1", {"1.1": None})
    await again.rollback()
    assert again.shares() == {"1.0": None, "1.1": None}
