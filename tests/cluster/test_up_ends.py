"""However `crema up` ends, nothing is left of it, and it can be started again."""

from __future__ import annotations

import json
import os
import signal
import socket
from pathlib import Path

import pytest

from tests.cluster.conftest import Start
from tests.cluster.running import RunningCluster
from tests.cluster.toy_packages import write_package


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    return write_package(tmp_path / "packages", "bright")


def test_ctrl_c_ends_everything_with_exit_code_0(start: Start, packages: Path) -> None:
    cluster = start([packages])
    cluster.wait_serving()
    cluster.status()
    assert cluster.stop() == 0
    cluster.assert_nothing_left()
    assert not (cluster.folder / ".crema" / "supervisor.json").exists()
    assert cluster.output.rstrip().splitlines()[-1].split() == ["STOPPED", "crema"]


def test_sigterm_while_starting_ends_everything(start: Start, tmp_path: Path) -> None:
    cluster = start([write_package(tmp_path / "packages", "slow", load="time.sleep(60)")])
    cluster.wait(lambda: cluster.pids("minion", "host", "slow") != [], "the minion to be started")
    cluster.wait(lambda: cluster.pids("coordinator") != [], "the coordinator to be started")
    cluster.process.terminate()
    assert cluster.process.wait(30) == 0
    cluster.assert_nothing_left()


def test_a_second_signal_ends_everything_at_once(start: Start, packages: Path, photo: Path) -> None:
    cluster = start([packages])
    cluster.wait_serving()
    cluster.post(photo.read_bytes(), models="bright")  # a coordinator in use takes its time to drain
    cluster.status()
    cluster.process.send_signal(signal.SIGINT)
    cluster.wait(lambda: cluster.status()["state"] == "draining", "the drain to begin")
    cluster.process.send_signal(signal.SIGINT)
    assert cluster.process.wait(3) == 128 + signal.SIGINT
    cluster.assert_nothing_left(within_s=3)


def test_kill_9_of_the_supervisor_leaves_no_process(start: Start, packages: Path, photo: Path) -> None:
    cluster = start([packages])
    cluster.wait_serving()
    cluster.post(photo.read_bytes(), models="bright")
    assert len(cluster.status()["processes"]) >= 6
    cluster.kill_supervisor()
    cluster.assert_nothing_left(within_s=8)


def test_after_kill_9_the_same_folder_starts_again_on_the_same_ports(
    start: Start, packages: Path, photo: Path
) -> None:
    with socket.socket() as free, socket.socket() as also_free:
        ports = []
        for probe in (free, also_free):
            probe.bind(("127.0.0.1", 0))
            ports.append(probe.getsockname()[1])
    listeners = f'coordinator: {{listen: "127.0.0.1:{ports[0]}", operations: "127.0.0.1:{ports[1]}"}}\n'
    first = start([packages], cluster_yaml=listeners)
    first.wait_serving()
    first.kill_supervisor()
    second = start(folder=first.folder)  # at once, while the first one's processes are still ending
    second.wait_serving()
    assert second.port("coordinator", "public") == ports[0]
    assert second.post(photo.read_bytes(), models="bright")[0] == 200
    assert second.routing()["revision"] > 1
    first.assert_nothing_left_of(first.seen - second.seen)


def test_a_stopped_minion_does_not_outlive_its_killed_supervisor(start: Start, packages: Path) -> None:
    first = start([packages])
    first.wait_serving()
    host = first.pids("minion", "host")[0]
    os.kill(host, signal.SIGSTOP)  # it cannot act on its parent's death
    first.kill_supervisor()
    second = start(folder=first.folder)
    second.wait_serving()
    second.wait(lambda: not is_listed(host), "the stopped host to be killed")
    assert second.pids("minion", "host") != [host]


def is_listed(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] not in "ZX"


def test_a_public_port_that_is_taken_is_named_with_a_way_out(start: Start, packages: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        cluster = start(
            [packages],
            cluster_yaml=f'coordinator: {{listen: "127.0.0.1:{port}", operations: "127.0.0.1:0"}}\n',
        )
        assert cluster.process.wait(30) == 1
    assert f"127.0.0.1:{port} cannot be listened on" in cluster.output
    assert "coordinator.listen" in cluster.output
    cluster.assert_nothing_left()


def test_mistakes_in_the_cluster_file_are_all_shown_before_anything_starts(
    start: Start, packages: Path
) -> None:
    cluster = start([packages], cluster_yaml="default_models: [brihgt]\npreprocessor: {replicas: 0}\n")
    assert cluster.process.wait(30) == 1
    assert "brihgt" in cluster.output
    assert "preprocessor.replicas" in cluster.output
    assert not (cluster.folder / ".crema").exists()


def test_without_any_package_up_says_where_to_put_one(start: Start) -> None:
    cluster = start()
    assert cluster.process.wait(30) == 1
    assert "NAME/VERSION/model.yaml" in cluster.output
    cluster.assert_nothing_left()


def test_a_python_that_is_not_there_fails_every_version_with_the_reason(start: Start, packages: Path) -> None:
    cluster = start([packages], python=Path("/nonexistent/python"))
    assert cluster.process.wait(30) == 1
    assert "FAILED    bright@1.0" in cluster.output
    assert "CREMA_ENV_PYTHON" in cluster.output
    cluster.assert_nothing_left()


def test_a_version_without_a_lock_fails_and_the_cluster_says_so(start: Start, packages: Path) -> None:
    cluster = start([packages], python=None)
    assert cluster.process.wait(60) == 1
    assert "FAILED    bright@1.0" in cluster.output
    assert "crema lock" in cluster.output
    cluster.assert_nothing_left()


def test_the_state_of_a_killed_cluster_is_not_shown_as_running(start: Start, packages: Path) -> None:
    cluster = start([packages])
    cluster.wait_serving()
    cluster.kill_supervisor()
    cluster.assert_nothing_left(within_s=8)
    assert (
        json.loads((cluster.folder / ".crema" / "supervisor.json").read_text())["pid"] == cluster.process.pid
    )
    assert ask_status(cluster) == 1


def ask_status(cluster: RunningCluster) -> int:
    return cluster.crema("status").returncode
