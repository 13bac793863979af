"""One end of a channel: framed, multiplexed, received straight into the buffer that travels on (design: 6.4).

`Channel` is the protocol of either side; `channel_server` listens, `channel_client` keeps one connection alive and
tells answers apart by id. This module moves frames; it knows nothing of images, models or policies.
"""

from __future__ import annotations

import asyncio
import hmac
import socket
from collections.abc import Mapping
from typing import Any, Final, Protocol, cast

import numpy as np

from crema import wire
from crema.host.channel_lost import ChannelLost
from crema.host.headers import decode_header, encode_header
from crema.names import ROLES, Role

# always flat: one dimension of bytes, so that `len` is the size
Buffer = bytes | memoryview

# Small frames are parsed out of this buffer, many per system call. A large payload begins here too (that much of it
# is copied once) and is then received straight into its own memory: so the buffer is small.
SCRATCH_BYTES: Final = 16 * 1024
HELLO_TIMEOUT_S: Final = 10.0
# A peer that reads nothing may hold this much of our memory, then its connection ends.
MAX_UNSENT_BYTES: Final = 2 * wire.MAX_PAYLOAD_BYTES
# An idle peer that has gone without a word (its machine lost power, a cable was pulled) is noticed within 25 s: the
# kernel asks after 10 s, every 5 s, three times.
_KEEPALIVE: Final = ((socket.TCP_KEEPIDLE, 10), (socket.TCP_KEEPINTVL, 5), (socket.TCP_KEEPCNT, 3))
# Joined into one write below this size: one object for the transport instead of several.
JOIN_BYTES: Final = 32 * 1024
# As large as the kernel allows without asking.
LOCAL_BUFFER_BYTES: Final = 4 * 1024 * 1024


class Receiver(Protocol):
    """What the owner of a channel is told. Called on the event loop; must neither block nor raise."""

    def channel_opened(self, channel: Channel) -> None:
        """The peer's hello was accepted; `channel.peer` is its role."""

    def header_received(
        self, channel: Channel, header: dict[str, Any], payload_bytes: int
    ) -> bool | memoryview:
        """Whether to keep the payload. Called before memory is taken for it; False discards it as it arrives,
        and `frame_received` is then not called for this frame. True: the channel takes memory for it. A memoryview of
        `payload_bytes` flat, writable bytes: it is received there, and that memoryview is what `frame_received` gets; the
        channel lets go of it then, or when the connection ends before."""

    def frame_received(self, channel: Channel, header: dict[str, Any], payload: Buffer) -> None:
        """A whole frame. `payload` is the receiver's to keep; its memory is never reused."""

    def channel_closed(self, channel: Channel, error: Exception | None) -> None:
        """The connection is gone. Called exactly once, also when it never opened."""


