"""Releases on a real cluster under load: nobody loses an answer by them, but for what a bad canary itself answered."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.conftest import Start
from tests.cluster.running import RunningCluster
from tests.cluster.steady_load import Ended, SteadyLoad
from tests.cluster.toy_packages import write_package, write_photo

# Of one replica that answers a photo in 10 ms, with a check running beside on the same two cores.
LOAD_PER_S = 25.0
RED = (250, 10, 10)
# No probe of the checklist is red: this fails on one photo of twenty, and only callers find out.
RAISES_ON_RED = """
        if any(item[..., 0].mean() > 200 and item[..., 1].mean() < 60 for item in batch):
            raise ValueError("red is not supported")
"""
CLUSTER = """\
releases: {new_version: canary 50%, window_s: 6, min_answers: 50}
models:
  bright: {default: "3.1", versions: {"3.1": {replicas: 1}}}
"""


def drop_in(cluster: RunningCluster, folder: Path, version: str, **model: str) -> float:
    """Copy a new version into the packages folder; the time at which it was there."""
    package = write_package(folder / version, "bright", version, **model)
    shutil.copytree(package, cluster.folder / "model_packages" / "bright" / version)
    return time.monotonic()


def model(cluster: RunningCluster, version: str) -> dict[str, Any]:
    models = cluster.status()["models"]
    return next((each for each in models if each["version"] == version), {})


def note(cluster: RunningCluster, version: str) -> str:
    return str(model(cluster, version).get("note", ""))


def done(cluster: RunningCluster, *arguments: str) -> None:
    """Run a verb; it is in force when it returns, within ten seconds."""
    began = time.monotonic()
    ended = cluster.crema(*arguments)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert time.monotonic() - began < 10


def default(cluster: RunningCluster, photo: bytes) -> str:
    return str(cluster.post(photo, models="bright")[1]["results"]["bright"]["version"])


def version_of(call: Ended) -> str | None:
    results = (call.body or {}).get("results") or {}
    return results.get("bright", {}).get("version")


@pytest.fixture
def cluster(start: Start, tmp_path: Path) -> RunningCluster:
    package = write_package(tmp_path / "first", "bright", "3.1")
    cluster = start([package], cluster_yaml=CLUSTER)
    cluster.wait_serving()
    return cluster


def test_dropped_in_canaried_promoted_rolled_back_and_retired_under_load(
    cluster: RunningCluster, tmp_path: Path
) -> None:
    gray = write_photo(tmp_path / "gray.png").read_bytes()
    red = write_photo(tmp_path / "red.png", RED).read_bytes()
    path = "/v1/analyze?models=bright"
    untouched = cluster.pids("coordinator") + cluster.pids("preprocessor") + cluster.pids("minion", "host")
    with SteadyLoad(cluster.url, [gray] * 19 + [red], path=path, per_s=LOAD_PER_S) as load:
        # 3.2 is good
        dropped = drop_in(cluster, tmp_path, "3.2")
        cluster.wait(lambda: cluster.post(gray, models="bright@3.2")[0] == 200, "3.2 to answer")
        assert time.monotonic() - dropped < 60
        cluster.wait(lambda: "within the rule in 6 s" in note(cluster, "3.2"), "3.2 to be found good")
        done(cluster, "promote", "bright@3.2")
        assert default(cluster, gray) == "3.2"
        # 3.3 fails on one photo of twenty: it is taken back within its window
        drop_in(cluster, tmp_path, "3.3", predict=RAISES_ON_RED.strip())
        cluster.wait(lambda: model(cluster, "3.3").get("canary_percent") == 50, "3.3 to get its share")
        began = time.monotonic()
        cluster.wait(lambda: "taken back" in note(cluster, "3.3"), "3.3 to be taken back", 20)
        taken_back = time.monotonic()
        assert taken_back - began < 8
        time.sleep(1.0)
        bad = load.since(taken_back + 1.0)
        done(cluster, "rollback", "bright")
        done(cluster, "rollback", "bright")
        assert default(cluster, gray) == "3.1"
        done(cluster, "retire", "bright@3.2")
        assert cluster.post(gray, models="bright@3.2")[0] == 404
        cluster.wait(lambda: not model(cluster, "3.2") and not model(cluster, "3.3"), "the others to end")
    failed = [call for call in load.ended if call.status not in (200, 429)]
    assert {version_of(call) for call in failed} == {"3.3"}, failed[:3]
    assert all(version_of(call) != "3.3" for call in bad)
    assert {version_of(call) for call in load.ended} == {"3.1", "3.2", "3.3"}
    alive = cluster.pids("coordinator") + cluster.pids("preprocessor") + cluster.pids("minion", "host")
    assert set(untouched) <= set(alive)
    actions = [json.loads(line)["action"] for line in (cluster.folder / ".crema" / "audit.jsonl").open()]
    assert actions == ["drop_in", "promote", "drop_in", "take_back", "rollback", "rollback", "retire"]


def test_what_fails_its_check_gets_no_traffic_and_status_shows_its_traceback(
    cluster: RunningCluster, tmp_path: Path
) -> None:
    gray = write_photo(tmp_path / "gray.png").read_bytes()
    drop_in(cluster, tmp_path, "3.2", load='raise ValueError("the weights are for another model")')
    cluster.wait(lambda: model(cluster, "3.2").get("state") == "failed", "3.2 to be refused")
    assert cluster.post(gray, models="bright@3.2")[0] == 404
    assert default(cluster, gray) == "3.1"
    lines = cluster.crema("status").stdout.splitlines()
    at = next(index for index, line in enumerate(lines) if "bright@3.2" in line)
    assert lines[at].startswith("FAILED")
    assert "the weights are for another model" in lines[at]
    assert any("model.py" in line and "in load" in line for line in lines[at + 1 :])
