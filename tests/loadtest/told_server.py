"""A public API on loopback that answers as it is told, in the test's own loop, for tests of what sends to it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

# (status, body) for the number of the call, from 0
Told = Callable[[int], Awaitable[tuple[int, Any]]]


def part(status: str = "ok", *, model: str = "tags", batch_size: int = 4, code: str = "") -> dict[str, Any]:
    """One model's part of an answer."""
    if status != "ok":
        return {"status": "error", "model": model, "version": "3.1", "error": {"code": code}}
    timing = {"queue_ms": 1.0, "inference_ms": 20.0, "total_ms": 25.0, "batch_size": batch_size}
    return {"status": "ok", "model": model, "version": "3.1", "output": {}, "timing": timing}


def answer(**parts: dict[str, Any]) -> dict[str, Any]:
    """An answer of these parts; of `tags` alone when there are none."""
    parts = parts or {"tags": part()}
    is_whole = all(each["status"] == "ok" for each in parts.values())
    return {
        "id": "req_1",
        "status": "ok" if is_whole else "partial",
        "results": parts,
        "timing": {"total_ms": 30.0},
    }


FULL = {"type": "about:blank", "title": "Full", "status": 429, "code": "overloaded", "results": {}}


class ToldServer:
    """What was asked of it: `queries`, `photos`, `keys`, in the order of arrival."""

    def __init__(self, tell: Told) -> None:
        self.url = ""
        self.queries: list[dict[str, str]] = []
        self.photos: list[bytes] = []
        self.keys: list[str | None] = []
        self._tell = tell

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        number = len(self.photos)
        self.queries.append(dict(request.query))
        self.keys.append(request.headers.get("Authorization"))
        self.photos.append(b"")
        self.photos[number] = await request.read()
        status, body = await self._tell(number)
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        return web.Response(status=status, body=raw, content_type="application/json")


@asynccontextmanager
async def told_server(tell: Told) -> AsyncIterator[ToldServer]:
    """Listens on a free port until the end of the block."""
    told = ToldServer(tell)
    runner = web.ServerRunner(web.Server(told.handle), shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    assert isinstance(site._server, asyncio.Server)
    told.url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"
    try:
        yield told
    finally:
        await runner.cleanup()


async def whole(number: int) -> tuple[int, Any]:
    """Answers everything."""
    return 200, answer()
