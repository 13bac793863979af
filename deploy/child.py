"""Child: one process of the cluster, started, watched, started again when it ends, and stopped for good.

It knows nothing of tiers: what a ready process is, is told by `probe`. No process outlives `stop` or `kill`, and none
outlives the supervisor, because every one is told its parent's pid.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path
from typing import Any, Final

import structlog

from crema import session
from crema.host.turns import restore_turns, take_long_turns
from deploy.backoff import Backoff
from deploy.health import Health
from deploy.log_file import LogFile

# Importing on a loaded machine takes seconds; listening comes right after it.
ANNOUNCE_TIMEOUT_S: Final = 120.0
_ANNOUNCE_BYTES: Final = 65536
# What starts beside others that serve gets a third of what each of them gets where cores are short.
GENTLY: Final = 5

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Command:
    """What is run: `argv` without the two arguments of every tier, which are added at each start."""

    argv: tuple[str, ...]
    cwd: Path
    env: Mapping[str, str] = field(default_factory=dict)
    fds: tuple[int, ...] = ()
    """Descriptors that the process inherits under the same numbers."""


class Child:
    """One process that is meant to run. One that `starts_gently` lets others have the cores until it is ready.

    `probe(child)` runs beside the living process, from its announcement on, and sets `health`; `on_change(child)` is
    called on the loop whenever pid, ports, health or problem changed.
    """

    def __init__(
        self,
        name: str,
        command: Callable[[], Command],
        log_file: LogFile,
        *,
        probe: Callable[[Child], Awaitable[None]],
        on_change: Callable[[Child], None],
        announce_timeout_s: float = ANNOUNCE_TIMEOUT_S,
        starts_gently: bool = False,
    ) -> None:
        self.name = name
        self.log_file = log_file
        self.pid: int | None = None
        self.ports: dict[str, int] = {}
        """What the living process announced; empty before."""
        self.health: Health | None = None
        self.problem: str | None = None
        """Why it is not running, or why it was started again; None once it is ready."""
        self.starts = 0
        self.backoff = Backoff()
        self._command = command
        self._probe = probe
        self._on_change = on_change
        self._announce_timeout_s = announce_timeout_s
        self._starts_gently = starts_gently
        self._process: Process | None = None
        self._ready_since: float | None = None
        self._kill_reason: str | None = None
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    # -- what it is ------------------------------------------------------------------------------------------------

    @property
    def is_ready(self) -> bool:
        """Whether it may get traffic now."""
        return self.health is not None and self.health.is_ready and not self._stopping.is_set()

    @property
    def state(self) -> str:
        """One word: what the process says of itself, or what is being done with it."""
        if self._stopping.is_set():
            return "draining"
        if self.health is not None:
            return self.health.state
        if self.pid is not None and self._ready_since is not None:
            return "failed"  # it was ready and answers no more
        return "failed" if self.backoff.never_ready >= 2 else "starting"

    def report(self, health: Health | None) -> None:
        """Take what `/readyz` answered (None: it did not answer)."""
        if health == self.health or self.pid is None:
            return
        self.health = health
        if health is not None and health.is_ready:
            self.problem = None
            if self._ready_since is None:
                self._ready_since = asyncio.get_running_loop().time()
                if self._starts_gently:
                    # whoever replaces it, should it end, is waited for
                    self._starts_gently = False
                    session.restore(self.pid)
                    restore_turns(self.pid)
                log.info("child_ready", child=self.name, pid=self.pid, starts=self.starts)
        elif health is not None:
            self.problem = health.problem or self.problem
        elif self._ready_since is not None:
            self.problem = "does not answer /readyz"
        self._changed()

    # -- its life --------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to run it, in the background."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run(), name=f"child {self.name}")

    def terminate(self) -> None:
        """Ask it to drain, and start it no more. Does not wait.

        By SIGINT, which tells a tier that the whole cluster ends: a coordinator then takes no more calls at once.
        """
        self._stopping.set()
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGINT)

    def kill(self, reason: str | None = None) -> None:
        """End the process and everything in its session now. Without `terminate` before, it is started again."""
        self._kill_reason = reason
        process = self._process
        if process is not None and process.returncode is None:
            _kill_group(process.pid)

    async def stop(self, drain_s: float) -> None:
        """Drain it within `drain_s`, kill what is left then, and return when it is gone."""
        self.terminate()
        if self._task is None:
            return
        done, _ = await asyncio.wait({self._task}, timeout=max(0.0, drain_s))
        if not done:
            log.warning("child_killed", child=self.name, pid=self.pid, after_s=drain_s)
            self.kill()
            await asyncio.wait({self._task})
        await self._task

    def _changed(self) -> None:
        try:
            self._on_change(self)
        except Exception:  # whoever listens must not end the watch over the process
            log.exception("change_not_told", child=self.name)

    async def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                ended = await self._live()
            except OSError as error:
                ended = f"could not be started: {error}"
            except Exception as error:
                log.exception("child_lost", child=self.name)
                ended = f"could not be watched: {error}; this is a bug of ours"
            ready_s = None
            if self._ready_since is not None:
                ready_s = asyncio.get_running_loop().time() - self._ready_since
            self.pid, self.ports, self.health, self._process, self._ready_since = None, {}, None, None, None
            wait_s = self.backoff.ended(ready_s, random.random())
            self.problem = None if self._stopping.is_set() else ended
            log.info(
                "child_ended",
                child=self.name,
                ended=ended,
                again_in_s=None if self._stopping.is_set() else wait_s,
            )
            self._changed()
            if wait_s:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), wait_s)

    async def _live(self) -> str:
        """Start the process and wait for its end. Returns how it ended, in words."""
        command = self._command()
        self._kill_reason = None
        read_end, write_end = os.pipe()
        os.set_blocking(read_end, False)
        with FileIO(read_end, "rb") as pipe:
            output = -1
            try:
                output = self.log_file.open()
                process = await asyncio.create_subprocess_exec(
                    *command.argv, "--parent-pid", str(os.getpid()), "--announce-fd", str(write_end),
                    stdin=DEVNULL, stdout=output, stderr=output, pass_fds=(write_end, *command.fds),
                    cwd=command.cwd, env=dict(command.env), start_new_session=True,
                )  # fmt: skip
            finally:
                os.close(write_end)
                if output >= 0:
                    os.close(output)
            return await self._watch(process, pipe)

    async def _watch(self, process: Process, pipe: FileIO) -> str:
        """Wait for the end of a process that was just started."""
        self._process, self.pid = process, process.pid
        self.starts += 1
        if self._starts_gently:
            session.set_niceness(GENTLY, process.pid)
            take_long_turns(process.pid)
        log.info("child_started", child=self.name, pid=process.pid, starts=self.starts)
        if self._stopping.is_set():  # asked to stop while it was being started
            self.terminate()
        self._changed()
        beside = asyncio.get_running_loop().create_task(self._attend(pipe))
        try:
            status = await process.wait()
        finally:
            beside.cancel()
            await asyncio.gather(beside, return_exceptions=True)
            # what it started and left behind: a worker must not keep the GPU when its host was killed
            _kill_group(process.pid)
        return self._kill_reason or _ended(status, self.log_file.last_words())

    async def _attend(self, pipe: FileIO) -> None:
        """Wait for the announcement, then probe until cancelled."""
        try:
            async with asyncio.timeout(self._announce_timeout_s):
                ports = await _announced(pipe)
            if ports is None:  # it ended, or is about to: its exit status says more
                return
            self.ports = ports
            self._changed()
            await self._probe(self)
        except TimeoutError:
            self.kill(f"did not listen within {self._announce_timeout_s:.0f} s")
        except Exception as error:
            log.exception("child_not_watched", child=self.name, pid=self.pid)
            self.kill(f"could not be watched: {error}")


async def _announced(pipe: FileIO) -> dict[str, int] | None:
    """The JSON line with the ports; None when the pipe was closed without one. Raises ValueError for anything else."""
    loop = asyncio.get_running_loop()
    received = bytearray()
    has_ended: asyncio.Future[None] = loop.create_future()

    def read() -> None:
        chunk = pipe.read(_ANNOUNCE_BYTES)
        if chunk:
            received.extend(chunk)
        if (chunk == b"" or b"\n" in received or len(received) > _ANNOUNCE_BYTES) and not has_ended.done():
            has_ended.set_result(None)

    loop.add_reader(pipe.fileno(), read)
    try:
        await has_ended
    finally:
        loop.remove_reader(pipe.fileno())
    if not received:
        return None
    ports: Any = json.loads(received)
    if not isinstance(ports, dict) or not all(type(port) is int for port in ports.values()):
        raise ValueError(f"announced {bytes(received[:200])!r} instead of ports")
    return {str(name): int(port) for name, port in ports.items()}


def _kill_group(pid: int) -> None:
    """SIGKILL for the session that a child leads; nothing happens when all of it is gone."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _ended(status: int, last_words: str | None) -> str:
    if status < 0:
        try:
            how = f"killed by {signal.Signals(-status).name}"
        except ValueError:
            how = f"killed by signal {-status}"
    else:
        how = f"exited with status {status}"
    return f"{how}: {last_words}" if last_words and status > 0 else how
