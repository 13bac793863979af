"""How urgent a session is: set, taken over by what is started from it, taken back for all of them."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from crema.host.process import die_with_parent
from crema.session import niceness, restore, set_niceness, take_over
from tests.waiting import wait_until

pytestmark = [
    # starts real (if small) processes
    pytest.mark.cluster,
    pytest.mark.skipif(
        not Path("/proc/self/autogroup").exists(), reason="this kernel has no groups of sessions"
    ),
]

ROOT = Path(__file__).resolve().parents[2]
# leads a session, as its child does that takes over how urgent it is
PARENT = """
import os, subprocess, sys
sys.stdin.readline()
command = [sys.executable, "-c", sys.argv[1], str(os.getpid())]
subprocess.Popen(command, start_new_session=True, stdin=subprocess.PIPE).wait()
"""
CHILD = """
import sys, time
from crema.session import take_over
take_over(int(sys.argv[1]))
sys.stdin.read()
"""


@contextlib.contextmanager
def session(script: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A process that leads a session of its own."""
    process = subprocess.Popen(
        [sys.executable, "-c", script, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        start_new_session=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    try:
        yield process
    finally:
        for child in children(process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, 9)
        process.kill()
        process.communicate()


def children(pid: int) -> list[int]:
    try:
        return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def test_a_session_of_its_own_is_as_urgent_as_any_until_it_is_told_otherwise() -> None:
    with session("input()") as process:
        assert niceness(process.pid) == 0
        set_niceness(5, process.pid)
        assert niceness(process.pid) == 5


def test_what_is_started_in_another_session_takes_over_and_is_restored_with_its_parent() -> None:
    with session(PARENT, CHILD) as process:
        set_niceness(5, process.pid)
        assert process.stdin is not None
        process.stdin.write("now\n")
        process.stdin.flush()
        wait_until(lambda: [niceness(each) for each in children(process.pid)] == [5], "the child", 20.0)
        (child,) = children(process.pid)
        restore(process.pid)
        assert (niceness(process.pid), niceness(child)) == (0, 0)


def test_every_process_of_ours_takes_over_at_its_start(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[int] = []
    monkeypatch.setattr("crema.host.process.take_over", taken.append)
    monkeypatch.setattr("crema.host.process.ctypes.CDLL", lambda _: None)
    die_with_parent(os.getppid())
    assert taken == [os.getppid()]


def test_a_process_that_is_not_there_is_no_error() -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    set_niceness(5, gone.pid)
    take_over(gone.pid)
    restore(gone.pid)
    assert niceness(gone.pid) is None
