"""A listener that asks for no secret answers only names that nobody can have resolve as they like."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from crema.host.host_guard import HostGuard
from crema.host.http_responses import json_response
from crema.host.service import Route, Service
from tests.crema.host.small_service import statuses

HOSTS = {
    "127.0.0.1": 200, "127.0.0.1:8000": 200, "localhost": 200, "LOCALHOST:80": 200, "localhost.": 200, "[::1]": 200,
    "[::1]:80": 200, "[::ffff:127.0.0.1]:80": 200, "x": 200, "a_b-c:1": 200, "": 200, "api.localhost": 200,
    "photos.example.com:8000": 200, "Photos.Example.com": 200,
    "evil.example": 403, "evil.example:80": 403, "evil.example.": 403, "127.0.0.1.evil.example": 403, "1.2.3": 403,
    "[evil.example]": 403, "localhost:80@evil.example": 403, "localhost@evil.example": 403, "localhost:x": 403,
    "localhost, evil.example": 403, "localhost/evil.example": 403, "local\thost": 403, "[::1]evil": 403,
}  # fmt: skip


async def _ask(target: str, host: str, *, is_on: bool = True) -> list[int]:
    async def handler(request: Any) -> Any:
        return json_response({})

    guard = HostGuard(["Photos.example.com"])
    guard.is_on = is_on
    service = Service([guard.guarded(Route("GET", "/livez", handler))])
    port = await service.start("127.0.0.1", 0)
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        async with asyncio.timeout(5):
            answer = await reader.read()
        writer.close()
        return statuses(answer)
    finally:
        await service.close(0)


@pytest.mark.parametrize(("host", "status"), HOSTS.items())
async def test_a_host_is_an_address_one_word_or_listed(host: str, status: int) -> None:
    assert await _ask("/livez", host) == [status]


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("http://localhost/livez", 200),
        ("http://[::1]:80/livez", 200),
        ("http://photos.example.com/livez", 200),
        ("http://evil.example/livez", 403),
        ("http://localhost@evil.example/livez", 403),
    ],
)
async def test_a_whole_url_in_the_request_line_counts_before_the_header(target: str, status: int) -> None:
    assert await _ask(target, "localhost") == [status]


async def test_a_whole_url_does_not_make_up_for_the_header() -> None:
    assert await _ask("http://localhost/livez", "evil.example") == [403]


async def test_switched_off_it_lets_every_name_in() -> None:
    assert await _ask("/livez", "evil.example", is_on=False) == [200]
