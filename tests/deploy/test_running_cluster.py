"""Finding a running cluster: beside its file, by its file, and from the folder it was started in."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from deploy.control import Control
from deploy.running_cluster import NotRunning, _UnixConnection, find_cluster, runtime_folder
from deploy.state_folder import StateFolder

STATUS = {"processes": [], "models": []}


@pytest.fixture(autouse=True)
def _private_runtime_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "runtime").mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "runtime"))


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[StateFolder]:
    """A supervisor's state folder and control socket, for the cluster file tmp/site/cluster.yaml."""
    folder = StateFolder(tmp_path / "site" / ".crema")
    folder.hold()
    control = Control(folder.control_socket(), lambda: STATUS)
    await control.start()
    folder.write({"pid": 4711, "control": str(folder.control_socket()), "public": "http://127.0.0.1:1"})
    yield folder
    await control.close()
    folder.release()


async def test_the_cluster_of_this_folder_is_found_and_answers(running: StateFolder) -> None:
    found = await asyncio.to_thread(find_cluster, None, running.path.parent)
    assert (found.pid, found.public_url) == (4711, "http://127.0.0.1:1")
    assert await asyncio.to_thread(found.status) == STATUS


async def test_a_cluster_is_found_by_its_file(running: StateFolder) -> None:
    found = await asyncio.to_thread(find_cluster, running.path.parent / "cluster.yaml")
    assert found.pid == 4711


async def test_a_cluster_is_found_in_the_folder_it_was_started_from(
    running: StateFolder, tmp_path: Path
) -> None:
    running.point_from(tmp_path)
    assert (await asyncio.to_thread(find_cluster, None, tmp_path)).pid == 4711


async def test_only_this_user_may_open_the_control_socket(running: StateFolder) -> None:
    assert running.control_socket().stat().st_mode & 0o777 == 0o600


def test_no_cluster_says_how_to_start_one(tmp_path: Path) -> None:
    with pytest.raises(NotRunning, match="start one: crema up"):
        find_cluster(None, tmp_path)


def test_what_a_killed_supervisor_left_is_not_a_running_cluster(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path / ".crema")
    folder.hold()
    folder.write({"pid": 1, "control": str(folder.control_socket())})
    with pytest.raises(NotRunning, match="no cluster is running"):
        find_cluster(None, tmp_path)
    folder.release()


def test_a_supervisor_that_is_there_and_silent_is_not_told_to_be_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deploy.running_cluster.ASK_TIMEOUT_S", 0.2)
    monkeypatch.setattr(_UnixConnection.__init__, "__defaults__", (0.2,))
    folder = StateFolder(tmp_path / "site" / ".crema")
    folder.hold()
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(folder.control_socket()))
        silent.listen()
        folder.write({"pid": 4711, "control": str(folder.control_socket()), "public": None})
        with pytest.raises(NotRunning, match="runs and does not answer") as told:
            find_cluster(None, folder.path.parent)
    folder.release()
    assert "ps -o stat,wchan,args -p 4711" in str(told.value)
    assert "start one" not in str(told.value)


def test_a_runtime_folder_that_others_can_write_is_refused(tmp_path: Path) -> None:
    folder = runtime_folder()
    folder.chmod(0o777)
    with pytest.raises(PermissionError, match="this user alone"):
        runtime_folder()
