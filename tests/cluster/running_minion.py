"""One real minion process for tests: started on free ports with a toy model, spoken to through channel and door.

    async with running_minion("echo") as minion:
        header, outcomes = await minion.infer(7)

Everything waits for a condition and is bounded; what is started is stopped by its own pid.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import msgpack

from crema.host.channel_client import ChannelClient

ROOT = Path(__file__).resolve().parents[2]
TOYS = ROOT / "tests" / "models"
PATIENCE_S = 30.0


class MinionProcess:
    """A minion that has been started and has announced its ports."""

    def __init__(
        self, toy: str, *options: str, token: str | None = None, env: dict[str, str] | None = None
    ) -> None:
        self.token = token
        self._folder = tempfile.TemporaryDirectory(prefix="crema-test-")
        self.log = Path(self._folder.name) / "log"
        read_end, write_end = os.pipe()
        secrets = {"CREMA_CLUSTER_TOKEN": token or "", **(env or {})}
        self.process = _start(TOYS / toy / "1.0", options, write_end, self.log, secrets)
        os.close(write_end)
        with os.fdopen(read_end) as pipe:
            announced = pipe.readline()
        assert announced, self.log.read_text()
        self.ports: dict[str, int] = json.loads(announced)

    def end(self) -> None:
        """Stop it, the hard way if need be."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._folder.cleanup()


class RunningMinion:
    """A minion and one client of each of its doors."""

    def __init__(self, started: MinionProcess) -> None:
        self.process = started.process
        self.ports = started.ports
        self.log_file = started.log
        self.channel = ChannelClient(
            f"127.0.0.1:{self.ports['channel']}", "coordinator", "minion", token=started.token
        )
        self.http = aiohttp.ClientSession(f"http://127.0.0.1:{self.ports['http']}")

    @property
    def log(self) -> list[dict[str, Any]]:
        """Every event logged so far."""
        return [json.loads(line) for line in self.log_file.read_text().splitlines() if line.startswith("{")]

    async def infer(
        self, *first_bytes: int, params: dict[str, Any] | None = None, **more: Any
    ) -> tuple[dict[str, Any], Any]:
        """Send items that begin with these bytes; the answer's header and its outcomes (None: refused)."""
        item: dict[str, Any] = {"shape": [128], "dtype": "uint8", "params": params or {}}
        pixels = b"".join(bytes([first]) + bytes(127) for first in first_bytes)
        header, payload = await self.channel.call(
            {"kind": "infer", "items": [item] * len(first_bytes), **more}, pixels
        )
        if "outcomes_bytes" in header:
            return header, msgpack.unpackb(payload)
        return header, header.get("outcomes")

    async def readiness(self) -> tuple[int, dict[str, Any]]:
        """Status and body of `/readyz`."""
        async with self.http.get("/readyz") as answer:
            return answer.status, await answer.json()

    async def metric(self, name: str, **labels: str) -> float:
        """The sum of the samples of a metric that have these labels."""
        async with self.http.get("/metrics") as answer:
            text = await answer.text()
        return sum(
            float(line.rpartition(" ")[2])
            for line in text.splitlines()
            if line.partition("{")[0] == name
            and all(f'{key}="{value}"' in line for key, value in labels.items())
        )

    async def until(self, state: str) -> dict[str, Any]:
        """Wait for a state; the body of `/readyz` then."""
        return await eventually(self._in_state(state))

    def _in_state(self, state: str) -> Callable[[], Any]:
        async def check() -> Any:
            _, body = await self.readiness()
            return body if body["state"] == state else None

        return check

    async def worker_pid(self) -> int:
        """The pid of its worker."""
        _, body = await self.readiness()
        return int(body["workers"][0]["pid"])

    def terminate(self) -> None:
        """Ask it to drain."""
        self.process.send_signal(signal.SIGTERM)

    async def ended(self) -> int:
        """Wait for its end; the exit status."""
        return int(await eventually(self._status))

    async def _status(self) -> str | None:
        status = self.process.poll()
        return None if status is None else str(status)


async def eventually(check: Callable[[], Any], patience_s: float = PATIENCE_S) -> Any:
    """Ask again until the answer is true; what it was."""
    give_up_at = time.monotonic() + patience_s
    while True:
        found = await check()
        if found:
            return found
        assert time.monotonic() < give_up_at, "waited too long"
        await asyncio.sleep(0.01)


def is_running(pid: int) -> bool:
    """Whether there is a process with this pid that is not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@contextlib.asynccontextmanager
async def connected(started: MinionProcess, state: str = "ready") -> AsyncIterator[RunningMinion]:
    """Clients of a started minion, once it is in `state`."""
    minion = RunningMinion(started)
    minion.channel.start()
    try:
        await minion.until(state)
        assert await minion.channel.wait_open(PATIENCE_S)
        yield minion
    finally:
        await minion.channel.close()
        await minion.http.close()


@contextlib.asynccontextmanager
async def running_minion(
    toy: str,
    *options: str,
    state: str = "ready",
    token: str | None = None,
    env: dict[str, str] | None = None,
) -> AsyncIterator[RunningMinion]:
    """A minion in `state` that serves a toy; stopped in the end, however it goes."""
    started = await asyncio.to_thread(MinionProcess, toy, *options, token=token, env=env)
    try:
        async with connected(started, state) as minion:
            yield minion
    finally:
        await asyncio.to_thread(started.end)


def _start(
    package: Path, options: tuple[str, ...], announce: int, log: Path, env: dict[str, str]
) -> subprocess.Popen[bytes]:
    with log.open("wb") as output:
        return subprocess.Popen(
            [
                sys.executable, "-m", "minion", "--package", str(package), "--python", sys.executable,
                "--channel", "127.0.0.1:0", "--http", "127.0.0.1:0", "--parent-pid", str(os.getpid()),
                "--announce-fd", str(announce), *options,
            ],
            pass_fds=(announce,), cwd=ROOT, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            env={**os.environ, **env},
        )  # fmt: skip
