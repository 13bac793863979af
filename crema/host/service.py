"""The HTTP shell of each tier: routes, limits, health, problem documents. It knows no tier and no model.

aiohttp's low-level server does the protocol. Around it stand what that library leaves open: a deadline for request
headers and one for callers who do not read, a cap on connections, HEAD and OPTIONS, and one shape of error for
everything, the library's own refusals included.
"""

from __future__ import annotations

import asyncio
import random
import re
import socket
import struct
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

import msgspec
import structlog
from aiohttp import web
from aiohttp.http_exceptions import LineTooLong, PayloadEncodingError
from aiohttp.web_protocol import RequestPayloadError

from crema.errors import CremaError, problem, retry_after_seconds
from crema.host.broken_body import Unreadable, end_broken_body
from crema.host.connection_limits import ConnectionLimits
from crema.host.metrics import CONTENT_TYPE, Metrics
from crema.host.whole_answer import WholeAnswer

# without its line end; of a header's line the name and the value are bounded alone, too, by the parser
MAX_LINE_BYTES: Final = 8190
MAX_HEADERS: Final = 64
HEADER_TIMEOUT_S: Final = 10.0
# An answer that its caller has not taken by then is given up, and the connection with it.
WRITE_TIMEOUT_S: Final = 10.0
# Longer than the 60 s after which most proxies drop what is idle, so that the proxy is the one to close.
KEEPALIVE_S: Final = 75.0
CROWDED_KEEPALIVE_S: Final = 10.0
# How long the rest of a body that was refused is read and thrown away, so that its sender gets to see why.
LINGER_S: Final = 2.0
SLOW_LINGER_S: Final = 0.5
# What the kernel holds of answers to a caller who does not read (twice this, by its own count). Left to itself it
# takes 4 MB, so that some hundred such callers could have more written in a second than the loop has time for.
SEND_BUFFER_BYTES: Final = 128 * 1024
_SWEEP_EVERY_S: Final = 1.0
# instead of the library's own, which tells strangers its version
SERVER: Final = "crema"

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

OPEN: Final = "open"
"""The scope of a route that asks for no key."""
UNDECLARED: Final = "undeclared"
"""The scope of a route that says nothing: where keys are in force, none opens it."""

SEGMENT: Final = web.RequestKey("segment", str)
"""The last segment of a path that matched a route ending in `/{name}`, still quoted."""
_REQUEST_ID: Final = web.RequestKey("request_id", str)
_VALID_REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}\Z")
_encode_json = msgspec.json.Encoder().encode

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Route:
    """`method path → handler`. A path may end in `/{name}`: the last segment is then `request[SEGMENT]`.

    `scope` is what an API key must allow where the tier asks for keys.
    """

    method: str
    path: str
    handler: Handler
    scope: str = UNDECLARED


def new_request_id() -> str:
    """A fresh id, for callers who sent none."""
    return f"req_{random.getrandbits(72):018x}"


def request_id_of(request: web.BaseRequest) -> str:
    """The caller's `X-Request-Id` if it is 1 to 128 visible ASCII characters, else a new one; stable per request."""
    known = request.get(_REQUEST_ID)
    if known is None:
        sent = request.headers.get("X-Request-Id")
        known = sent if sent is not None and _VALID_REQUEST_ID.match(sent) else new_request_id()
        request[_REQUEST_ID] = known
    return known


