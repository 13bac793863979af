"""The local socket beside a loopback port: who takes it, who does not, and what happens without it."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from crema.host.channel import Channel
from crema.host.channel_client import ChannelClient
from crema.host.channel_server import ChannelServer
from crema.host.short_way import connect_beside, listen_beside
from tests.crema.host.test_channel_client import Echo, until


def family_of(channel: Channel) -> int:
    assert channel._transport is not None
    return int(channel._transport.get_extra_info("socket").family)


@asynccontextmanager
async def serving(host: str = "127.0.0.1", token: str | None = None) -> AsyncIterator[tuple[Echo, int]]:
    echo = Echo()
    server = ChannelServer(echo, "minion", frozenset({"coordinator"}), token=token)
    try:
        yield echo, await server.start(host, 0)
    finally:
        await server.close()


async def families(echo: Echo, address: str) -> list[int]:
    """Of the connections that a client to `address` made, after an answer of 300 KB came back over them."""
    client = ChannelClient(address, "coordinator", "minion")
    client.start()
    try:
        assert await client.wait_open(5)
        async with asyncio.timeout(5):
            _, body = await client.call({"kind": "infer"}, b"x" * 300_000)
        assert len(body) == 300_000
        return [family_of(channel) for channel in echo.channels]
    finally:
        await client.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
async def test_a_client_on_the_same_machine_takes_it(host: str) -> None:
    async with serving(host) as (echo, port):
        assert await families(echo, f"127.0.0.1:{port}") == [socket.AF_UNIX]


async def test_another_address_of_the_machine_is_another_listener() -> None:
    async with serving("127.0.0.1") as (first, port):
        second = Echo()
        other = ChannelServer(second, "minion", frozenset({"coordinator"}))
        try:
            assert await other.start("127.0.0.2", port) == port
            assert await families(second, f"127.0.0.2:{port}") == [socket.AF_UNIX]
            assert first.channels == []
        finally:
            await other.close()


async def test_whoever_does_not_listen_there_is_reached_by_the_port() -> None:
    echo = Echo()

    def accept() -> Channel:
        return Channel(echo, "minion", frozenset({"coordinator"}))

    server = await asyncio.get_running_loop().create_server(accept, "127.0.0.1", 0)
    try:
        port = server.sockets[0].getsockname()[1]
        assert await families(echo, f"127.0.0.1:{port}") == [socket.AF_INET]
    finally:
        server.close()


async def test_another_user_s_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Anybody may take a name, and a client shows the cluster's token to whom it connects."""
    async with serving() as (echo, port):
        monkeypatch.setattr(os, "geteuid", lambda: 12_345)
        assert await families(echo, f"127.0.0.1:{port}") == [socket.AF_INET]


async def test_a_name_that_is_taken_leaves_the_port() -> None:
    listening = listen_beside("127.0.0.1", 1)
    assert listening is not None
    with listening:
        assert listen_beside("127.0.0.1", 1) is None
    again = listen_beside("127.0.0.1", 1)
    assert again is not None
    again.close()


@pytest.mark.parametrize("host", ["192.0.2.1", "localhost", "minion.example"])
def test_only_a_loopback_address_has_one(host: str) -> None:
    assert listen_beside(host, 1) is None
    assert connect_beside(host, 1) is None


async def test_who_stops_listening_stops_there_too() -> None:
    echo = Echo()
    server = ChannelServer(echo, "minion", frozenset({"coordinator"}))
    port = await server.start("127.0.0.1", 0)
    server.stop_listening()
    assert connect_beside("127.0.0.1", port) is None
    await server.close()


async def test_the_token_is_asked_for_there_too() -> None:
    async with serving(token="sekret") as (_, port):
        client = ChannelClient(f"127.0.0.1:{port}", "coordinator", "minion", token="wrong")
        client.start()
        await until(lambda: "token" in str(client.last_error))
        await client.close()
