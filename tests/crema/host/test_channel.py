"""crema/host/channel.py: whole frames out of any cut of the stream, limits, hello, and real connections."""

from __future__ import annotations

import asyncio
import random
import resource
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crema import wire
from crema.host.channel import Buffer, Channel, ChannelLost
from crema.host.channel_client import ChannelClient
from crema.host.channel_server import ChannelServer
from crema.names import Role
from tests.crema.wire_messages import MESSAGES

HELLO = wire.encode_header(wire.hello("coordinator"))


class FakeTransport(asyncio.Transport):
    """Keeps what is written; knows whether it was closed."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.is_closed = False

    def write(self, data: Any) -> None:
        self.written += data

    def get_write_buffer_size(self) -> int:
        return 0

    def close(self) -> None:
        self.is_closed = True

    def abort(self) -> None:
        self.is_closed = True


class Recorder:
    """A receiver that keeps every frame; `keep` decides about payloads."""

    def __init__(self, keep: bool = True) -> None:
        self.frames: list[tuple[dict[str, Any], bytes]] = []
        self.headers: list[dict[str, Any]] = []
        self.opened = 0
        self.closed: list[Exception | None] = []
        self.keep = keep

    def channel_opened(self, channel: Channel) -> None:
        self.opened += 1

    def header_received(self, channel: Channel, header: dict[str, Any], payload_bytes: int) -> bool:
        self.headers.append(header)
        return self.keep

    def frame_received(self, channel: Channel, header: dict[str, Any], payload: Buffer) -> None:
        self.frames.append((header, bytes(payload)))

    def channel_closed(self, channel: Channel, error: Exception | None) -> None:
        self.closed.append(error)


def opened(
    recorder: Recorder, token: str | None = None, roles: frozenset[Role] = frozenset({"coordinator"})
) -> tuple[Channel, FakeTransport]:
    channel, transport = Channel(recorder, "minion", roles, asks=token), FakeTransport()
    channel.connection_made(transport)
    return channel, transport


def feed(channel: Channel, transport: FakeTransport, data: bytes, cut: int = 2**20) -> None:
    """Hand `data` to the protocol as a transport would, at most `cut` bytes at a time."""
    position = 0
    while position < len(data) and not transport.is_closed:
        buffer = channel.get_buffer(-1)
        n = min(len(buffer), cut, len(data) - position)
        assert n > 0, "a buffer without room"
        buffer[:n] = data[position : position + n]
        channel.buffer_updated(n)
        position += n


def frame(header: dict[str, Any], payload: bytes = b"") -> bytes:
    return wire.encode_header(header, len(payload)) + payload


def infer(frame_id: int, payload: bytes) -> bytes:
    return frame({"v": 1, "kind": "infer", "id": frame_id}, payload)


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(
        st.sampled_from([0, 1, 100, 4096, 16_384, 16_385, 70_000, 200_000]), min_size=1, max_size=6
    ),
    cut=st.sampled_from([1_000, 4_095, 16_384, 65_536, 2**20]),
    pad=st.sampled_from([0, 20_000, 60_000]),
)
async def test_frames_come_out_whole_however_the_stream_is_cut(sizes: list[int], cut: int, pad: int) -> None:
    recorder = Recorder()
    channel, transport = opened(recorder)
    payloads = [random.Random(n).randbytes(size) for n, size in enumerate(sizes)]
    stream = HELLO + b"".join(
        frame({"v": 1, "kind": "infer", "id": n, "pad": "x" * pad}, payload)
        for n, payload in enumerate(payloads)
    )
    feed(channel, transport, stream, cut)
    assert [(header["id"], payload) for header, payload in recorder.frames] == list(enumerate(payloads))
    assert not transport.is_closed
    channel.connection_lost(None)


async def test_single_bytes_make_a_frame_too() -> None:
    recorder = Recorder()
    channel, transport = opened(recorder)
    feed(channel, transport, HELLO + infer(3, b"abc"), cut=1)
    assert [payload for _, payload in recorder.frames] == [b"abc"]
    channel.connection_lost(None)


@pytest.mark.parametrize("size", [10, 16_384, 300_000])
async def test_a_payload_refused_on_its_header_is_discarded_and_the_next_frame_is_whole(size: int) -> None:
    recorder = Recorder(keep=False)
    channel, transport = opened(recorder)
    feed(channel, transport, HELLO + infer(1, b"x" * size))
    recorder.keep = True
    feed(channel, transport, infer(2, b"kept"))
    assert [(header["id"], payload) for header, payload in recorder.frames] == [(2, b"kept")]
    channel.connection_lost(None)


async def test_a_large_payload_is_received_into_its_own_memory() -> None:
    recorder = Recorder()
    channel, transport = opened(recorder)
    feed(channel, transport, HELLO)
    head = wire.encode_header({"v": 1, "kind": "infer", "id": 1}, 1_000_000)
    feed(channel, transport, head + b"abcdef")
    assert len(channel.get_buffer(-1)) == 1_000_000 - 6, "the rest goes straight into the payload's memory"
    channel.connection_lost(None)


class Lender(Recorder):
    """A receiver that brings the memory for payloads itself."""

    def __init__(self, memory: bytearray) -> None:
        super().__init__()
        self.memory = memory

    def header_received(self, channel: Channel, header: dict[str, Any], payload_bytes: int) -> memoryview:
        self.headers.append(header)
        return memoryview(self.memory)[:payload_bytes]


@pytest.mark.parametrize("size", [0, 7, 100, 40_000])
@pytest.mark.parametrize("cut", [9, 20_000, 2**20])
async def test_a_payload_is_received_into_memory_that_the_receiver_brings(size: int, cut: int) -> None:
    lender = Lender(bytearray(40_000))
    channel, transport = opened(lender)
    sent = bytes(index % 251 for index in range(size))
    feed(channel, transport, HELLO + infer(1, sent) + infer(2, b"next"), cut)
    assert [payload for _, payload in lender.frames] == [sent, b"next"]
    assert lender.memory[4:size] == sent[4:], "it lies there, and nowhere else"
    channel.connection_lost(None)


async def test_a_channel_lets_go_of_memory_whose_payload_never_comes() -> None:
    lender = Lender(bytearray(40_000))
    channel, transport = opened(lender)
    feed(channel, transport, HELLO + infer(1, bytes(40_000))[:-1])
    channel.connection_lost(None)
    lender.memory.clear()  # raises BufferError while anybody holds a view of it


async def test_nothing_is_read_before_a_hello() -> None:
    recorder = Recorder()
    channel, transport = opened(recorder)
    feed(channel, transport, infer(1, b"abc"))
    assert transport.is_closed
    assert recorder.frames == []
    channel.connection_lost(None)


async def test_another_wire_version_is_refused_by_name() -> None:
    recorder = Recorder()
    channel, transport = opened(recorder)
    feed(channel, transport, frame({"v": 7, "kind": "hello", "id": 0, "role": "coordinator"}))
    assert transport.is_closed
    assert b"wire version 7" in transport.written
    channel.connection_lost(None)


@pytest.mark.parametrize("sent", [None, "", "wrong", "sekret "])
async def test_a_wrong_token_is_refused_with_an_error_frame(sent: str | None) -> None:
    recorder = Recorder()
    channel, transport = opened(recorder, token="sekret")
    feed(channel, transport, wire.encode_header(wire.hello("coordinator", sent)))
    assert transport.is_closed
    assert b"unauthenticated" in transport.written
    assert recorder.opened == 0
    channel.connection_lost(None)


async def test_the_right_token_opens_the_channel() -> None:
    recorder = Recorder()
    channel, transport = opened(recorder, token="sekret")
    feed(channel, transport, wire.encode_header(wire.hello("coordinator", "sekret")))
    assert channel.is_open
    assert recorder.opened == 1
    channel.connection_lost(None)


async def test_a_listener_does_not_tell_its_token_to_whoever_connects() -> None:
    recorder = Recorder()
    channel, transport = opened(recorder, token="sekret")
    assert b"hello" in transport.written
    assert b"sekret" not in transport.written
    channel.connection_lost(None)


async def test_a_client_shows_the_token_that_the_listener_asks_for() -> None:
    server = ChannelServer(Echo(), "minion", frozenset({"coordinator"}), token="sekret")
    port = await server.start("127.0.0.1", 0)
    client = ChannelClient(f"127.0.0.1:{port}", "coordinator", "minion", token="sekret")
    client.start()
    assert await client.wait_open(5)
    await client.close()
    await server.close()


async def test_frames_sent_in_one_turn_of_the_loop_go_out_together_and_whole() -> None:
    recorder = Recorder()
    channel, transport = opened(recorder)
    feed(channel, transport, HELLO)
    before = len(transport.written)
    channel.send({"v": 1, "kind": "answer", "id": 1}, b"abc")
    channel.send({"v": 1, "kind": "answer", "id": 2}, memoryview(b"x" * 100_000))
    assert len(transport.written) == before
    await asyncio.sleep(0)
    sent = bytes(transport.written[before:])
    first = wire.encode_header({"v": 1, "kind": "answer", "id": 1}, 3) + b"abc"
    assert sent == first + wire.encode_header({"v": 1, "kind": "answer", "id": 2}, 100_000) + b"x" * 100_000
    channel.connection_lost(None)


async def test_frames_written_at_once_do_not_wait_for_the_end_of_the_turn_and_pass_nothing_that_was_sent() -> (
    None
):
    channel, transport = opened(Recorder())
    feed(channel, transport, HELLO)
    before = len(transport.written)
    first, second, third = (wire.encode_header({"v": 1, "kind": "x", "id": number}) for number in (1, 2, 3))
    channel.write(first)
    assert bytes(transport.written[before:]) == first
    channel.send_packed(second)
    channel.write(third)
    await asyncio.sleep(0)
    assert bytes(transport.written[before:]) == first + second + third
    channel.connection_lost(None)
    with pytest.raises(ChannelLost):
        channel.write(first)


async def test_a_role_that_is_not_accepted_is_refused() -> None:
    recorder = Recorder()
    channel, transport = opened(recorder)
    feed(channel, transport, wire.encode_header(wire.hello("worker")))
    assert transport.is_closed
    channel.connection_lost(None)


@pytest.mark.parametrize(
    "bad",
    [
        wire.PREFIX.pack(2**32 - 1, 0),
        wire.PREFIX.pack(10, 2**32 - 1),
        wire.PREFIX.pack(3, 0) + b"\xc1\xc1\xc1",
        wire.PREFIX.pack(1, 0) + b"\x90",
        wire.PREFIX.pack(0, 0),
    ],
)
async def test_what_breaks_framing_ends_the_connection(bad: bytes) -> None:
    recorder = Recorder()
    channel, transport = opened(recorder)
    feed(channel, transport, HELLO + bad)
    assert transport.is_closed
    channel.connection_lost(None)


async def test_a_hundred_thousand_mutated_frames_neither_crash_nor_grow_memory() -> None:
    """Every stored message with bytes flipped, cut out, doubled and put in, each on an open channel."""
    rng = random.Random(20260101)
    seeds = [wire.encode_header(header, len(payload)) + payload for header, payload in MESSAGES.values()]

    def mutated() -> bytes:
        data = bytearray(rng.choice(seeds))
        for _ in range(rng.randint(1, 4)):
            kind, at = rng.randrange(4), rng.randrange(len(data)) if data else 0
            if kind == 0 and data:
                data[at] = rng.randrange(256)
            elif kind == 1:
                del data[at : at + rng.randint(1, 8)]
            elif kind == 2:
                data[at:at] = rng.randbytes(rng.randint(1, 8))
            else:
                data[at:at] = data[at : at + rng.randint(1, 16)]
        return bytes(data)

    def run(count: int) -> int:
        survived = 0
        for _ in range(count):
            recorder = Recorder()
            channel, transport = Channel(recorder, "minion", frozenset({"coordinator"})), FakeTransport()
            channel.connection_made(transport)
            feed(channel, transport, HELLO)
            feed(channel, transport, mutated())
            survived += not transport.is_closed
            channel.connection_lost(None)
        return survived

    run(5_000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    survived = run(100_000)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # a length field that was mutated to 64 MiB takes that memory for the moment; nothing may stay
    assert after - before < 50_000, "kilobytes of growth"
    assert 0 < survived < 100_000


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
