"""The senders of a load run as processes: they share it, stop when told, and never outlive who started them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from loadtest.cluster_cpu import NoCpu
from loadtest.drawn_photo import draw_photo
from loadtest.load_run import Live, RunError, Settings, run_load
from loadtest.photo_stock import PhotoFiles
from loadtest.scenario import PhaseConfig, Scenario, ScenarioConfig, resolve
from tests.cluster.process_figures import children
from tests.cluster.running import is_alive
from tests.loadtest.told_server import told_server, whole

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def photos(tmp_path: Path) -> list[PhotoFiles]:
    path = tmp_path / "a.jpg"
    path.write_bytes(draw_photo(64, 48, 1))
    return [PhotoFiles(1.0, (str(path),))]


def steady(seconds: float, rate: float = 50.0) -> Scenario:
    phase = PhaseConfig(seconds=seconds, rate=rate, arrivals="constant")
    return resolve(ScenarioConfig(phases=(phase,)), Path())


async def until(is_so: Callable[[], bool], what: str) -> None:
    async with asyncio.timeout(20):
        while not is_so():
            await asyncio.sleep(0.02)


async def test_three_senders_send_each_call_once_and_progress_is_told(photos: list[PhotoFiles]) -> None:
    told: list[Live] = []
    async with told_server(whole) as server:
        run = await run_load(
            steady(2.5, 40.0), Settings(server.url, processes=3), photos, NoCpu(""), watch=told.append
        )
        assert len(server.photos) == 100
    assert run.tallies[0].outcomes.counts["ok"] == 100 and run.processes == 3
    assert told and 0 < told[-1].sent <= 100 and told[-1].recent.count > 0


async def test_a_stopped_run_tells_what_it_counted_until_then(photos: list[PhotoFiles]) -> None:
    stopping = asyncio.Event()
    async with told_server(whole) as server:
        running = asyncio.create_task(
            run_load(steady(60.0), Settings(server.url, processes=2), photos, NoCpu(""), stopping=stopping)
        )
        await until(lambda: len(server.photos) >= 5, "calls")
        stopping.set()
        async with asyncio.timeout(10):
            run = await running
        assert run.is_cut_short and run.tallies[0].outcomes.counts["ok"] == len(server.photos)


async def test_a_sender_that_dies_ends_the_run_with_a_reason_and_the_other_senders(
    photos: list[PhotoFiles],
) -> None:
    async with told_server(whole) as server:
        running = asyncio.create_task(
            run_load(steady(60.0), Settings(server.url, processes=2), photos, NoCpu(""))
        )
        await until(lambda: len(server.photos) >= 5, "calls")
        senders = children(os.getpid())
        os.kill(senders[0], signal.SIGKILL)
        async with asyncio.timeout(10):
            with pytest.raises(RunError, match="exit code -9 before its work was done"):
                await running
        assert not any(map(is_alive, senders))


async def command(url: str, photos: list[PhotoFiles], *arguments: str) -> asyncio.subprocess.Process:
    """`crema loadtest` as a person starts it."""
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "crema.cli", "loadtest", "--rate", "50", "--url", url, "--photos", photos[0].paths[0], *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip


async def test_ctrl_c_reports_what_was_counted_and_exits_with_1(photos: list[PhotoFiles]) -> None:
    async with told_server(whole) as server:
        process = await command(server.url, photos, "--duration", "60s", "--json", "-")
        try:
            await until(lambda: len(server.photos) >= 10, "calls")
            process.send_signal(signal.SIGINT)
            async with asyncio.timeout(20):
                out, err = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
        report: dict[str, Any] = json.loads(out)
        # one call went ahead of the run
        assert report["total"]["counts"]["ok"] == len(server.photos) - 1
    assert process.returncode == 1 and report["is_cut_short"]
    assert b"Traceback" not in err


async def test_senders_end_when_who_started_them_is_killed(photos: list[PhotoFiles]) -> None:
    async with told_server(whole) as server:
        process = await command(server.url, photos, "--duration", "60s", "--processes", "2")
        try:
            await until(lambda: len(server.photos) >= 10, "calls")
            senders = children(process.pid)
            assert len(senders) == 2
        finally:
            process.kill()
            await process.wait()
        await until(lambda: not any(map(is_alive, senders)), "the senders to end")
        # the senders' standard error is the command's
        assert process.stderr is not None
        assert b"Traceback" not in await process.stderr.read()
