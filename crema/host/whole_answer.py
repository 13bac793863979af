"""WholeAnswer: status, headers and body of an answer, known at once and written in one go.

The library's response builds a case-insensitive map, fills it and serialises it again; for an answer whose headers are
a line of text already, that costs more than everything that the coordinator decides.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from aiohttp import web
from aiohttp.helpers import rfc822_formatted_time
from aiohttp.http import HttpVersion10

_STATUS_LINES: Final = {each.value: f"HTTP/1.1 {each.value} {each.phrase}\r\n" for each in HTTPStatus}


class WholeAnswer(web.StreamResponse):
    """An answer with a body to a request other than HEAD.

    `head` is its header lines, each ended by CRLF, without those that the connection decides (Content-Length, Date,
    Connection); the caller sees to it that no value holds a control character.
    """

    def __init__(self, status: int, head: str, body: bytes) -> None:
        # without the library's own beginning: it makes a map of headers that nobody would read
        self._status = status
        self._head = head
        self._whole_body = body

    async def prepare(self, request: web.BaseRequest) -> None:
        """Write everything; waits while the client reads more slowly than it asks."""
        if self._keep_alive is None:
            self._keep_alive = request.keep_alive
        if not self._keep_alive:
            connection = "Connection: close\r\n"
        else:
            connection = "Connection: keep-alive\r\n" if request.version == HttpVersion10 else ""
        body = self._whole_body
        head = (
            f"{_STATUS_LINES[self._status]}{self._head}{connection}"
            f"Content-Length: {len(body)}\r\nDate: {rfc822_formatted_time()}\r\n\r\n"
        )
        self._eof_sent = True
        self._body_length = len(body)
        transport = request.transport
        if transport is None or transport.is_closing():
            raise ConnectionError("the client left")
        request.writer.output_size += len(head) + len(body)
        transport.write(head.encode("latin-1") + body)
        await request.writer.drain()

    async def write_eof(self, data: bytes = b"") -> None:
        """All was written by `prepare`."""
