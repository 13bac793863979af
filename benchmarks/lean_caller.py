"""An open-loop sender that costs little: prepared HTTP/1.1 requests over kept connections, one in flight on each.

Latency counts from the moment a call was due. It looks at the status and hands the body over unread.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final

OnAnswer = Callable[[float, int, bytes], None]
"""When the call was due (seconds since the start), its status, its body."""

_TICK_S: Final = 0.001


class Connection(asyncio.Protocol):
    """One request at a time."""

    def __init__(self, caller: LeanCaller) -> None:
        self._caller = caller
        self._buffer = b""
        self._due_at = 0.0
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def send(self, due_at: float) -> None:
        """The next request."""
        self._due_at = due_at
        self._transport.write(self._caller.request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head_end = self._buffer.find(b"\r\n\r\n")
        if head_end < 0:
            return
        head = self._buffer[:head_end].lower()
        length = int(head[head.find(b"content-length: ") + 16 :].split(b"\r\n", 1)[0])
        if len(self._buffer) < head_end + 4 + length:
            return
        body, self._buffer = self._buffer[head_end + 4 :], b""
        self._caller.answered(self, self._due_at, int(head[9:12]), body)

    def connection_lost(self, error: Exception | None) -> None:
        self._caller.broken += 1

    def close(self) -> None:
        """Nothing more is sent."""
        self._transport.close()


class LeanCaller:
    """Sends `request` at every moment of `send`'s list and tells `on_answer` how each was answered."""

    def __init__(self, port: int, path: str, body: bytes, on_answer: OnAnswer) -> None:
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
        self.request = head.encode() + body
        self.broken = 0
        self.late_s: list[float] = []
        """How much later than due each call was sent: the sender's own fault."""
        self._port = port
        self._on_answer = on_answer
        self._idle: deque[Connection] = deque()
        self._all: list[Connection] = []
        self._open_calls = 0
        self._began = 0.0

    def answered(self, connection: Connection, due_at: float, status: int, body: bytes) -> None:
        """A connection has its answer."""
        self._open_calls -= 1
        self._idle.append(connection)
        self._on_answer(due_at, status, body)

    async def send(self, moments: Sequence[float], connections: int, most_s: float = 30.0) -> None:
        """All calls, in ascending order of when they are due, and until all are answered (`most_s` after the last)."""
        loop = asyncio.get_running_loop()
        for _ in range(connections - len(self._all)):
            _, connection = await loop.create_connection(lambda: Connection(self), "127.0.0.1", self._port)
            self._all.append(connection)
            self._idle.append(connection)
        self._began = began = time.monotonic() + 0.05
        for due_at in moments:
            while (wait_s := began + due_at - time.monotonic()) > 0:
                await asyncio.sleep(max(wait_s - _TICK_S / 2, 0))
            while not self._idle:
                await asyncio.sleep(_TICK_S)
            self.late_s.append(time.monotonic() - began - due_at)
            self._open_calls += 1
            self._idle.popleft().send(due_at)
        async with asyncio.timeout(most_s):
            while self._open_calls:
                await asyncio.sleep(_TICK_S)

    def seconds_since(self, due_at: float) -> float:
        """How long ago that was."""
        return time.monotonic() - self._began - due_at

    def close(self) -> None:
        """Close every connection."""
        for connection in self._all:
            connection.close()
