"""Web servers for tests of fetching: real ones on loopback, that count who came and send what a test tells them."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from tests.preprocessor import image_files as f

PHOTO = f.jpeg()
PHOTO_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(PHOTO), PHOTO)

Answer = bytes | Callable[[asyncio.StreamWriter], Awaitable[None]]


class WebServer:
    """Answers each path of `answers` with those bytes, or by that function; any other with a photo.

    `hits` holds the head of every request, `connections` counts who connected, and `sent` the bytes of functions.
    """

    def __init__(self, answers: dict[str, Answer] | None = None) -> None:
        self.answers = answers or {}
        self.hits: list[str] = []
        self.connections = 0
        self.sent = 0
        self.port = 0
        self._servers: list[asyncio.Server] = []
        self._tasks: set[asyncio.Task[Any]] = set()

    async def listen(self, *hosts: str, port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        """On the same port of every host that this machine has."""
        self.port = self.port or port
        for host in hosts:
            with contextlib.suppress(OSError):
                server = await asyncio.start_server(self._serve, host, self.port, ssl=tls)
                self._servers.append(server)
                self.port = int(server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        for server in self._servers:
            server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            self.hits.append(head)
            answer = self.answers.get(head.split()[1].partition("?")[0], PHOTO_ANSWER)
            if isinstance(answer, bytes):
                writer.write(answer)
                await writer.drain()
            else:
                await answer(writer)
        writer.close()

    def redirect(self, to: str) -> None:
        """`/redirect` leads to `to`."""
        self.answers["/redirect"] = redirect_to(to)

    async def endless(self, writer: asyncio.StreamWriter) -> None:
        """A photo that never ends, in chunks."""
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        chunk = PHOTO[:64] + bytes(65472)
        while True:
            writer.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
            await writer.drain()
            self.sent += len(chunk)

    async def slow(self, writer: asyncio.StreamWriter) -> None:
        """A byte now and then."""
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + PHOTO[:100])
        while True:
            writer.write(b"\0")
            await writer.drain()
            await asyncio.sleep(0.01)

    async def silent(self, writer: asyncio.StreamWriter) -> None:
        """Takes the request and says nothing."""
        await asyncio.sleep(60)


def redirect_to(location: str, status: int = 302) -> bytes:
    return f"HTTP/1.1 {status} Found\r\nLocation: {location}\r\nSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n".encode(
        "latin-1", "replace"
    )


def answer(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


@contextlib.asynccontextmanager
async def serving(
    *hosts: str, answers: dict[str, Answer] | None = None, tls: ssl.SSLContext | None = None
) -> AsyncIterator[WebServer]:
    """A `WebServer` on `hosts`, closed at the end."""
    server = WebServer(answers)
    await server.listen(*(hosts or ("127.0.0.1",)), tls=tls)
    try:
        yield server
    finally:
        await server.close()
