"""ChannelClient: one connection to one address, kept alive, with many requests in flight, told apart by id.

It decides nothing about retries: a request whose connection is lost fails, and its sender says what then.
"""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import Callable
from typing import Any, Final

from crema import wire
from crema.host.channel import Buffer, Channel
from crema.host.channel_lost import ChannelLost
from crema.host.headers import join_header
from crema.host.short_way import connect_beside
from crema.names import Role

CONNECT_TIMEOUT_S: Final = 0.5
RECONNECT_FIRST_S: Final = 0.05
RECONNECT_MOST_S: Final = 2.0
# A peer whose machine does not acknowledge what was sent for this long is gone, whatever the connection says; and whoever
# sends requests has to know of an idle one sooner than `Channel` finds out by itself: within 11 s.
UNACKNOWLEDGED_MS: Final = 5000
_KEEPALIVE: Final = ((socket.TCP_KEEPIDLE, 5), (socket.TCP_KEEPINTVL, 2), (socket.TCP_KEEPCNT, 3))

Answer = tuple[dict[str, Any], Buffer]
OnAnswer = Callable[[dict[str, Any] | None, Buffer, Exception | None], None]


class ChannelClient:
    """One connection to one address, kept alive, with many requests in flight on it.

    `address` is `HOST:PORT`. `start()` begins connecting and reconnects with jittered back-off until `close()`.
    `on_change(is_open)` is called whenever a connection begins or ceases to stand.
    """

    def __init__(
        self,
        address: str,
        role: Role,
        peer: Role,
        *,
        token: str | None = None,
        on_change: Callable[[bool], None] | None = None,
    ) -> None:
        host, _, port = address.rpartition(":")
        self.address = address
        self.last_error: Exception | None = None
        self._host = host.strip("[]")
        self._port = int(port)
        self._role: Role = role
        self._accepts: frozenset[Role] = frozenset({peer})
        self._token = token
        self._on_change = on_change
        self._channel: Channel | None = None
        self._pending: dict[int, OnAnswer] = {}
        self._next_id = 1
        self._opened = asyncio.Event()
        self._lost = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None

    @property
    def is_open(self) -> bool:
        """Whether a request can be sent now."""
        return self._channel is not None and self._channel.is_open

    @property
    def is_congested(self) -> bool:
        """Whether the peer takes bytes more slowly than we have written them."""
        return self._channel is not None and self._channel.is_congested

    @property
    def outstanding(self) -> int:
        """Requests sent and not yet answered."""
        return len(self._pending)

    def start(self) -> None:
        """Begin connecting in the background."""
        self._keeper = asyncio.get_running_loop().create_task(self._keep_connected())

    async def wait_open(self, timeout_s: float) -> bool:
        """Wait until the connection stands; False when it does not in time."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._opened.wait()
        except TimeoutError:
            return False
        return True

    async def close(self) -> None:
        """Stop reconnecting and drop the connection; what is in flight fails with ChannelLost."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
            self._keeper = None
        if self._channel is not None:
            self._channel.abort(ChannelLost("closed by us"))

    def reset(self) -> None:
        """Drop the connection, because its peer is silent on it, and make a new one; what is in flight fails."""
        if self._channel is not None:
            self._channel.abort(ChannelLost("the peer is silent"))

    def submit(self, header: dict[str, Any], payload: tuple[Buffer, ...], on_answer: OnAnswer) -> int:
        """Send a request; `on_answer(header, payload, error)` is called once, later, unless `cancel` comes first.

        `header` needs `kind`; `v` and `id` are filled in here. Returns the id. Raises ChannelLost when there is no
        connection.
        """
        channel = self._channel
        if channel is None or not channel.is_open:
            raise ChannelLost(f"no connection to {self.address}")
        request_id = self._next_id
        self._next_id = request_id + 1
        header["v"] = wire.WIRE_VERSION
        header["id"] = request_id
        channel.send(header, *payload)
        self._pending[request_id] = on_answer
        return request_id

    def submit_packed(
        self, members: bytes, count: int, payload: tuple[Buffer, ...], on_answer: OnAnswer
    ) -> int:
        """As `submit`, with the header's `count` members (at most 13, `kind` among them) packed by `headers.pack_members`.

        Raises ValueError, too, when the frame would break a limit.
        """
        channel = self._channel
        if channel is None or channel.peer is None:
            raise ChannelLost(f"no connection to {self.address}")
        request_id = self._next_id
        self._next_id = request_id + 1
        size = len(payload[0]) if len(payload) == 1 else sum(map(len, payload))
        channel.send_packed(join_header(request_id, count, members, size), *payload)
        self._pending[request_id] = on_answer
        return request_id

    def cancel(self, request_id: int) -> None:
        """Give the request up: its answer, if one still comes, is discarded, and the peer is told."""
        if self._pending.pop(request_id, None) is not None and self.is_open:
            assert self._channel is not None
            self._channel.send({"v": wire.WIRE_VERSION, "kind": "cancel", "id": request_id})

    async def call(self, header: dict[str, Any], *payload: Buffer) -> Answer:
        """Send a request and wait for its answer. Cancelling the caller cancels the request.

        Raises ChannelLost when the connection ends first.
        """
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

        def settle(answer: dict[str, Any] | None, body: Buffer, error: Exception | None) -> None:
            if not future.done():
                if answer is None:
                    future.set_exception(error or ChannelLost("no answer"))
                else:
                    future.set_result((answer, body))

        request_id = self.submit(header, payload, settle)
        try:
            return await future
        finally:
            self.cancel(request_id)

    # -- the Receiver's side ---------------------------------------------------------------------------------------

    def channel_opened(self, channel: Channel) -> None:
        self.last_error = None
        self._opened.set()
        if self._on_change is not None:
            self._on_change(True)

    def header_received(self, channel: Channel, header: dict[str, Any], payload_bytes: int) -> bool:
        return header["kind"] == "answer" and header["id"] in self._pending

    def frame_received(self, channel: Channel, header: dict[str, Any], payload: Buffer) -> None:
        on_answer = self._pending.pop(header["id"], None)
        if on_answer is not None:
            on_answer(header, payload, None)

    def channel_closed(self, channel: Channel, error: Exception | None) -> None:
        if channel is not self._channel:
            return
        self._channel = None
        if self._opened.is_set():
            self._opened.clear()
            if self._on_change is not None:
                self._on_change(False)
        self.last_error = error
        pending, self._pending = self._pending, {}
        lost = (
            error
            if isinstance(error, ChannelLost)
            else ChannelLost(f"connection to {self.address} lost: {error or 'closed by the peer'}")
        )
        for on_answer in pending.values():
            on_answer(None, b"", lost)
        self._lost.set()

    async def _keep_connected(self) -> None:
        loop = asyncio.get_running_loop()
        pause = RECONNECT_FIRST_S
        while True:
            self._lost.clear()
            self._channel = channel = Channel(self, self._role, self._accepts, shows=self._token)
            try:
                async with asyncio.timeout(CONNECT_TIMEOUT_S):
                    await self._connect(loop, channel)
            except (OSError, TimeoutError) as error:
                self._channel = None
                self.last_error = error
            else:
                started = loop.time()
                await self._lost.wait()
                if loop.time() - started > RECONNECT_MOST_S:
                    pause = RECONNECT_FIRST_S
            await asyncio.sleep(pause * (0.5 + random.random()))
            pause = min(RECONNECT_MOST_S, pause * 2)

    async def _connect(self, loop: asyncio.AbstractEventLoop, channel: Channel) -> None:
        """Raises OSError."""
        beside = connect_beside(self._host, self._port)
        if beside is not None:
            await loop.create_unix_connection(lambda: channel, sock=beside)
            return
        transport, _ = await loop.create_connection(lambda: channel, self._host, self._port)
        _notice_lost_peers(transport)


def _notice_lost_peers(transport: asyncio.BaseTransport) -> None:
    """Let the kernel end a connection whose other end is gone without a word."""
    sock: socket.socket | None = transport.get_extra_info("socket")
    if sock is None or sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in ((socket.TCP_USER_TIMEOUT, UNACKNOWLEDGED_MS), *_KEEPALIVE):
            sock.setsockopt(socket.IPPROTO_TCP, option, value)
    except OSError:
        return  # the connection is gone already
