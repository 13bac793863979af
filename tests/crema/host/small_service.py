"""A service of two routes on a free port, and a raw connection to it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from crema.host.http_answer import Answer, answer
from crema.host.http_request import Request
from crema.host.http_responses import json_response
from crema.host.service import Route, Service

LARGE_BYTES = 4 * 2**20


@dataclass
class Small:
    """The service, its port, and the paths that reached a handler, in order."""

    service: Service
    port: int = 0
    seen: list[str] = field(default_factory=list)

    async def connect(self, source: str | None = None) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A new connection; `source` is the address that it comes from."""
        local = None if source is None else (source, 0)
        return await asyncio.open_connection("127.0.0.1", self.port, local_addr=local)

    async def ask(self, data: bytes, within_s: float = 5.0) -> bytes:
        """Everything that is answered to `data` on a connection of its own, until the service closes it."""
        reader, writer = await self.connect()
        try:
            writer.write(data)
            async with asyncio.timeout(within_s):
                return await reader.read()
        finally:
            writer.close()

    async def until(self, connections: int) -> None:
        """Wait until so many connections are open."""
        async with asyncio.timeout(5):
            while self.service.connections != connections:
                await asyncio.sleep(0.005)


@asynccontextmanager
async def running(**options: Any) -> AsyncIterator[Small]:
    """A running service: `/echo` answers the number of bytes that came, `/large` 4 MiB, `/refuse` before the body."""

    async def echo(request: Request) -> Answer:
        small.seen.append(request.path)
        return json_response({"bytes": len(await request.body.read())})

    async def large(request: Request) -> Answer:
        small.seen.append(request.path)
        return answer(bytes(LARGE_BYTES), "application/octet-stream")

    async def refuse(request: Request) -> Answer:
        small.seen.append(request.path)
        return json_response({}, status=401)

    routes = [
        Route("POST", "/echo", echo),
        Route("GET", "/echo", echo),
        Route("POST", "/smuggled", echo),
        Route("GET", "/large", large),
        Route("POST", "/refuse", refuse),
    ]
    small = Small(Service(routes, cancels_handlers=True, **options))
    small.port = await small.service.start("127.0.0.1", 0)
    try:
        yield small
    finally:
        await small.service.close(0.5)


def statuses(answer: bytes) -> list[int]:
    """Of every response in `answer` (their bodies are JSON and hold no status line)."""
    return [int(status) for status in re.findall(rb"HTTP/1\.[01] (\d{3}) ", answer)]
