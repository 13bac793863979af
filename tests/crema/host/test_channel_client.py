"""Clients and servers of channels over real connections: answers by id, cancelling, loss, refusals."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from crema.host.channel import Buffer, Channel
from crema.host.channel_client import ChannelClient
from crema.host.channel_lost import ChannelLost
from crema.host.channel_server import ChannelServer
from tests.crema.host.channel_ends import Recorder


async def test_a_client_shows_the_token_that_the_listener_asks_for() -> None:
    server = ChannelServer(Echo(), "minion", frozenset({"coordinator"}), token="sekret")
    port = await server.start("127.0.0.1", 0)
    client = ChannelClient(f"127.0.0.1:{port}", "coordinator", "minion", token="sekret")
    client.start()
    assert await client.wait_open(5)
    await client.close()
    await server.close()


class Echo(Recorder):
    """A receiver that answers every frame with its own payload, except those it is told to swallow."""

    def __init__(self) -> None:
        super().__init__()
        self.channels: list[Channel] = []
        self.swallow = False

    def channel_opened(self, channel: Channel) -> None:
        super().channel_opened(channel)
        self.channels.append(channel)

    def frame_received(self, channel: Channel, header: dict[str, Any], payload: Buffer) -> None:
        super().frame_received(channel, header, payload)
        if not self.swallow and header["kind"] == "infer":
            channel.send({"v": 1, "kind": "answer", "id": header["id"], "status": 200}, payload)


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[Echo, ChannelServer, ChannelClient]]:
    echo = Echo()
    server = ChannelServer(echo, "minion", frozenset({"coordinator"}))
    port = await server.start("127.0.0.1", 0)
    client = ChannelClient(f"127.0.0.1:{port}", "coordinator", "minion")
    client.start()
    assert await client.wait_open(5)
    try:
        yield echo, server, client
    finally:
        await client.close()
        await server.close()


async def until(condition: Any) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.005)


async def test_many_requests_in_flight_get_their_own_answers() -> None:
    async with connected() as (_, _, client):
        payloads = [bytes([n]) * (n * 1777) for n in range(100)]
        answers = await asyncio.gather(*(client.call({"kind": "infer"}, payload) for payload in payloads))
        assert [bytes(body) for _, body in answers] == payloads
        assert client.outstanding == 0


async def test_a_cancelled_caller_sends_a_cancel_frame_and_its_late_answer_is_dropped() -> None:
    async with connected() as (echo, _, client):
        echo.swallow = True
        call = asyncio.ensure_future(client.call({"kind": "infer"}, b"x"))
        await until(lambda: echo.frames)
        call.cancel()
        await until(lambda: echo.frames[-1][0]["kind"] == "cancel")
        assert echo.frames[-1][0]["id"] == echo.frames[0][0]["id"]
        echo.channels[0].send(
            {"v": 1, "kind": "answer", "id": echo.frames[0][0]["id"], "status": 200}, b"late"
        )
        echo.swallow = False
        assert bytes((await client.call({"kind": "infer"}, b"next"))[1]) == b"next"


async def test_requests_in_flight_fail_when_the_connection_is_lost_and_it_heals() -> None:
    async with connected() as (echo, _, client):
        echo.swallow = True
        call = asyncio.ensure_future(client.call({"kind": "infer"}, b"x"))
        await until(lambda: echo.frames)
        echo.channels[0].abort()
        with pytest.raises(ChannelLost):
            await call
        echo.swallow = False
        assert await client.wait_open(5)
        assert bytes((await client.call({"kind": "infer"}, b"again"))[1]) == b"again"


async def test_a_call_without_a_connection_fails_at_once() -> None:
    client = ChannelClient("127.0.0.1:1", "coordinator", "minion")
    with pytest.raises(ChannelLost):
        await client.call({"kind": "infer"}, b"x")


async def test_a_client_learns_why_it_was_refused() -> None:
    server = ChannelServer(Echo(), "minion", frozenset({"preprocessor"}))
    port = await server.start("127.0.0.1", 0)
    client = ChannelClient(f"127.0.0.1:{port}", "coordinator", "minion")
    client.start()
    await until(lambda: client.last_error is not None)
    assert "a coordinator may not connect here" in str(client.last_error)
    await client.close()
    await server.close()


async def test_connections_beyond_the_cap_are_refused() -> None:
    server = ChannelServer(Echo(), "minion", frozenset({"coordinator"}), max_connections=1)
    port = await server.start("127.0.0.1", 0)
    first = ChannelClient(f"127.0.0.1:{port}", "coordinator", "minion")
    second = ChannelClient(f"127.0.0.1:{port}", "coordinator", "minion")
    first.start()
    assert await first.wait_open(5)
    second.start()
    await until(lambda: second.last_error is not None)
    assert first.is_open
    await first.close()
    await second.close()
    await server.close()
