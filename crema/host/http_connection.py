"""Connection: one HTTP connection to a caller: one request answered after the other, and a deadline for everything.

`RequestReader` says what is a request; what is answered is the `Shell`'s to say.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from typing import Final, Protocol, cast

from crema.errors import CremaError
from crema.host.http_answer import Answer
from crema.host.http_reader import RequestReader
from crema.host.http_request import Request, id_from, request_id_of
from crema.host.http_responses import problem_response, refusal_of_connections

HEADER_TIMEOUT_S: Final = 10.0
# An answer that its caller has not taken by then is given up, and the connection with it.
WRITE_TIMEOUT_S: Final = 10.0
# Longer than the 60 s after which most proxies drop what is idle, so that the proxy is the one to close.
KEEPALIVE_S: Final = 75.0
# How long the rest of a body that was refused is read and thrown away, so that its sender gets to see why.
LINGER_S: Final = 2.0
# Who was too slow has had their time.
SLOW_LINGER_S: Final = 0.5
# Requests that are read while one is being answered; what comes behind them stays as it came, and no more is received.
MAX_WAITING: Final = 8

_REFUSAL: Final = refusal_of_connections()
# What comes is parsed out of this one buffer before anybody else's bytes are received into it.
_SCRATCH: Final = memoryview(bytearray(256 * 1024))
_NOTHING: Final = memoryview(b"")


class Shell(Protocol):
    """What a connection asks of the listener that it belongs to."""

    def admit_connection(self, connection: Connection, address: str | None) -> bool:
        """Count a connection in; False when there are too many."""

    def connection_ended(self, connection: Connection, address: str | None) -> None:
        """Count a connection out that was admitted."""

    async def respond(self, request: Request) -> Answer:
        """The answer to a request. Raises ConnectionError when nobody waits for it any more."""


class Connection(asyncio.BufferedProtocol):
    """One HTTP/1 connection. With `cancels_handlers` a caller who leaves takes the request in flight along."""

    def __init__(self, shell: Shell, *, cancels_handlers: bool) -> None:
        self._shell = shell
        self._cancels_handlers = cancels_handlers
        self._loop = asyncio.get_running_loop()
        self._address: str | None = None
        self._transport: asyncio.Transport | None = None
        self._reader = RequestReader(self)
        self._waiting: deque[Request | CremaError] = deque()
        self._unread = _NOTHING
        """What has come behind as many requests as may wait."""
        self._task: asyncio.Task[None] | None = None
        self._is_paused = self._is_held = self._is_ending = False
        self._has_ended = False
        self._idle_since: float | None = None
        self._header_timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None
        self._keeper: asyncio.TimerHandle | None = None

    # -- for the listener ------------------------------------------------------------------------------------------

    def idle_s(self, now: float) -> float:
        """How long a connection that has been used asks nothing; 0 while it does. `now` is the loop's time."""
        return 0.0 if self._idle_since is None else now - self._idle_since

    @property
    def is_answering(self) -> bool:
        """Whether a request is in flight, or its answer on its way."""
        return self._task is not None or bool(self._waiting) or self._is_paused

    def close(self) -> None:
        """End it once what was written has gone out."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """End it now, and the request in flight."""
        if self._task is not None:
            self._task.cancel()
        if self._transport is not None:
            self._transport.abort()

    # -- asyncio's side --------------------------------------------------------------------------------------------

    def connection_made(self, made: asyncio.BaseTransport) -> None:
        transport = cast("asyncio.Transport", made)
        peer = transport.get_extra_info("peername")
        self._address = peer[0] if type(peer) is tuple else None
        if not self._shell.admit_connection(self, self._address):
            self._reader.close()
            transport.write(_REFUSAL)
            transport.close()
            return
        self._transport = transport
        # paused means then: the kernel takes no more, because the caller does not
        transport.set_write_buffer_limits(high=0)
        self._expect_head()
        self._keeper = self._loop.call_later(KEEPALIVE_S, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._transport is None:
            return
        self._transport = None
        self._shell.connection_ended(self, self._address)
        for timer in (self._header_timer, self._write_timer, self._keeper):
            if timer is not None:
                timer.cancel()
        self._waiting.clear()
        if self._reader.receiving is not None:
            self._reader.receiving.fail(ConnectionResetError("the caller left"))
        self._reader.close()
        if self._task is not None and self._cancels_handlers:
            self._task.cancel()

    def get_buffer(self, sizehint: int) -> memoryview:
        return _SCRATCH

    def buffer_updated(self, nbytes: int) -> None:
        reader = self._reader
        if reader.is_done:
            return
        self._idle_since = None
        rest = self._read(_SCRATCH[:nbytes])
        if rest:
            self._unread = memoryview(bytes(rest))
            self.hold()
        if self._is_ending:
            if reader.receiving is None:
                # the rest of what was refused has come: nothing of the answer can be lost any more
                self.close()
        elif not self.is_answering:
            # bytes that are not yet a request: the next one's head has begun
            self._expect_head()
        elif self._task is None and not self._is_paused:
            self._next()

    def _read(self, data: memoryview) -> memoryview:
        """Cut requests out of what has come, as many as may wait; gives back the rest."""
        reader, begin = self._reader, 0
        while begin < len(data) and not reader.is_done:
            if len(self._waiting) >= MAX_WAITING:
                return data[begin:]
            end = begin + reader.most_at_once
            fault = reader.feed(data[begin:end])
            if fault is not None:
                self._waiting.append(fault)
            begin = end
        return _NOTHING

    def eof_received(self) -> bool:
        """A caller who ends in the middle of a body is told so, if they still listen; any other has left."""
        self._has_ended = True
        return self._reader.ended() and not self._is_ending

    def pause_writing(self) -> None:
        self._is_paused = True
        self._write_timer = self._loop.call_later(WRITE_TIMEOUT_S, self._reads_too_slowly)

    def resume_writing(self) -> None:
        self._is_paused = False
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None
        if self._task is None and not self._is_ending:
            self._next()

    # -- the reader's, the body's and the request's side -------------------------------------------------------------

    def request_begun(self, request: Request) -> None:
        """A request's head has come whole."""
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None
        self._waiting.append(request)

    @property
    def is_lost(self) -> bool:
        """Whether the caller has left."""
        return self._transport is None or self._transport.is_closing()

    def write(self, data: bytes) -> None:
        """Send something before the answer. Raises ConnectionError."""
        if self._transport is None or self._transport.is_closing():
            raise ConnectionError("the caller left")
        self._transport.write(data)

    def hold(self) -> None:
        """Read nothing for now."""
        if not self._is_held and not self.is_lost:
            self._is_held = True
            assert self._transport is not None
            self._transport.pause_reading()

    def go_on(self) -> None:
        """Read again."""
        if self._is_held and not self._unread and not self.is_lost:
            self._is_held = False
            assert self._transport is not None
            self._transport.resume_reading()

    # -- one request after the other -------------------------------------------------------------------------------

    def _next(self) -> None:
        """Begin with the next request, or wait for one."""
        if self._waiting:
            request = self._waiting.popleft()
            if self._unread:
                self._unread = self._read(self._unread)
            if not self._waiting:
                # of the last one's body more may have to come
                self.go_on()
            if isinstance(request, CremaError):
                self._refuse(request)
            else:
                self._task = self._loop.create_task(self._answer(request))
            return
        self.go_on()
        self._idle_since = self._loop.time()
        if self._reader.is_amid_head:
            self._expect_head()

    async def _answer(self, request: Request) -> None:
        try:
            answer = await self._shell.respond(request)
            is_last = answer.is_last or not request.keeps_alive or not request.body.is_whole
            connection = "Connection: keep-alive\r\n" if request.is_1_0 else ""
            if is_last:
                connection = "Connection: close\r\n"
            whole = answer.encoded(request_id_of(request), connection, has_body=request.method != "HEAD")
        except ConnectionError:
            self.close()
            return
        except BaseException:
            # nobody can say what would belong to which request from here on
            self.close()
            raise
        finally:
            self._task = None
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        transport.writelines(whole)
        if is_last:
            self._end(request, SLOW_LINGER_S if answer.status == 408 else LINGER_S)
        elif not self._is_paused:
            self._next()

    def _refuse(self, fault: CremaError) -> None:
        """Answer what is no request, and read nothing more."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        request_id = id_from(self._reader.headers)
        transport.writelines(problem_response(fault, request_id).encoded(request_id, "Connection: close\r\n"))
        self._is_ending = True
        if self._has_ended:
            transport.close()
        else:
            # what else comes is thrown away, so that no reset overtakes the answer
            transport.write_eof()
            self._loop.call_later(SLOW_LINGER_S, self.close)

    def _end(self, request: Request, linger_s: float) -> None:
        """The last answer is written: close, once the rest of the request has come or will not be waited for any longer."""
        self._is_ending = True
        self._waiting.clear()
        self._unread = _NOTHING
        self._reader.end_with_this()
        request.body.forget()
        if request.body.is_whole or self._reader.receiving is None or self._has_ended:
            self.close()
        else:
            self._loop.call_later(linger_s, self.close)

    # -- deadlines -------------------------------------------------------------------------------------------------

    def _expect_head(self) -> None:
        """From now on a request's head has its time to come whole."""
        if self._header_timer is None:
            self._header_timer = self._loop.call_later(HEADER_TIMEOUT_S, self._head_too_slow)

    def _head_too_slow(self) -> None:
        self._header_timer = None
        self.close()

    def _look(self) -> None:
        """Close it when nothing was asked for so long."""
        left_s = KEEPALIVE_S - self.idle_s(self._loop.time())
        if left_s <= 0:
            self.close()
        else:
            self._keeper = self._loop.call_later(left_s, self._look)

    def _reads_too_slowly(self) -> None:
        self._write_timer = None
        if self._transport is not None:
            # with a reset, or the kernel would go on offering what it has taken, for minutes
            self._transport.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
            )
            self._transport.abort()