class Channel(asyncio.BufferedProtocol):
    """Frames over one stream connection, hello first.

    `role` is ours; `accepts` are the roles the peer may have. Whoever connects shows the cluster's token (`shows`);
    whoever listens asks for it (`asks`) and shows nothing, or every stranger who connects would be told it.
    """

    def __init__(
        self,
        receiver: Receiver,
        role: Role,
        accepts: frozenset[Role],
        *,
        shows: str | None = None,
        asks: str | None = None,
    ) -> None:
        self.peer: Role | None = None
        self.is_congested = False
        self._receiver = receiver
        self._role: Role = role
        self._accepts = accepts
        self._shows = shows
        self._asks = asks
        self._transport: asyncio.Transport | None = None
        self._is_closed = False
        self._error: Exception | None = None
        self._hello_timer: asyncio.TimerHandle | None = None
        self._scratch = memoryview(bytearray(SCRATCH_BYTES))
        self._filled = 0
        self._unwritten: list[Buffer] = []
        # the frame whose payload is being received: its header, its memory, and how much of it has come
        self._header: dict[str, Any] | None = None
        self._payload: memoryview | None = None
        self._received = 0
        self._to_discard = 0

    # -- sending ---------------------------------------------------------------------------------------------------

    @property
    def is_open(self) -> bool:
        """Whether the hello was exchanged and the connection stands."""
        return self.peer is not None and not self._is_closed

    def send(self, header: Mapping[str, Any], *payload: Buffer) -> None:
        """Write one frame; `payload` parts go out as they are, uncopied: leave them unchanged afterwards.

        Raises ChannelLost when the connection is gone, ValueError when the frame breaks a limit.
        """
        self.send_packed(encode_header(header, sum(map(len, payload))), *payload)

    def send_packed(self, head: bytes, *payload: Buffer) -> None:
        """As `send`, with prefix and header already packed by `wire.frame_head`."""
        transport = self._transport
        if transport is None or self._is_closed:
            raise ChannelLost("the channel is closed")
        if self.is_congested and transport.get_write_buffer_size() > MAX_UNSENT_BYTES:
            self.abort(ChannelLost("the peer does not read"))
            raise ChannelLost("the peer does not read")
        if not self._unwritten:
            # everything sent within one turn of the loop goes out in one system call
            asyncio.get_running_loop().call_soon(self._write)
        self._unwritten.append(head)
        self._unwritten.extend(payload)

    def write(self, frames: bytes) -> None:
        """Write whole frames at once, not at the end of this turn of the loop: for who has collected them. Raises ChannelLost."""
        transport = self._transport
        if transport is None or self._is_closed or self.is_congested or self._unwritten:
            self.send_packed(frames)
        else:
            transport.write(frames)

    def _write(self) -> None:
        """Hand what was sent since the last turn of the loop to the transport."""
        parts, self._unwritten = self._unwritten, []
        if not parts or self._transport is None or self._is_closed:
            return
        if sum(map(len, parts)) <= JOIN_BYTES:
            self._transport.write(b"".join(parts))
        else:
            self._transport.writelines(parts)

    def close(self) -> None:
        """Close after what was written has gone out."""
        if self._transport is not None and not self._is_closed:
            self._write()
            self._transport.close()

    def abort(self, error: Exception | None = None) -> None:
        """Close at once and tell the receiver why."""
        if self._transport is not None and not self._is_closed:
            self._error = self._error or error
            self._transport.abort()

    # -- asyncio's side --------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        _tune(transport.get_extra_info("socket"))
        loop = asyncio.get_running_loop()
        self._hello_timer = loop.call_later(HELLO_TIMEOUT_S, self.abort, ChannelLost("no hello in time"))
        self._transport.write(encode_header(wire.hello(self._role, self._shows)))

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_closed = True
        if self._hello_timer is not None:
            self._hello_timer.cancel()
        self._header = self._payload = None
        self._receiver.channel_closed(self, self._error or exc)

    def pause_writing(self) -> None:
        self.is_congested = True

    def resume_writing(self) -> None:
        self.is_congested = False

    def get_buffer(self, sizehint: int) -> memoryview:
        if self._payload is not None:
            return self._payload[self._received :]
        if self._to_discard:
            return self._scratch[: min(len(self._scratch), self._to_discard)]
        return self._scratch[self._filled :]

    def buffer_updated(self, nbytes: int) -> None:
        if self._payload is not None:
            self._received += nbytes
            if self._received == len(self._payload):
                header, payload = self._header, self._payload
                self._header = self._payload = None
                assert header is not None
                self._receiver.frame_received(self, header, payload)
            return
        if self._to_discard:
            self._to_discard -= nbytes
            return
        self._filled += nbytes
        try:
            self._parse()
        except wire.VersionMismatch as mismatch:
            self._refuse("invalid_request", str(mismatch), mismatch)
        except wire.WireError as error:
            self.abort(error)

    # -- frames ----------------------------------------------------------------------------------------------------

    def _parse(self) -> None:
        """Take whole frames out of the scratch buffer; leave the rest of it in one of the three receiving states."""
        position, filled = 0, self._filled
        scratch = self._scratch
        while filled - position >= 8 and not self._is_closed:
            header_bytes, payload_bytes = wire.decode_prefix(scratch, position)
            start = position + 8
            if filled - start < header_bytes:
                if 8 + header_bytes > len(scratch):
                    scratch = self._grow(8 + header_bytes, position, filled)
                    position, filled = 0, filled - position
                break
            header = decode_header(scratch[start : start + header_bytes])
            position = start + header_bytes
            if self.peer is None:
                if not self._greet(header, payload_bytes):
                    position = filled
                    break
                continue
            if header["kind"] == "error" and header["id"] == 0:
                self._refused(header)
                position = filled
                break
            keep = self._receiver.header_received(self, header, payload_bytes)
            here = min(payload_bytes, filled - position)
            if keep is False:
                self._to_discard = payload_bytes - here
            elif keep is True and here == payload_bytes:
                self._receiver.frame_received(self, header, bytes(scratch[position : position + here]))
            else:
                # numpy's memory is not zeroed first, a bytearray's is: at 150 KB that is a third of the receive
                payload = np.empty(payload_bytes, np.uint8).data if keep is True else keep
                payload[:here] = scratch[position : position + here]
                if here == payload_bytes:
                    self._receiver.frame_received(self, header, payload)
                else:
                    self._header, self._payload, self._received = header, payload, here
            position += here
        rest = filled - position
        if rest and position:
            scratch[:rest] = bytes(scratch[position:filled])
        self._filled = rest

    def _grow(self, size: int, position: int, filled: int) -> memoryview:
        """A larger scratch buffer for a header that does not fit, with the unparsed bytes moved to its start."""
        larger = memoryview(bytearray(size))
        larger[: filled - position] = self._scratch[position:filled]
        self._scratch = larger
        return larger

    def _greet(self, header: dict[str, Any], payload_bytes: int) -> bool:
        """Check the first frame. Returns whether the connection may go on."""
        if header["kind"] == "error":
            self._refused(header)
            return False
        role = header.get("role")
        if header["kind"] != "hello" or header["id"] != 0 or payload_bytes or role not in ROLES:
            raise wire.WireError("the first frame is not a hello")
        if self._asks is not None:
            token = header.get("token")
            if not isinstance(token, str) or not hmac.compare_digest(token.encode(), self._asks.encode()):
                self._refuse("unauthenticated", "wrong cluster token: give both sides the same one", None)
                return False
        if role not in self._accepts:
            self._refuse(
                "forbidden",
                f"a {role} may not connect here; expected {', '.join(sorted(self._accepts))}",
                None,
            )
            return False
        if self._hello_timer is not None:
            self._hello_timer.cancel()
        self.peer = role
        self._receiver.channel_opened(self)
        return True

    def _refused(self, header: dict[str, Any]) -> None:
        """The peer said why it closes, before its hello or after (it may have sent that before it read ours)."""
        error = header.get("error")
        message = error.get("message") if isinstance(error, dict) else None
        self.abort(ChannelLost(f"refused by the peer: {message}"))

    def _refuse(self, code: str, message: str, error: Exception | None) -> None:
        """Say why, then close once it has gone out."""
        self._error = error or ChannelLost(message)
        if self._transport is not None:
            self._write()
            self._transport.write(encode_header(wire.refusal(code, message)))
            self._transport.close()
        self._filled = 0


def _tune(connection: socket.socket | None) -> None:
    """Have the kernel find out when the peer of a TCP connection is not there any more, and take a tensor in one piece from
    one that is on this machine."""
    if connection is None:
        return
    if connection.family == socket.AF_UNIX:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, LOCAL_BUFFER_BYTES)
    elif connection.family in (socket.AF_INET, socket.AF_INET6):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in _KEEPALIVE:
            connection.setsockopt(socket.IPPROTO_TCP, option, value)
