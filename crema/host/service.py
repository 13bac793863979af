"""The HTTP shell of each tier: routes, limits, health, problem documents. It knows no tier and no model.

aiohttp's low-level server does the protocol. Around it stand what that library leaves open: a deadline for request
headers, a cap on connections, HEAD and OPTIONS, and one shape of error for everything, the library's own refusals
included.
"""

from __future__ import annotations

import asyncio
import random
import re
import resource
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import structlog
from aiohttp import web
from aiohttp.http_exceptions import LineTooLong

from crema.errors import CremaError, problem, retry_after_seconds
from crema.host.metrics import CONTENT_TYPE, Metrics
from crema.host.whole_answer import WholeAnswer

MAX_LINE_BYTES: Final = 8190
MAX_HEADERS: Final = 64
HEADER_TIMEOUT_S: Final = 10.0
KEEPALIVE_S: Final = 75.0
SPARE_DESCRIPTORS: Final = 64
# instead of the library's own, which tells strangers its version
SERVER: Final = "crema"

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

SEGMENT: Final = web.RequestKey("segment", str)
"""The last segment of a path that matched a route ending in `/{name}`, still quoted."""
_REQUEST_ID: Final = web.RequestKey("request_id", str)
_VALID_REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}\Z")
_encode_json = msgspec.json.Encoder().encode

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Route:
    """`method path → handler`. A path may end in `/{name}`: the last segment is then `request[SEGMENT]`."""

    method: str
    path: str
    handler: Handler


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


def max_connections() -> int:
    """Half of the descriptors this process may open, the other half being for what answers the callers."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(16, min(soft // 2, soft - SPARE_DESCRIPTORS))


class _Connection(web.RequestHandler):
    """One HTTP connection: aiohttp's, plus a deadline for headers, a connection cap and our error documents."""

    __slots__ = ("_header_timer", "_service")

    def __init__(self, service: Service, server: _Server, **kwargs: Any) -> None:
        super().__init__(server, **kwargs)
        self._service = service
        self._header_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if not self._service.admit_connection():
            self.force_close()
            return
        self._header_timer = self._loop.call_later(HEADER_TIMEOUT_S, self._headers_too_slow)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._service.connection_ended()
        self._stop_header_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        before = self._request_count
        super().data_received(data)
        if self._request_count != before:
            self._stop_header_timer()
        elif self._header_timer is None and self._current_request is None and not self._messages and data:
            # bytes between two requests that are not yet a request: the next one's headers have begun
            self._header_timer = self._loop.call_later(HEADER_TIMEOUT_S, self._headers_too_slow)

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

    With `cancels_handlers`, a client that leaves cancels its handler. `connection_cap` of None is taken from the
    descriptor limit.
    """

    def __init__(
        self, routes: Sequence[Route], *, cancels_handlers: bool = False, connection_cap: int | None = None
    ) -> None:
        self.is_draining = False
        self._cap = max_connections() if connection_cap is None else connection_cap
        self._connections = 0
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
            lingering_time=2.0,
        )
        loop = asyncio.get_running_loop()
        if listening is not None:
            self._listener = await loop.create_server(self._server, sock=listening, backlog=1024)
        else:
            self._listener = await loop.create_server(self._server, host, port, backlog=1024)
        return int(self._listener.sockets[0].getsockname()[1])

    def stop_listening(self) -> None:
        """Take no new connections."""
        if self._listener is not None:
            self._listener.close()

    async def close(self, timeout_s: float = 25.0) -> None:
        """Take no new connections, let requests in flight finish within `timeout_s`, then close everything."""
        self.is_draining = True
        self.stop_listening()
        if self._server is not None:
            self._server.pre_shutdown()
            await self._server.shutdown(timeout_s)

    # -- connections -----------------------------------------------------------------------------------------------

    def admit_connection(self) -> bool:
        """Count a connection in; False when there are too many."""
        self._connections += 1
        return self._connections <= self._cap

    def connection_ended(self) -> None:
        """Count a connection out."""
        self._connections -= 1

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
        try:
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
        except (asyncio.CancelledError, ConnectionError):
            raise
        except Exception:
            request_id = request_id_of(request)
            log.exception("unexpected_error", request_id=request_id, path=request.rel_url.raw_path[:200])
            response = problem_response(
                CremaError("internal", "an unexpected error; it is logged under this request id"), request_id
            )
        if self.is_draining:
            response.force_close()
        if type(response) is WholeAnswer:
            return response
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
            error = CremaError(
                "headers_too_large",
                f"a request line or header is over {MAX_LINE_BYTES} bytes or there are more than {MAX_HEADERS} headers; send less",
            )
        else:
            error = CremaError(
                "invalid_request",
                "this is not a well-formed HTTP request; check the client or the proxy in front",
            )
        return problem_response(error, request_id)


def health_routes(is_ready: Callable[[], tuple[bool, dict[str, Any]]]) -> list[Route]:
    """`/livez` and `/readyz`. `is_ready` gives the answer and further members of its body. Neither passes a gate."""

    async def livez(request: web.BaseRequest) -> web.StreamResponse:
        return json_response({"live": True})

    async def readyz(request: web.BaseRequest) -> web.StreamResponse:
        ready, more = is_ready()
        return json_response({"ready": ready, **more}, status=200 if ready else 503)

    return [Route("GET", "/livez", livez), Route("GET", "/readyz", readyz)]


def metrics_route(metrics: Metrics, refresh: Callable[[], None] = lambda: None) -> Route:
    """`/metrics`; `refresh` brings the gauges up to date first."""

    async def render(request: web.BaseRequest) -> web.StreamResponse:
        refresh()
        return web.Response(body=metrics.render(), headers={"Content-Type": CONTENT_TYPE})

    return Route("GET", "/metrics", render)
