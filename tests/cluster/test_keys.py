"""A real cluster with API keys: made while it runs, asked for at once, revoked; and shared fairly between two keys."""

from __future__ import annotations

import asyncio
import json
import subprocess
import urllib.request
from functools import partial
from pathlib import Path

import pytest

from tests.cluster.conftest import Start
from tests.cluster.key_load import send_steadily
from tests.cluster.running import RunningCluster, running_cluster
from tests.cluster.toy_packages import write_package


def new_key(cluster: RunningCluster, *arguments: str) -> dict[str, str]:
    """`crema keys new`, as it is told to programs."""
    made = cluster.crema("keys", "new", "--json", *arguments)
    assert made.returncode == 0, made.stderr
    return dict(json.loads(made.stdout))


def test_beyond_loopback_without_keys_it_does_not_start_and_with_one_it_does(
    start: Start, tmp_path: Path, photo: Path
) -> None:
    package = write_package(tmp_path / "packages", "bright")
    listeners = 'coordinator: {listen: "0.0.0.0:0", operations: "127.0.0.1:0"}\ndefault_models: [bright]\n'
    cluster = start([package], cluster_yaml=listeners)
    assert cluster.process.wait(30) == 1
    assert "crema keys new" in cluster.output
    key = new_key(cluster, "--name", "app")["key"]
    cluster = start(cluster_yaml=listeners)
    cluster.wait_serving()
    assert cluster.post(photo.read_bytes())[0] == 401
    assert cluster.post(photo.read_bytes(), headers={"X-API-Key": key})[0] == 200
    assert key not in cluster.story()
    for pid in cluster.pids("coordinator"):
        assert key not in Path(f"/proc/{pid}/cmdline").read_text()


def test_a_key_closes_a_running_cluster_and_ends_when_it_is_revoked(
    tmp_path: Path, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = write_package(tmp_path / "packages", "bright")
    with running_cluster(tmp_path / "site", [package], cluster_yaml="default_models: [bright]\n") as cluster:
        assert cluster.post(photo.read_bytes())[0] == 200
        made = new_key(cluster, "--name", "app", "--scopes", "infer,bulk")
        cluster.wait(lambda: cluster.post(photo.read_bytes())[0] == 401, "the key to be asked for", 5)
        cluster.environment = {**cluster.environment, "CREMA_API_KEY": made["key"]}
        assert cluster.crema("analyze", str(photo)).returncode == 0
        with urllib.request.urlopen(f"{cluster.operations_url}/readyz", timeout=5) as answer:
            assert answer.status == 200
        assert cluster.crema("keys", "revoke", made["id"]).returncode == 0
        shown = {"Authorization": f"Bearer {made['key']}"}
        cluster.wait(
            lambda: cluster.post(photo.read_bytes(), headers=shown)[0] == 401, "the key to be refused", 5
        )
        refused = cluster.crema("analyze", str(photo))
        assert refused.returncode == 1
        assert "CREMA_API_KEY" in refused.stderr
        records = (cluster.folder / ".crema" / "audit.jsonl").read_text().splitlines()
        assert [json.loads(record)["action"] for record in records] == ["keys.new", "keys.revoke"]


def test_a_key_at_ten_times_its_share_costs_another_no_refusal(tmp_path: Path, photo: Path) -> None:
    # 8 photos per 100 ms are 80/s, so a share is 40/s: b stays below it by so much that it may stall, a sends 400/s
    package = write_package(tmp_path / "packages", "sleepy", predict="time.sleep(0.1)")
    with running_cluster(tmp_path / "site", [package], cluster_yaml="default_models: [sleepy]\n") as cluster:
        a, b = (new_key(cluster, "--name", name)["key"] for name in ("a", "b"))
        url, body = cluster.url, photo.read_bytes()

        def is_taken(shown: dict[str, str]) -> bool:
            return cluster.post(body, headers=shown)[0] == 200

        cluster.wait(lambda: cluster.post(body)[0] == 401, "the keys to be asked for", 5)
        for key in (a, b):
            cluster.wait(partial(is_taken, {"X-API-Key": key}), "the key to be in force", 5)

        async def both() -> None:
            of_a, of_b = await asyncio.gather(
                send_steadily(url, body, a, 400, 6, seed=2), send_steadily(url, body, b, 12, 6)
            )
            assert set(of_b.statuses) == {200}, of_b.refusals
            assert of_a.statuses[429] > of_a.statuses[200] > 0
            # a batch that runs, the batch after it, and how much a loaded machine is late; alone the minion would let
            # a's calls wait for up to its SLO of 5 s
            assert of_b.quantile_s(0.9) < 0.6

        asyncio.run(both())


def test_the_channels_beyond_loopback_need_the_cluster_s_token(tmp_path: Path) -> None:
    import os
    import sys

    package = write_package(tmp_path / "packages", "bright")
    environment = {name: value for name, value in os.environ.items() if name != "CREMA_CLUSTER_TOKEN"}
    for tier, more in (
        ("preprocessor", []),
        ("minion", ["--package", str(package), "--python", sys.executable]),
    ):
        for option in ("--channel", "--http"):
            other = "--http" if option == "--channel" else "--channel"
            ended = subprocess.run(
                [sys.executable, "-m", tier, option, "0.0.0.0:0", other, "127.0.0.1:0", *more],
                capture_output=True, text=True, timeout=30, env=environment, cwd=Path(__file__).parents[2],
            )  # fmt: skip
            assert ended.returncode == 1, (tier, option)
            assert "refusing to listen" in ended.stderr
            assert "CREMA_CLUSTER_TOKEN" in ended.stderr
