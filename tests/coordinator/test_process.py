"""A real coordinator process: it announces its ports, drains on SIGTERM and ends."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest

from tests.coordinator.stub_tiers import (
    JPEG,
    StubMinion,
    StubPreprocessor,
    card,
    model_row,
    ok,
    version_row,
    write_routing,
)

pytestmark = pytest.mark.cluster


@dataclass
class Running:
    """One process and the stubs behind it."""

    process: asyncio.subprocess.Process
    url: str
    operations_url: str
    minion: StubMinion
    session: aiohttp.ClientSession

    async def ready(self) -> None:
        async with asyncio.timeout(10):
            while True:
                async with self.session.get(self.url + "/readyz") as response:
                    if response.status == 200:
                        return
                await asyncio.sleep(0.02)

    async def post(self) -> tuple[int, str]:
        async with self.session.post(self.url + "/v1/analyze", data=JPEG) as response:
            await response.read()
            return response.status, response.headers.get("Connection", "")


@asynccontextmanager
async def running(folder: Path, *arguments: str) -> AsyncIterator[Running]:
    preprocessor = StubPreprocessor()
    minion = StubMinion("tags", "3.1", lambda header, payload: ok({"tags": []}))
    await preprocessor.start()
    await minion.start()
    routing = folder / "routing.json"
    models = {"tags": model_row("3.1", {"3.1": version_row([minion.address], card("tags", "3.1"))})}
    write_routing(routing, models, [preprocessor.address], ["tags"])
    reading, writing = os.pipe()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "coordinator", "--routing", str(routing), "--listen", "127.0.0.1:0",
        "--operations", "127.0.0.1:0", "--parent-pid", str(os.getpid()), "--announce-fd", str(writing), *arguments,
        pass_fds=(writing,), stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    os.close(writing)
    with os.fdopen(reading) as pipe:
        ports = json.loads(await asyncio.to_thread(pipe.readline))
    session = aiohttp.ClientSession()
    try:
        urls = [f"http://127.0.0.1:{ports[name]}" for name in ("public", "operations")]
        yield Running(process, urls[0], urls[1], minion, session)
    finally:
        await session.close()
        if process.returncode is None:
            process.kill()
        await process.wait()
        await preprocessor.close()
        await minion.close()


async def test_it_serves_and_ends_at_once_when_nobody_calls(tmp_path: Path) -> None:
    async with running(tmp_path) as cluster:
        await cluster.ready()
        async with cluster.session.get(cluster.operations_url + "/metrics") as response:
            assert "crema_ready" in await response.text()
        started = time.monotonic()
        cluster.process.send_signal(signal.SIGTERM)
        assert await cluster.process.wait() == 0
        assert time.monotonic() - started < 3


async def test_times_are_told_in_tenths_of_milliseconds(tmp_path: Path) -> None:
    # the event loop's own clock ticks in whole milliseconds and stands still within a turn
    async with running(tmp_path) as cluster:
        await cluster.ready()
        told = []
        for _ in range(10):
            async with cluster.session.post(cluster.url + "/v1/analyze", data=JPEG) as response:
                told.append((await response.json())["timing"]["total_ms"])
        assert any(total_ms != int(total_ms) for total_ms in told)


async def test_a_drain_finishes_what_is_in_flight_and_takes_calls_through_its_grace(tmp_path: Path) -> None:
    async with running(tmp_path, "--grace-s", "0.6") as cluster:
        await cluster.ready()
        assert await cluster.post() == (200, "")
        cluster.minion.delay_s = 0.8
        in_flight = asyncio.create_task(cluster.post())
        await cluster.minion.until(lambda: len(cluster.minion.requests) == 2)
        cluster.minion.delay_s = 0
        cluster.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(5):
            while True:
                async with cluster.session.get(cluster.url + "/readyz") as response:
                    if response.status == 503:
                        break
        assert await cluster.post() == (200, "close")
        assert (await in_flight)[0] == 200
        assert await cluster.process.wait() == 0
        assert cluster.process.stderr is not None
        lines = (await cluster.process.stderr.read()).decode().splitlines()
        events = [json.loads(line)["event"] for line in lines]
        assert events.count("request") == 3
        assert events[-1] == "drained"


async def test_a_second_signal_ends_it_at_once(tmp_path: Path) -> None:
    async with running(tmp_path, "--grace-s", "20") as cluster:
        await cluster.ready()
        await cluster.post()
        cluster.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(5):
            while True:
                async with cluster.session.get(cluster.url + "/readyz") as response:
                    if response.status == 503:
                        break
        started = time.monotonic()
        cluster.process.send_signal(signal.SIGTERM)
        assert await cluster.process.wait() == 1
        assert time.monotonic() - started < 1


@pytest.mark.parametrize("option", ["--listen", "--operations"])
async def test_it_refuses_to_listen_beyond_loopback(tmp_path: Path, option: str) -> None:
    arguments = [
        sys.executable,
        "-m",
        "coordinator",
        "--routing",
        str(tmp_path / "r.json"),
        option,
        "0.0.0.0:0",
    ]
    process = await asyncio.create_subprocess_exec(*arguments, stderr=asyncio.subprocess.PIPE)
    _, said = await process.communicate()
    assert process.returncode == 1
    assert b"refusing to listen" in said
