"""Expectation: a caller who waits to be told so before it sends its body (`Expect: 100-continue`; curl does above 1 MB)."""

from __future__ import annotations

from aiohttp import HttpVersion11, web


def is_waiting(request: web.BaseRequest) -> bool:
    """Whether the caller waits for a word before it sends its body. Over HTTP/1.0 nobody does."""
    return request.headers.get("Expect", "").lower() == "100-continue" and request.version >= HttpVersion11


async def ask_for_body(request: web.BaseRequest) -> None:
    """Tell a caller who waits to go on."""
    await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    # this was no part of the answer
    request.writer.output_size = 0