def json_response(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """`body` as JSON. Numbers must be finite: the encoder would write `null` for others."""
    return web.Response(
        body=_encode_json(body), status=status, headers=headers, content_type="application/json"
    )


def problem_response(
    error: CremaError, request_id: str, headers: Mapping[str, str] | None = None
) -> web.Response:
    """The problem document of an error, with `Retry-After` where the error says when to come back."""
    all_headers = {"X-Request-Id": request_id, **(headers or {})}
    if error.retry_after_ms is not None:
        all_headers["Retry-After"] = str(retry_after_seconds(error.retry_after_ms))
    return web.Response(
        body=_encode_json(problem(error, request_id)),
        status=error.status,
        headers=all_headers,
        content_type="application/problem+json",
    )


def _refusal_of_connections() -> bytes:
    """What a connection over the cap is told, without a look at its request."""
    error = CremaError("not_ready", "too many connections are open here; come back in a second")
    body = _encode_json(problem(error, None))
    return (
        b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\nRetry-After: 1\r\n"
        b"Server: %b\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b"
        % (SERVER.encode(), len(body), body)
    )


_REFUSAL: Final = _refusal_of_connections()


class _Connection(web.RequestHandler):
    """One HTTP connection: aiohttp's, plus deadlines for headers and for reading answers, a cap on connections and our
    error documents."""

    __slots__ = ("_address", "_header_timer", "_service", "_socket", "_write_timer")

    def __init__(self, service: Service, server: _Server, **kwargs: Any) -> None:
        super().__init__(server, **kwargs)
        self._service = service
        self._address: str | None = None
        # aiohttp forgets its transport when it closes it, which is not yet when the last byte has left
        self._socket: asyncio.Transport | None = None
        self._header_timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None

    def connection_made(self, made: asyncio.BaseTransport) -> None:
        transport = cast("asyncio.Transport", made)
        peer = transport.get_extra_info("peername")
        self._address = peer[0] if type(peer) is tuple else None
        if not self._service.admit_connection(self._address):
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
        self._service.connection_ended(self._address)
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
            if type(self._messages[-1][0]) is Unreadable:
                end_broken_body(self)
        elif self._header_timer is None and self.is_waiting and data:
            # bytes between two requests that are not yet a request: the next one's headers have begun
            self._header_timer = self._loop.call_later(HEADER_TIMEOUT_S, self._headers_too_slow)

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
        response = self._service.library_error(request, status, exc)
        response.headers["Server"] = SERVER
        response.force_close()
        return response


class _Server(web.Server):
    def __init__(self, service: Service, handler: Handler, **kwargs: Any) -> None:
        super().__init__(handler, **kwargs)
        self._service = service

    def __call__(self) -> web.RequestHandler:
        return _Connection(self._service, self, loop=self._loop, **self._kwargs)


class Service:
    """An HTTP listener with a fixed route table.

    With `cancels_handlers`, a client that leaves cancels its handler. `connection_cap` bounds the connections further
    than the descriptor limit does.
    """

    def __init__(
        self, routes: Iterable[Route], *, cancels_handlers: bool = False, connection_cap: int | None = None
    ) -> None:
        self.is_draining = False
        self._limits = ConnectionLimits(connection_cap)
        self._sweep: asyncio.TimerHandle | None = None
        self._cancels_handlers = cancels_handlers
        self._exact: dict[str, dict[str, Handler]] = {}
        self._prefixed: dict[str, tuple[str, dict[str, Handler]]] = {}
        for route in routes:
            self._add(route)
        self._server: _Server | None = None
        self._listener: asyncio.Server | None = None

    @property
    def routes(self) -> list[tuple[str, str]]:
        """(method, path) of every route, for tests that hold them against the API description."""
        exact = [(method, path) for path, methods in self._exact.items() for method in methods]
        prefixed = [
            (method, f"{prefix}{{{name}}}")
            for prefix, (name, methods) in self._prefixed.items()
            for method in methods
        ]
        return sorted(exact + prefixed)

    async def start(self, host: str, port: int, *, listening: socket.socket | None = None) -> int:
        """Listen and return the port (the one chosen, when `port` is 0).

        With `listening`, a socket that listens already and that other processes may hold too, on that one.
        """
        self._server = _Server(
            self,
            self._dispatch,
            handler_cancellation=self._cancels_handlers,
            access_log=None,
            keepalive_timeout=KEEPALIVE_S,
            max_line_size=MAX_LINE_BYTES,
            max_field_size=MAX_LINE_BYTES,
            max_headers=MAX_HEADERS,
            auto_decompress=False,
            lingering_time=LINGER_S,
        )
        loop = asyncio.get_running_loop()
        if listening is not None:
            self._listener = await loop.create_server(self._server, sock=listening, backlog=1024)
        else:
            self._listener = await loop.create_server(self._server, host, port, backlog=1024)
        for listener in self._listener.sockets:
            # accepted sockets inherit it
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        return int(self._listener.sockets[0].getsockname()[1])

    def stop_listening(self) -> None:
        """Take no new connections."""
        if self._listener is not None:
            self._listener.close()

    async def close(self, timeout_s: float = 25.0) -> None:
        """Take no new connections, let requests in flight finish within `timeout_s`, then close everything."""
        self.is_draining = True
        self.stop_listening()
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        if self._server is not None:
            self._server.pre_shutdown()
            await self._server.shutdown(timeout_s)

    # -- connections -----------------------------------------------------------------------------------------------

    @property
    def connections(self) -> int:
        """How many are open."""
        return self._limits.count

    def admit_connection(self, address: str | None) -> bool:
        """Count a connection in; False when there are too many, in all or from its address."""
        is_admitted = self._limits.admit(address)
        if self._sweep is None and self._limits.is_crowded:
            self._sweep = asyncio.get_running_loop().call_later(_SWEEP_EVERY_S, self._close_idle)
        return is_admitted

    def connection_ended(self, address: str | None) -> None:
        """Count a connection out that was admitted."""
        self._limits.leave(address)

    def _close_idle(self) -> None:
        """While there is a crowd, whoever asks nothing for ten seconds makes room."""
        self._sweep = None
        if self._server is None or not self._limits.is_crowded:
            return
        loop = asyncio.get_running_loop()
        now = loop.time()
        for connection in self._server.connections:
            if isinstance(connection, _Connection) and connection.idle_s(now) > CROWDED_KEEPALIVE_S:
                connection.force_close()
        self._sweep = loop.call_later(_SWEEP_EVERY_S, self._close_idle)

    # -- requests --------------------------------------------------------------------------------------------------

    def _add(self, route: Route) -> None:
        head, _, last = route.path.rpartition("/")
        if last.startswith("{") and last.endswith("}"):
            _, methods = self._prefixed.setdefault(head + "/", (last[1:-1], {}))
        else:
            methods = self._exact.setdefault(route.path, {})
        methods[route.method] = route.handler

    def _find(self, request: web.BaseRequest) -> dict[str, Handler] | None:
        path = request.rel_url.raw_path
        methods = self._exact.get(path)
        if methods is None:
            head, _, last = path.rpartition("/")
            prefixed = self._prefixed.get(head + "/")
            if prefixed is not None and last:
                _, methods = prefixed
                request[SEGMENT] = last
        return methods

    async def _dispatch(self, request: web.BaseRequest) -> web.StreamResponse:
        is_last = not _is_framed_plainly(request)
        try:
            if is_last:
                raise CremaError(
                    "invalid_request",
                    "this way to frame a request is not taken; send Content-Length or Transfer-Encoding: chunked alone",
                )
            for name, value in request.raw_headers:
                if len(name) + len(value) > MAX_LINE_BYTES:
                    is_last = True
                    raise _headers_too_large()
            methods = self._find(request)
            if methods is None:
                raise CremaError(
                    "not_found",
                    f"there is nothing at {request.rel_url.raw_path[:200]}; /openapi.json on the public listener lists what there is",
                )
            handler = methods.get(request.method)
            if handler is None:
                response = await self._other_method(request, methods)
            else:
                response = await handler(request)
        except CremaError as error:
            response = problem_response(error, request_id_of(request))
        except (RequestPayloadError, PayloadEncodingError):
            response = problem_response(_broken_body(), request_id_of(request))
        except (asyncio.CancelledError, ConnectionError):
            raise
        except Exception:
            request_id = request_id_of(request)
            log.exception("unexpected_error", request_id=request_id, path=request.rel_url.raw_path[:200])
            response = problem_response(
                CremaError("internal", "an unexpected error; it is logged under this request id"), request_id
            )
        if is_last or self.is_draining or not request.content.is_eof() or "Upgrade" in request.headers:
            # What is left of a body that was not wanted is no next request, and after an upgrade (which is never
            # taken) the parser reads none: the connection ends with this answer.
            response.force_close()
        if type(response) is WholeAnswer:
            return response
        if response.status == 408:
            # long enough for the answer to be read before the rest of the body meets a closed door, and no longer
            request.protocol._lingering_time = SLOW_LINGER_S
        headers = response.headers
        headers["Server"] = SERVER
        if "X-Request-Id" not in headers:
            headers["X-Request-Id"] = request_id_of(request)
        return response

    async def _other_method(
        self, request: web.BaseRequest, methods: dict[str, Handler]
    ) -> web.StreamResponse:
        """HEAD wherever GET is, OPTIONS everywhere, 405 for the rest."""
        allowed = sorted({*methods, "OPTIONS", *(("HEAD",) if "GET" in methods else ())})
        allow = {"Allow": ", ".join(allowed)}
        if request.method == "HEAD" and "GET" in methods:
            return await methods["GET"](request)  # aiohttp leaves the body out and keeps its length
        if request.method == "OPTIONS":
            return web.Response(status=204, headers=allow)
        error = CremaError(
            "method_not_allowed", f"{request.method} is not allowed here; use {allow['Allow']}"
        )
        return problem_response(error, request_id_of(request), allow)

    def library_error(self, request: web.BaseRequest, status: int, exc: BaseException | None) -> web.Response:
        """The problem document for what the HTTP library itself refuses or for what escaped a handler."""
        request_id = request_id_of(request)
        if status >= 500:
            log.error("http_error", request_id=request_id, error=repr(exc)[:300])
            error = CremaError("internal", "an unexpected error; it is logged under this request id")
        elif isinstance(exc, LineTooLong) or "Too many" in str(exc):
            error = _headers_too_large()
        else:
            error = CremaError(
                "invalid_request",
                "this is not a well-formed HTTP request; check the client or the proxy in front",
            )
        return problem_response(error, request_id)


def _headers_too_large() -> CremaError:
    return CremaError(
        "headers_too_large",
        f"a request line or header is over {MAX_LINE_BYTES} bytes or there are more than {MAX_HEADERS} headers; send less",
    )


def _broken_body() -> CremaError:
    return CremaError(
        "invalid_request",
        "the body's transfer encoding is broken, or it ended before its Content-Length; send it whole",
    )


def _is_framed_plainly(request: web.BaseRequest) -> bool:
    """Whether where the request ends is beyond doubt.

    A coding below `chunked` would reach a handler undecoded, and what follows a CONNECT is no HTTP.
    """
    coding = request.headers.get("Transfer-Encoding")
    return (coding is None or coding.strip().lower() == "chunked") and request.method != "CONNECT"


def health_routes(is_ready: Callable[[], tuple[bool, dict[str, Any]]]) -> list[Route]:
    """`/livez` and `/readyz`. `is_ready` gives the answer and further members of its body. Neither passes a gate."""

    async def livez(request: web.BaseRequest) -> web.StreamResponse:
        return json_response({"live": True})

    async def readyz(request: web.BaseRequest) -> web.StreamResponse:
        ready, more = is_ready()
        return json_response({"ready": ready, **more}, status=200 if ready else 503)

    return [Route("GET", "/livez", livez, OPEN), Route("GET", "/readyz", readyz, OPEN)]


def metrics_route(metrics: Metrics, refresh: Callable[[], None] = lambda: None) -> Route:
    """`/metrics`; `refresh` brings the gauges up to date first."""

    async def render(request: web.BaseRequest) -> web.StreamResponse:
        refresh()
        return web.Response(body=metrics.render(), headers={"Content-Type": CONTENT_TYPE})

    return Route("GET", "/metrics", render, "metrics")
