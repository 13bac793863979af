"""The HTTP shell of each tier: routes, limits, problem documents. It knows no tier and no model.

aiohttp's low-level server does the protocol. Around it stand what that library leaves open: a deadline for request
headers and one for callers who do not read, a cap on connections, HEAD and OPTIONS, and one shape of error for
everything, the library's own refusals included.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, cast

import structlog
from aiohttp import web
from aiohttp.http import HttpVersion10
from aiohttp.http_exceptions import LineTooLong, PayloadEncodingError
from aiohttp.web_protocol import RequestPayloadError

from crema.errors import CremaError
from crema.host.connection_limits import ConnectionLimits
from crema.host.http_connection import KEEPALIVE_S, Connection
from crema.host.http_request import Request, request_id_of
from crema.host.http_responses import SERVER, problem_response
from crema.host.whole_answer import WholeAnswer

# without its line end; of a header's line the name and the value are bounded alone, too, by the parser
MAX_LINE_BYTES: Final = 8190
MAX_HEADERS: Final = 64
CROWDED_KEEPALIVE_S: Final = 10.0
# How long the rest of a body that was refused is read and thrown away, so that its sender gets to see why.
LINGER_S: Final = 2.0
SLOW_LINGER_S: Final = 0.5
# What the kernel holds of answers to a caller who does not read (twice this, by its own count). Left to itself it
# takes 4 MB, so that some hundred such callers could have more written in a second than the loop has time for.
SEND_BUFFER_BYTES: Final = 128 * 1024
_SWEEP_EVERY_S: Final = 1.0

Handler = Callable[[Request], Awaitable[web.StreamResponse]]

OPEN: Final = "open"
"""The scope of a route that asks for no key."""
UNDECLARED: Final = "undeclared"
"""The scope of a route that says nothing: where keys are in force, none opens it."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Route:
    """`method path → handler`. A path may end in `/{name}`: the last segment is then `request.segment`.

    `scope` is what an API key must allow where the tier asks for keys.
    """

    method: str
    path: str
    handler: Handler
    scope: str = UNDECLARED


class _Server(web.Server):
    def __init__(self, service: Service, handler: Handler, **kwargs: Any) -> None:
        loop = asyncio.get_running_loop()
        super().__init__(
            handler,  # type: ignore[arg-type]
            request_factory=lambda message, payload, protocol, writer, task: Request(
                message, payload, protocol, writer, task, loop
            ),
            **kwargs,
        )
        self._service = service

    def __call__(self) -> web.RequestHandler:
        return Connection(self._service, self, loop=self._loop, **self._kwargs)


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
            if isinstance(connection, Connection) and connection.idle_s(now) > CROWDED_KEEPALIVE_S:
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

    def _find(self, request: Request) -> dict[str, Handler] | None:
        path = request.rel_url.raw_path
        methods = self._exact.get(path)
        if methods is None:
            head, _, last = path.rpartition("/")
            prefixed = self._prefixed.get(head + "/")
            if prefixed is not None and last:
                _, methods = prefixed
                request.segment = last
        return methods

    async def _dispatch(self, request: Request) -> web.StreamResponse:
        is_last = not _is_framed_plainly(request)
        try:
            if is_last:
                raise CremaError(
                    "invalid_request",
                    "this way to frame a request is not taken; speak HTTP/1.1 and send Content-Length or Transfer-Encoding: chunked alone",
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
            cast(Connection, request.protocol).body_is_unwanted()
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

    async def _other_method(self, request: Request, methods: dict[str, Handler]) -> web.StreamResponse:
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

    def library_error(self, request: Request, status: int, exc: BaseException | None) -> web.Response:
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


def _is_framed_plainly(request: Request) -> bool:
    """Whether where the request ends is beyond doubt.

    A coding below `chunked` would reach a handler undecoded, and what follows a CONNECT is no HTTP. Before 1.0 there were
    neither headers nor status lines: whoever names such a version, or none, is told so in the oldest that has them.
    """
    if request._version < HttpVersion10:
        request._version = HttpVersion10
        return False
    coding = request.headers.get("Transfer-Encoding")
    return (coding is None or coding.strip().lower() == "chunked") and request.method != "CONNECT"
