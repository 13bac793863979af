"""Readiness: a child's /readyz is asked, and silence has consequences."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import cast

import pytest
from aiohttp import web

from deploy import readiness
from deploy.child import Child
from deploy.health import Health
from deploy.readiness import Readiness


class Recorded:
    """Stands in for a Child: keeps what it is told."""

    def __init__(self) -> None:
        self.reports: list[Health | None] = []
        self.killed: list[str | None] = []
        self.told = asyncio.Event()

    def report(self, health: Health | None) -> None:
        self.reports.append(health)
        self.told.set()

    def kill(self, reason: str | None = None) -> None:
        self.killed.append(reason)


class Server:
    """Answers /readyz with `body`; None is silence."""

    def __init__(self) -> None:
        self.body: object = {"ready": True, "state": "ready"}
        self.address = ""
        self.connections: set[object] = set()

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        self.connections.add(request.transport)
        if self.body is None:
            await asyncio.sleep(60)
        return web.json_response(self.body, status=503)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    runner = web.ServerRunner(web.Server(server.answer), shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.address = f"127.0.0.1:{runner.addresses[0][1]}"
    yield server
    await runner.cleanup()


@pytest.fixture(autouse=True)
def _short_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness, "TIMEOUT_S", 0.05)


async def watched(address: str, until: int = 3, hangs_after_s: float = 60.0) -> Recorded:
    """What a child is told in its first `until` reports."""
    child = Recorded()
    async with Readiness(interval_s=0.01, hangs_after_s=hangs_after_s) as asking:
        task = asyncio.create_task(asking.watch(cast(Child, child), address))
        async with asyncio.timeout(10):
            while len(child.reports) < until and not task.done():
                child.told.clear()
                waiting = asyncio.ensure_future(child.told.wait())
                await asyncio.wait({waiting, task}, return_when=asyncio.FIRST_COMPLETED)
                waiting.cancel()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    return child


async def test_an_answer_counts_whatever_its_status(server: Server) -> None:
    assert (await watched(server.address)).reports[0] == Health(True, "ready")


async def test_one_connection_serves_all_probes(server: Server) -> None:
    await watched(server.address, until=5)
    assert len(server.connections) == 1


async def test_silence_is_reported_from_the_second_probe_on(server: Server) -> None:
    server.body = None
    assert (await watched(server.address, until=1)).reports == [None]


async def test_an_answer_that_makes_no_sense_is_silence(server: Server) -> None:
    server.body = ["ready"]
    assert (await watched(server.address, until=1)).reports == [None]


async def test_a_process_that_stays_silent_is_killed(server: Server) -> None:
    server.body = None
    child = await watched(server.address, until=1000, hangs_after_s=0.2)
    assert len(child.killed) == 1
    assert "did not answer /readyz" in (child.killed[0] or "")


async def test_a_port_that_nobody_listens_on_is_silence() -> None:
    assert (await watched("127.0.0.1:1", until=1)).reports == [None]
