"""Connection: one HTTP connection to a caller, with deadlines for its headers and for reading answers.

aiohttp's does the protocol; here stands what that library leaves open. What is answered is the `Shell`'s to say.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Any, Final, Protocol, cast

from aiohttp import StreamReader, web
from aiohttp.http_exceptions import PayloadEncodingError

from crema.host.broken_body import Unreadable, end_broken_body
from crema.host.http_request import Request
from crema.host.http_responses import SERVER, refusal_of_connections

HEADER_TIMEOUT_S: Final = 10.0
# An answer that its caller has not taken by then is given up, and the connection with it.
WRITE_TIMEOUT_S: Final = 10.0
# Longer than the 60 s after which most proxies drop what is idle, so that the proxy is the one to close.
KEEPALIVE_S: Final = 75.0

_REFUSAL: Final = refusal_of_connections()


class Shell(Protocol):
    """What a connection asks of the listener that it belongs to."""

    def admit_connection(self, address: str | None) -> bool:
        """Count a connection in; False when there are too many."""

    def connection_ended(self, address: str | None) -> None:
        """Count a connection out that was admitted."""

    def library_error(self, request: Request, status: int, exc: BaseException | None) -> web.Response:
        """The answer to what the HTTP library itself refuses or to what escaped a handler."""


class Connection(web.RequestHandler):
    """One HTTP connection: aiohttp's, plus deadlines for headers and for reading answers, a cap on connections and our
    error documents."""

    __slots__ = ("_address", "_header_timer", "_last_body", "_shell", "_socket", "_write_timer")

    def __init__(self, shell: Shell, server: web.Server, **kwargs: Any) -> None:
        super().__init__(server, **kwargs)
        self._shell = shell
        self._address: str | None = None
        # aiohttp forgets its transport when it closes it, which is not yet when the last byte has left
        self._socket: asyncio.Transport | None = None
        self._header_timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None
        self._last_body: StreamReader | None = None

    def connection_made(self, made: asyncio.BaseTransport) -> None:
        transport = cast("asyncio.Transport", made)
        peer = transport.get_extra_info("peername")
        self._address = peer[0] if type(peer) is tuple else None
        if not self._shell.admit_connection(self._address):
            transport.write(_REFUSAL)
            transport.close()
            return
        self._socket = transport
        # paused means then: the kernel takes no more, because the caller does not
        transport.set_write_buffer_limits(high=0)
        super().connection_made(made)
        self._header_timer = self._loop.call_later(HEADER_TIMEOUT_S, self._headers_too_slow)

    def connection_lost(self, exc: BaseException | None) -> None:
        if self._socket is None:
            return
        self._socket = None
        self._shell.connection_ended(self._address)
        self._stop_header_timer()
        self._stop_write_timer()
        super().connection_lost(exc)

    @property
    def is_waiting(self) -> bool:
        """Whether the last request is answered and the next is not here."""
        return self._waiter is not None and not self._waiter.done()

    def idle_s(self, now: float) -> float:
        """How long a connection that has been used asks nothing; 0 while it does. `now` is the loop's time."""
        if self._request_count and self._header_timer is None and self.is_waiting:
            return now - (self._next_keepalive_close_time - KEEPALIVE_S)
        return 0.0

    def data_received(self, data: bytes) -> None:
        before = self._request_count
        super().data_received(data)
        if self._request_count != before:
            self._stop_header_timer()
            last, self._last_body = self._messages[-1]
            if type(last) is Unreadable:
                end_broken_body(self)
        elif self._header_timer is None and self.is_waiting and data:
            # bytes between two requests that are not yet a request: the next one's headers have begun
            self._header_timer = self._loop.call_later(HEADER_TIMEOUT_S, self._headers_too_slow)

    def eof_received(self) -> bool:  # type: ignore[override]
        """A caller who ends in the middle of a body is told so, if they still listen; any other has left."""
        body = self._last_body
        if self._socket is None or body is None or body.is_eof() or body.exception() is not None:
            return False
        body.set_exception(PayloadEncodingError("the body ended early"))
        self._lingering_time = 0.0
        return True

    def body_is_unwanted(self) -> None:
        """The request is answered before its body has come: whether the rest still comes is no matter."""
        self._last_body = None

    def resume_reading(self, resume_parser: bool = True) -> None:
        # the library calls this for every chunk of a body that is read, and has its parser look again, paused or not
        if self._reading_paused:
            super().resume_reading(resume_parser)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._write_timer = self._loop.call_later(WRITE_TIMEOUT_S, self._reads_too_slowly)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stop_write_timer()

    def _stop_write_timer(self) -> None:
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None

    def _reads_too_slowly(self) -> None:
        self._write_timer = None
        if self._socket is not None:
            # with a reset, or the kernel would go on offering what it has taken, for minutes
            self._socket.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
            )
            self._socket.abort()

    def _stop_header_timer(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None

    def _headers_too_slow(self) -> None:
        self._header_timer = None
        self.force_close()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        if request.writer.output_size > 0:
            raise ConnectionError("the answer has already begun")
        response = self._shell.library_error(cast(Request, request), status, exc)
        response.headers["Server"] = SERVER
        response.force_close()
        return response
