"""What a model left running in a session of its own."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from crema.host.left_behind import end_left_behind


@pytest.fixture
def started() -> Iterator[ExitStack]:
    with ExitStack() as processes:
        yield processes


def sleeper(started: ExitStack, **environment: str) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(["/bin/sleep", "60"], env=environment, start_new_session=True)
    started.callback(process.wait)
    started.callback(process.kill)
    return process


def test_what_lives_in_the_folder_or_below_is_killed_in_whatever_session(
    started: ExitStack, tmp_path: Path
) -> None:
    there, below = sleeper(started, HOME=str(tmp_path)), sleeper(started, HOME=f"{tmp_path}/worker-1", A="b")
    assert end_left_behind(tmp_path) >= 2
    assert [each.wait(5) for each in (there, below)] == [-signal.SIGKILL] * 2


def test_nobody_else_is_killed(started: ExitStack, tmp_path: Path) -> None:
    others = [
        sleeper(started, HOME=f"{tmp_path}-2"),
        sleeper(started, TMPDIR=str(tmp_path)),
        sleeper(started, HOME=str(tmp_path.parent)),
    ]
    assert end_left_behind(tmp_path) == 0
    assert [each.poll() for each in others] == [None] * 3
