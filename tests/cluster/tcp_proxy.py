"""TcpProxy: a bad network between two processes of a test, on loopback.

    async with tcp_proxy(minion.ports["channel"]) as proxy:
        ...connect to proxy.port...
        proxy.switch("drop")

Modes, per direction: `pass`; `delay` (each chunk waits `delay_s`); `drop` (what comes is swallowed, the connection stays);
`slow` (one byte a second, or `bytes_per_s`); and, at once, `reset()` (RST to both sides) and `half_open()` (one side
is closed, the other is not told). A mode holds for what comes after it was set.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator
from typing import Literal

Mode = Literal["pass", "delay", "drop", "slow"]

_CHUNK_BYTES = 64 * 1024
# SO_LINGER with no time: close sends RST instead of FIN
_RST = struct.pack("ii", 1, 0)


class _Pair:
    """One connection through the proxy: the client's socket and ours to the server."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client = client
        self.server = server
        self.is_half_open = False
        self.tasks: list[asyncio.Task[None]] = []

    def close(self) -> None:
        for task in self.tasks:
            task.cancel()
        self.client.close()
        self.server.close()


class TcpProxy:
    """Listens on `port` and connects each client to 127.0.0.1:`target`."""

    def __init__(self, target: int) -> None:
        self.to_server: Mode = "pass"
        self.to_client: Mode = "pass"
        self.delay_s = 0.1
        self.bytes_per_s = 1.0
        self.passed = {"to_server": 0, "to_client": 0}
        """Bytes that went through."""
        self.port = 0
        self._target = target
        self._pairs: list[_Pair] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._acceptor: asyncio.Task[None] | None = None

    def switch(self, mode: Mode) -> None:
        """Both directions."""
        self.to_server = self.to_client = mode

    @property
    def connections(self) -> int:
        """Connections that stand."""
        return len(self._pairs)

    def start(self) -> None:
        """Listen."""
        self._listener.setblocking(False)
        self.port = self._listener.getsockname()[1]
        self._acceptor = asyncio.get_running_loop().create_task(self._accept())

    async def close(self) -> None:
        """End everything."""
        if self._acceptor is not None:
            self._acceptor.cancel()
            await asyncio.gather(self._acceptor, return_exceptions=True)
        tasks = [task for pair in self._pairs for task in pair.tasks]
        for pair in list(self._pairs):
            pair.close()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._pairs.clear()
        self._listener.close()

    def reset(self) -> None:
        """RST to both sides of every connection, whatever was on its way."""
        for pair in self._pairs:
            for end in (pair.client, pair.server):
                with contextlib.suppress(OSError):
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RST)
            pair.close()
        self._pairs.clear()

    def half_open(self) -> None:
        """Every client's connection is reset; the server's stays open and nothing is read from it any more."""
        for pair in self._pairs:
            pair.is_half_open = True
            for task in pair.tasks:
                task.cancel()
            with contextlib.suppress(OSError):
                pair.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RST)
            pair.client.close()

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            client, _ = await loop.sock_accept(self._listener)
            client.setblocking(False)
            server = socket.socket()
            server.setblocking(False)
            try:
                await loop.sock_connect(server, ("127.0.0.1", self._target))
            except OSError:
                client.close()
                server.close()
                continue
            pair = _Pair(client, server)
            self._pairs.append(pair)
            pair.tasks = [
                loop.create_task(self._carry(pair, client, server, "to_server")),
                loop.create_task(self._carry(pair, server, client, "to_client")),
            ]

    async def _carry(
        self,
        pair: _Pair,
        source: socket.socket,
        target: socket.socket,
        way: Literal["to_server", "to_client"],
    ) -> None:
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError):
            while data := await loop.sock_recv(source, _CHUNK_BYTES):
                while data:
                    mode: Mode = getattr(self, way)
                    if mode == "drop":
                        break
                    if mode == "delay":
                        await asyncio.sleep(self.delay_s)
                    size = len(data) if mode != "slow" else 1
                    await loop.sock_sendall(target, data[:size])
                    self.passed[way] += size
                    data = data[size:]
                    if mode == "slow":
                        await asyncio.sleep(1 / self.bytes_per_s)
        # one side has ended: so does the other, once what it was sent has arrived
        if not pair.is_half_open:
            with contextlib.suppress(OSError):
                target.shutdown(socket.SHUT_WR)
            if all(task.done() or task is asyncio.current_task() for task in pair.tasks):
                pair.client.close()
                pair.server.close()
                if pair in self._pairs:
                    self._pairs.remove(pair)


@contextlib.asynccontextmanager
async def tcp_proxy(target: int) -> AsyncIterator[TcpProxy]:
    """A proxy in front of a port, ended in the end."""
    proxy = TcpProxy(target)
    proxy.start()
    try:
        yield proxy
    finally:
        await proxy.close()
