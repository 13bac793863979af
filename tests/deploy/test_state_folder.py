"""StateFolder: one holder at a time; what a killed one left is noticed and ended."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.state_folder import AlreadyRunning, StateFolder, children_written


@pytest.fixture(autouse=True)
def _private_runtime_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = tmp_path / "runtime"
    runtime.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
    yield process
    process.kill()
    process.wait()


def test_a_held_folder_is_refused_and_its_holder_named(tmp_path: Path) -> None:
    first, second = StateFolder(tmp_path / ".crema"), StateFolder(tmp_path / ".crema")
    first.hold()
    first.write({"pid": 4711})
    with pytest.raises(AlreadyRunning, match=r"pid 4711.*\n.*crema status") as refused:
        second.hold()
    assert refused.value.pid == 4711
    first.release()
    second.hold()
    second.release()


def test_a_file_left_by_a_killed_holder_is_no_obstacle(tmp_path: Path) -> None:
    left = tmp_path / ".crema" / "supervisor.json"
    left.parent.mkdir()
    left.write_text(json.dumps({"pid": os.getpid(), "control": "gone"}))
    folder = StateFolder(tmp_path / ".crema")
    folder.hold()
    assert folder.end_leftovers() == []
    folder.release()
    assert not left.exists()


def test_a_process_that_a_killed_holder_left_is_ended(
    tmp_path: Path, sleeper: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deploy.state_folder._LEFTOVERS_TIMEOUT_S", 0.1)
    killed = StateFolder(tmp_path / ".crema")
    killed.hold()
    killed.write({"pid": 1, "children": children_written([sleeper.pid])})
    assert killed._lock is not None
    os.close(killed._lock)  # what the kernel does when a process is killed
    folder = StateFolder(tmp_path / ".crema")
    folder.hold()
    assert folder.end_leftovers() == [sleeper.pid]
    assert sleeper.wait(timeout=5) == -9
    folder.release()


def test_another_process_with_a_leftovers_pid_is_left_alone(
    tmp_path: Path, sleeper: subprocess.Popen[bytes]
) -> None:
    written = tmp_path / ".crema" / "supervisor.json"
    written.parent.mkdir()
    written.write_text(
        json.dumps(
            {"children": [{"pid": sleeper.pid, "started": 1}, {"pid": 1}, "x", {"pid": -1, "started": 1}]}
        )
    )
    folder = StateFolder(tmp_path / ".crema")
    folder.hold()
    assert folder.end_leftovers() == []
    assert sleeper.poll() is None
    folder.release()


def test_the_control_socket_lies_in_the_folder_or_where_its_path_is_short_enough(tmp_path: Path) -> None:
    assert StateFolder(tmp_path / ".crema").control_socket() == tmp_path / ".crema" / "control.sock"
    deep = tmp_path.joinpath(*["a-very-long-name-of-a-folder"] * 6) / ".crema"
    moved = StateFolder(deep).control_socket()
    assert len(os.fsencode(moved)) <= 107
    assert moved.parent.stat().st_mode & 0o777 == 0o700
    assert StateFolder(deep.with_name(".other")).control_socket() != moved


def test_only_its_owner_can_enter_the_folder(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path / ".crema")
    folder.hold()
    assert (tmp_path / ".crema").stat().st_mode & 0o777 == 0o700
    folder.release()
