"""Broken body: a request whose chunks stop making sense while it is read ends with that, and at once.

aiohttp notes what it cannot parse as a further request behind the one that is being read, whose handler would wait for
the rest of its body until a deadline of its own. So the note is taken back and the body is ended with it.
"""

from __future__ import annotations

from aiohttp import web
from aiohttp.http_exceptions import PayloadEncodingError
from aiohttp.web_protocol import _ErrInfo as Unreadable

__all__ = ["Unreadable", "end_broken_body"]


def end_broken_body(connection: web.RequestHandler) -> None:
    """Call it when the last message of `connection` is `Unreadable`: who reads the body before it gets a
    PayloadEncodingError. Where no body was being read, nothing changes: what cannot be read is a request of its own.
    """
    messages = connection._messages
    if len(messages) > 1:
        payload = messages[-2][1]
    elif connection._current_request is not None:
        payload = connection._current_request.content
    else:
        return
    if payload.is_eof() or payload.exception() is not None:
        return
    messages.pop()
    payload.set_exception(PayloadEncodingError("the body's chunks cannot be read"))
