"""Fetches that reach nothing but servers of the test on loopback, and names that nobody else is asked for."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from crema.host.fetch_hosts import parse_host_rule, parse_network
from preprocessor.fetch import Fetch, Fetched, FetchFailed, Limits
from preprocessor.fetch_addresses import Addresses
from tests.preprocessor.fetch_servers import (
    Answer,
    WebServer,
)

QUICK = Limits(connect_s=0.5, total_s=5.0)
SITE = "127.0.0.1"
"""Where the servers of a test are that may be asked."""
INSIDE = "127.0.0.2"
"""Where the server is that nobody may reach: by its address it is no different from any other in the house."""
NAMES = {"localhost", "localhost.localdomain", "ip6-localhost", "ip6-loopback", "rebind.test"}


class Names(AbstractResolver):
    """Numbers as the system reads them, this machine's names, and `answers`: one list of addresses per look-up.

    Asks nobody. A name that is not known does not exist; `hang.test` is never answered.
    """

    def __init__(self, answers: dict[str, list[list[str]]] | None = None) -> None:
        self.answers = answers or {}
        self.asked: list[str] = []

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        self.asked.append(host)
        if host in self.answers:
            addresses = self.answers[host].pop(0)
        elif host == "hang.test":
            await asyncio.sleep(60)
        elif host.lower().rstrip(".") in NAMES:
            addresses = ["127.0.0.1", "::1"]
        else:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
            addresses = [str(row[4][0]) for row in found]
        return [
            ResolveResult(
                hostname=host, host=address, port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=socket.IPPROTO_TCP, flags=socket.AI_NUMERICHOST,
            )
            for address in addresses
        ]  # fmt: skip

    async def close(self) -> None:
        pass


def loopback_only(family: int, **more: Any) -> socket.socket:
    """A machine without a way out: no test connects to anything but itself."""
    made = socket.socket(family=family, **more)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_DONTROUTE, 1)
    made.bind(("127.0.0.1" if family == socket.AF_INET else "::1", 0))
    return made


def fetch_of(
    hosts: Sequence[str],
    private: Sequence[str] = (),
    *,
    limits: Limits = QUICK,
    resolver: AbstractResolver | None = None,
    tls: ssl.SSLContext | None = None,
) -> Fetch:
    return Fetch(
        [parse_host_rule(host) for host in hosts],
        Addresses(map(parse_network, private), make_socket=loopback_only),
        limits=limits,
        resolver=resolver or Names(),
        tls=tls,
    )


async def fetched(server: WebServer, path: str = "/photo.jpg", **more: Any) -> Fetched:
    """What a fetch gets that may ask `server`, and nobody else."""
    async with fetch_of([f"{SITE}:{server.port}"], [SITE], **more) as fetch:
        return await fetch.image(f"http://{SITE}:{server.port}{path}")


async def failure(server: WebServer, path: str, **more: Any) -> FetchFailed:
    with pytest.raises(FetchFailed) as caught:
        await fetched(server, path, **more)
    return caught.value


async def outcomes(fetch: Fetch, asked: Sequence[str]) -> dict[str, Any]:
    """The outcome of each URL, all asked at once."""
    found = await asyncio.gather(*(fetch.image(url) for url in asked), return_exceptions=True)
    return dict(zip(asked, found, strict=True))


@asynccontextmanager
async def web_servers() -> AsyncIterator[Callable[..., Any]]:
    """A function that starts servers, which end with this."""
    started: list[WebServer] = []

    async def start(
        answers: dict[str, Answer] | None = None, *hosts: str, tls: ssl.SSLContext | None = None
    ) -> WebServer:
        server = WebServer(answers)
        started.append(server)
        await server.listen(*(hosts or (SITE,)), tls=tls)
        return server

    try:
        yield start
    finally:
        for server in started:
            await server.close()
