"""Callers who keep a connection busy with next to nothing, on raw sockets in a process of their own.

    with SlowClients(address, {"header": 250, "body": 250, "reader": 250, "idle": 250}) as slow: …

Each is timed from its connection to the moment the other side has closed it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAUSE_S = 1.0
TCP_ESTABLISHED = 1
# as many as the kernel's queue of new connections takes without loss
AT_ONCE = 50

HEADERS = b"POST /v1/analyze HTTP/1.1\r\nHost: x\r\nX-Padding: " + b"a" * 200
BODY = b"POST /v1/analyze HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n\xff\xd8\xff\xe0"
# above the least rate, so that only the end of the whole time stops it
LONG_BODY_BYTES_PER_S = 1200
ASK = b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n"


class SlowClients:
    """`lived` is filled as they end: (kind, seconds). `still_open` counts the others."""

    def __init__(self, address: tuple[str, int], kinds: Mapping[str, int]) -> None:
        self.lived: list[tuple[str, float]] = []
        self._address = address
        self._kinds = kinds
        self._all_connected = threading.Event()

    def __enter__(self) -> SlowClients:
        # in a process of their own: sharing ours with those who measure would slow them down
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.cluster.slow_clients", json.dumps([self._address, dict(self._kinds)])],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()
        if not self._all_connected.wait(60):
            self.__exit__()
            raise AssertionError("the slow callers were not let in")
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._process.kill()
        self._process.wait()
        self._thread.join()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()

    @property
    def still_open(self) -> int:
        """How many have not been closed."""
        return sum(self._kinds.values()) - len(self.lived)

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            kind, seconds = json.loads(line)
            if kind == "all connected":
                self._all_connected.set()
            else:
                self.lived.append((kind, seconds))


class _Clients:
    """The side that runs in its own process."""

    def __init__(self, address: tuple[str, int], kinds: Mapping[str, int]) -> None:
        self._address = address
        self._kinds = kinds
        self._connected = 0

    async def run(self) -> None:
        """Until every one of them has been closed."""
        kinds = [kind for kind, count in self._kinds.items() for _ in range(count)]
        door = asyncio.Semaphore(AT_ONCE)
        tasks = [asyncio.create_task(self._client(kind, door)) for kind in kinds]
        while self._connected < len(kinds):
            await asyncio.sleep(0.02)
        self._tell("all connected", 0)
        await asyncio.gather(*tasks)

    def _tell(self, kind: str, seconds: float) -> None:
        print(json.dumps([kind, seconds]), flush=True)

    async def _client(self, kind: str, door: asyncio.Semaphore) -> None:
        loop = asyncio.get_running_loop()
        caller = socket.socket()
        caller.setblocking(False)
        if kind == "reader":
            caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        try:
            # not all in the same moment of each second
            await asyncio.sleep(random.random())
            async with door:
                await loop.sock_connect(caller, self._address)
            began = time.monotonic()
            self._connected += 1
            with contextlib.suppress(ConnectionError):
                await getattr(self, f"_{kind}")(loop, caller)
            self._tell(kind, time.monotonic() - began)
        finally:
            caller.close()

    async def _idle(self, loop: asyncio.AbstractEventLoop, caller: socket.socket) -> None:
        """Says nothing."""
        while await loop.sock_recv(caller, 4096):
            pass

    async def _header(self, loop: asyncio.AbstractEventLoop, caller: socket.socket) -> None:
        """A byte of the headers a second."""
        await self._trickle(loop, caller, HEADERS[:30], HEADERS[30:], 1)

    async def _body(self, loop: asyncio.AbstractEventLoop, caller: socket.socket) -> None:
        """A hundred bytes of a photo a second."""
        await self._trickle(loop, caller, BODY, bytes(10_000), 100)

    async def _long(self, loop: asyncio.AbstractEventLoop, caller: socket.socket) -> None:
        """A photo at just the rate that is taken, without end."""
        await self._trickle(loop, caller, BODY + bytes(8000), bytes(1_000_000), LONG_BODY_BYTES_PER_S)

    async def _reader(self, loop: asyncio.AbstractEventLoop, caller: socket.socket) -> None:
        """Asks for much and reads a byte a second of it, and would not hear of the end before the last of them."""
        await loop.sock_sendall(caller, ASK * 200)
        while caller.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == TCP_ESTABLISHED:
            await asyncio.sleep(PAUSE_S)
            await loop.sock_recv(caller, 1)

    async def _trickle(
        self, loop: asyncio.AbstractEventLoop, caller: socket.socket, first: bytes, rest: bytes, step: int
    ) -> None:
        ended = asyncio.ensure_future(self._idle(loop, caller))
        try:
            await loop.sock_sendall(caller, first)
            for start in range(0, len(rest), step):
                await asyncio.wait([ended], timeout=PAUSE_S)
                if ended.done():
                    break
                await loop.sock_sendall(caller, rest[start : start + step])
            await ended
        finally:
            ended.cancel()


if __name__ == "__main__":
    (_host, _port), _kinds = json.loads(sys.argv[1])
    asyncio.run(_Clients((_host, _port), _kinds).run())
