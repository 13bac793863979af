"""crema/host/channel.py: whole frames out of any cut of the stream, limits, hello."""

from __future__ import annotations

import asyncio
import random
import resource
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crema import wire
from crema.host.channel import MAX_UNSENT_BYTES, Channel
from crema.host.channel_lost import ChannelLost
from tests.crema.host.channel_ends import HELLO, FakeTransport, Recorder, feed, frame, infer, opened
from tests.crema.wire_messages import MESSAGES


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


async def test_a_peer_that_reads_nothing_holds_a_bounded_part_of_our_memory() -> None:
    recorder = Recorder()
    channel, transport = opened(recorder)
    feed(channel, transport, HELLO)
    transport.unsent = MAX_UNSENT_BYTES
    channel.pause_writing()
    channel.send({"v": 1, "kind": "answer", "id": 1})
    assert not transport.is_closed
    transport.unsent += 1
    with pytest.raises(ChannelLost, match="does not read"):
        channel.write(b"an answer")
    assert transport.is_closed
    channel.connection_lost(None)
    assert [str(error) for error in recorder.closed] == ["the peer does not read"]
