"""Child: a real, tiny process is started, announced, started again, stopped and killed."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from crema.host.turns import LONG_S, slice_s
from crema.session import niceness
from deploy.child import GENTLY, Child, Command
from deploy.health import Health
from deploy.log_file import LogFile

LISTENING = """
import json, os, signal, sys, time
announce = int(sys.argv[sys.argv.index("--announce-fd") + 1])
os.write(announce, json.dumps({"http": 7}).encode() + b"\\n")
os.close(announce)
"""
OBEDIENT = LISTENING + "signal.signal(signal.SIGINT, lambda *_: sys.exit(0))\ntime.sleep(60)\n"
STUBBORN = (
    "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
    + LISTENING
    + "time.sleep(60)\n"
)
CRASHING = "import sys; print('out of luck', file=sys.stderr); sys.exit(3)\n"
PATIENCE_S = 10.0

# starts real (if small) processes
pytestmark = pytest.mark.cluster

Start = Callable[..., Child]


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    children: list[Child] = []

    async def is_ready(child: Child) -> None:
        child.report(Health(True, "ready"))

    def make(script: str, probe: object = is_ready, **options: float) -> Child:
        # PYTHON* of the environment does not matter to these scripts
        command = Command((sys.executable, "-S", "-c", script), tmp_path, dict(os.environ))
        child = Child(
            "toy",
            lambda: command,
            LogFile(tmp_path / "toy.log"),
            probe=probe,
            on_change=changed,
            **options,  # type: ignore[arg-type]
        )
        child.start()
        children.append(child)
        return child

    yield make
    for child in children:
        await child.stop(0)


_waiting: list[asyncio.Event] = []


def changed(child: Child) -> None:
    for event in _waiting:
        event.set()


async def until(condition: Callable[[], bool]) -> None:
    """Wait for the child's changes until the condition holds."""
    event = asyncio.Event()
    _waiting.append(event)
    try:
        async with asyncio.timeout(PATIENCE_S):
            while not condition():
                await event.wait()
                event.clear()
    finally:
        _waiting.remove(event)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def has_not_ended(pid: int) -> bool:
    """False also for a zombie that the machine's first process has not collected yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


async def test_an_announced_process_has_pid_ports_and_health(start: Start) -> None:
    child = start(OBEDIENT)
    await until(lambda: child.is_ready)
    assert child.pid is not None
    assert (child.ports, child.state, child.problem) == ({"http": 7}, "ready", None)


@pytest.mark.skipif(not Path("/proc/self/autogroup").exists(), reason="this kernel has no groups of sessions")
async def test_a_process_that_starts_gently_lets_others_have_the_cores_until_it_is_ready(
    start: Start,
) -> None:
    is_told = asyncio.Event()

    async def told(child: Child) -> None:
        await is_told.wait()
        child.report(Health(True, "ready"))

    child = start(OBEDIENT, told, starts_gently=True)
    await until(lambda: bool(child.ports))
    assert child.pid is not None
    assert niceness(child.pid) == GENTLY
    before = slice_s()
    assert slice_s(child.pid) == (before and LONG_S), "and to cut in at any moment"
    is_told.set()
    await until(lambda: child.is_ready)
    assert niceness(child.pid) == 0
    assert slice_s(child.pid) == before


async def test_a_killed_process_that_was_ready_is_started_again_at_once(start: Start) -> None:
    child = start(OBEDIENT)
    await until(lambda: child.is_ready)
    first = child.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    await until(lambda: child.pid != first)
    assert not child.is_ready
    await until(lambda: child.is_ready)
    assert child.starts == 2


async def test_a_process_that_ended_says_how_until_the_next_one_is_ready(start: Start) -> None:
    child = start(OBEDIENT)
    await until(lambda: child.is_ready)
    assert child.pid is not None
    os.kill(child.pid, signal.SIGKILL)
    await until(lambda: child.problem is not None)
    assert child.problem == "killed by SIGKILL"
    await until(lambda: child.is_ready)
    assert child.problem is None


async def test_a_process_that_cannot_start_shows_its_status_and_last_words(start: Start) -> None:
    child = start(CRASHING)
    await until(lambda: child.problem is not None)
    assert child.problem == "exited with status 3: out of luck"
    assert (child.pid, child.state) == (None, "starting")
    assert child.backoff.never_ready == 1


async def test_a_program_that_is_not_there_is_a_problem_and_no_crash(tmp_path: Path, start: Start) -> None:
    async def never(child: Child) -> None:
        raise AssertionError("there is nothing to probe")

    child = Child(
        "none",
        lambda: Command(("/nonexistent",), tmp_path),
        LogFile(tmp_path / "none.log"),
        probe=never,
        on_change=changed,
    )
    child.start()
    await until(lambda: child.problem is not None)
    assert "could not be started" in (child.problem or "")
    await child.stop(1)


async def test_stop_ends_a_process_that_drains_on_sigterm(start: Start) -> None:
    child = start(OBEDIENT)
    await until(lambda: child.is_ready)
    pid = child.pid
    assert pid is not None
    await child.stop(PATIENCE_S)
    assert not is_alive(pid)
    assert (child.pid, child.starts) == (None, 1)


async def test_a_process_that_does_not_drain_is_killed_at_the_bound(start: Start) -> None:
    child = start(STUBBORN)
    await until(lambda: child.is_ready)
    pid = child.pid
    assert pid is not None
    await child.stop(0.2)
    assert not is_alive(pid)


async def test_what_a_killed_process_had_started_dies_with_it(start: Start, tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    child = start(
        LISTENING
        + f"import subprocess; p = subprocess.Popen(['sleep', '60']); open({str(inner)!r}, 'w').write(str(p.pid))\n"
        + "os.kill(os.getpid(), signal.SIGKILL)\n",
        announce_timeout_s=PATIENCE_S,
    )
    await until(lambda: child.problem is not None)
    await child.stop(0)
    pid = int(inner.read_text())
    async with asyncio.timeout(PATIENCE_S):
        while has_not_ended(pid):
            await asyncio.sleep(0.01)


async def test_a_process_that_never_announces_is_started_again(start: Start) -> None:
    child = start("import time; time.sleep(60)", announce_timeout_s=0.2)
    await until(lambda: child.problem is not None)
    assert "did not listen" in (child.problem or "")


async def test_an_announcement_that_is_no_list_of_ports_is_refused(start: Start) -> None:
    child = start(OBEDIENT.replace('{"http": 7}', '{"http": "seven"}'))
    await until(lambda: child.problem is not None)
    assert "instead of ports" in (child.problem or "")


async def test_the_child_is_told_our_pid_and_leads_its_own_session(start: Start, tmp_path: Path) -> None:
    told = tmp_path / "told"
    child = start(
        f"import os, sys; open({str(told)!r}, 'w').write(' '.join(sys.argv[1:3]) + f' {{os.getsid(0) == os.getpid()}}')"
    )
    await until(lambda: child.problem is not None)
    assert told.read_text() == f"--parent-pid {os.getpid()} True"


async def test_a_child_inherits_no_descriptor_but_its_announcement(start: Start, tmp_path: Path) -> None:
    told = tmp_path / "told"
    child = start(f"import os, sys; open({str(told)!r}, 'w').write(' '.join(os.listdir('/proc/self/fd')))")
    await until(lambda: child.problem is not None)
    # 0, 1, 2, the announcement, the file itself and the listing
    assert len(told.read_text().split()) <= 6


async def test_a_ready_process_that_answers_no_more_has_failed(start: Start) -> None:
    child = start(OBEDIENT)
    await until(lambda: child.is_ready)
    child.report(None)
    assert (child.is_ready, child.state, child.problem) == (False, "failed", "does not answer /readyz")
