"""Peers: the minion's side of every channel: `infer` and `cancel` in, answers out.

A request is admitted or refused on its header; a refused payload is discarded as it arrives.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any, Final

from crema.errors import CremaError
from crema.host.channel import Buffer, Channel
from crema.host.channel_lost import ChannelLost
from minion.answers import AnswerPacker
from minion.arena import Arena
from minion.dispatcher import Dispatcher
from minion.meters import Meters
from minion.request import Done, Request, RequestReader, invalid

# How often requests are looked at whose pixels have not all come.
_LOOK_S: Final = 0.25
# Without a deadline of its own a request waits this long for its pixels: it holds places.
_PIXELS_S: Final = 30.0


class _Peer:
    """One connection: the requests that are admitted and not yet answered, by their id. A `Caller`.

    Answers are collected until they are flushed: a batch is answered with one system call per connection, not with one per
    request.
    """

    __slots__ = ("_channel", "_outbox", "_packer", "receiving", "requests")

    def __init__(self, channel: Channel, packer: AnswerPacker) -> None:
        self.requests: dict[int, Request] = {}
        self.receiving: Request | None = None
        """Admitted, and its pixels have not all come."""
        self._channel = channel
        self._packer = packer
        self._outbox: list[bytes] = []

    def answer(self, request: Request, done: Done) -> None:
        """Send the answer."""
        del self.requests[request.key]
        head, payload = self._packer.answered(request, done)
        if payload:
            self.post(head, payload)
        else:
            self._outbox.append(head)

    def flush(self) -> None:
        """Send the answers that were collected."""
        frames, self._outbox = self._outbox, []
        if not frames:
            return
        try:
            self._channel.write(frames[0] if len(frames) == 1 else b"".join(frames))
        except ChannelLost:
            return  # a connection that is lost reports itself; nobody waits for these answers then

    def post(self, head: bytes, *payload: Buffer) -> None:
        """Send a frame, with what else is sent in this turn of the loop."""
        with contextlib.suppress(ChannelLost):
            self._channel.send_packed(head, *payload)


class Peers:
    """The `Receiver` of the minion's channel server."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        reader: RequestReader,
        packer: AnswerPacker,
        meters: Meters,
        arena: Arena | None = None,
    ) -> None:
        """`arena` is where payloads are received while it has room."""
        self._dispatcher = dispatcher
        self._reader = reader
        self._packer = packer
        self._meters = meters
        self._arena = arena
        self._peers: dict[Channel, _Peer] = {}
        self._looker: asyncio.TimerHandle | None = None

    def channel_opened(self, channel: Channel) -> None:
        self._peers[channel] = _Peer(channel, self._packer)

    def header_received(
        self, channel: Channel, header: dict[str, Any], payload_bytes: int
    ) -> bool | memoryview:
        kind = header["kind"]
        if kind == "infer":
            if not self._admit(channel, header, payload_bytes):
                return False
            room = None if self._arena is None else self._arena.take(payload_bytes)
            return True if room is None else room
        if kind == "cancel":
            request = self._peers[channel].requests.pop(header["id"], None)
            if request is not None:
                self._dispatcher.abandon(request)
        else:
            self._refuse(
                channel,
                header["id"],
                invalid(f"a minion does not know {kind[:40]!r}; it takes infer and cancel"),
            )
        return False

    def frame_received(self, channel: Channel, header: dict[str, Any], payload: Buffer) -> None:
        peer = self._peers[channel]
        request, peer.receiving = peer.receiving, None
        if request is None:  # too late: it was answered meanwhile
            return
        request.take_pixels(payload)
        self._dispatcher.submit(request)

    def channel_closed(self, channel: Channel, error: Exception | None) -> None:
        peer = self._peers.pop(channel, None)
        if peer is not None:
            for request in peer.requests.values():
                self._dispatcher.abandon(request)

    def _admit(self, channel: Channel, header: dict[str, Any], payload_bytes: int) -> bool:
        peer, key = self._peers[channel], header["id"]
        try:
            if key in peer.requests:
                raise invalid(f"id {key} is in use by a request in flight on this connection")
            request = self._reader.read(header, peer, key, time.monotonic())
            if payload_bytes != request.n * self._reader.item_bytes:
                needed = request.n * self._reader.item_bytes
                raise invalid(f"the payload has {payload_bytes} bytes; the items describe {needed}")
        except CremaError as refused:
            self._refuse(channel, key, refused)
            return False
        error = self._dispatcher.admit(request)
        if error is not None:
            self._refuse(channel, key, error)
            return False
        peer.requests[key] = peer.receiving = request
        if self._looker is None:
            self._looker = asyncio.get_running_loop().call_later(_LOOK_S, self._look)
        return True

    def _look(self) -> None:
        """Take the places back of requests whose pixels did not come in time."""
        now, is_receiving = time.monotonic(), False
        for channel, peer in self._peers.items():
            request = peer.receiving
            if request is None:
                continue
            if now < min(request.deadline, request.arrived_at + _PIXELS_S):
                is_receiving = True
                continue
            peer.receiving = None
            del peer.requests[request.key]
            self._dispatcher.abandon(request)
            late = CremaError(
                "deadline_exceeded", "the pixels had not come when the deadline passed; allow more time"
            )
            self._refuse(channel, request.key, late)
        self._looker = asyncio.get_running_loop().call_later(_LOOK_S, self._look) if is_receiving else None

    def _refuse(self, channel: Channel, key: int, error: CremaError) -> None:
        self._meters.answered(error.status)
        self._peers[channel].post(self._packer.refused(key, error, self._dispatcher.load()))
