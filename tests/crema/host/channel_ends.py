"""One end of a channel without a network: a transport that keeps what is written, a receiver that keeps what comes."""

from __future__ import annotations

import asyncio
from typing import Any

from crema import wire
from crema.host.channel import Buffer, Channel
from crema.names import Role

HELLO = wire.encode_header(wire.hello("coordinator"))


class FakeTransport(asyncio.Transport):
    """Keeps what is written; knows whether it was closed."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.is_closed = False
        self.unsent = 0
        """What the peer has not read, as it is told."""

    def write(self, data: Any) -> None:
        self.written += data

    def get_write_buffer_size(self) -> int:
        return self.unsent

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
