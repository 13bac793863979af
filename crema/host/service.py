"""The HTTP shell of each tier: routes, limits, problem documents. It knows no tier and no model.

A fixed route table, HEAD and OPTIONS, a cap on connections, and one shape of error for everything, what is no HTTP included.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

import structlog

from crema.errors import CremaError
from crema.host.connection_limits import ConnectionLimits
from crema.host.http_answer import Answer
from crema.host.http_body import BrokenBody
from crema.host.http_connection import Connection
from crema.host.http_request import Request, request_id_of
from crema.host.http_responses import problem_response

CROWDED_KEEPALIVE_S: Final = 10.0
# What the kernel holds of answers to a caller who does not read (twice this, by its own count). Left to itself it
# takes 4 MB, so that some hundred such callers could have more written in a second than the loop has time for.
SEND_BUFFER_BYTES: Final = 128 * 1024
_SWEEP_EVERY_S: Final = 1.0
# How often a closing listener looks whether all is answered.
_LOOK_EVERY_S: Final = 0.01

Handler = Callable[[Request], Awaitable[Answer]]

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
        self._open: set[Connection] = set()
        self._sweep: asyncio.TimerHandle | None = None
        self._cancels_handlers = cancels_handlers
        self._exact: dict[str, dict[str, Handler]] = {}
        self._prefixed: dict[str, tuple[str, dict[str, Handler]]] = {}
        for route in routes:
            self._add(route)
        # uvloop's is not asyncio's, and has its sockets in a list
        self._listener: Any = None

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
        loop = asyncio.get_running_loop()
        if listening is not None:
            self._listener = await loop.create_server(self._accept, sock=listening, backlog=1024)
        else:
            self._listener = await loop.create_server(self._accept, host, port, backlog=1024)
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
        loop = asyncio.get_running_loop()
        until = loop.time() + timeout_s
        while True:
            for connection in list(self._open):
                if not connection.is_answering:
                    connection.close()
            # their ends are told in the loop's next turn
            await asyncio.sleep(0)
            if not self._open or loop.time() >= until:
                break
            await asyncio.sleep(_LOOK_EVERY_S)
        for connection in list(self._open):
            connection.abort()
        await asyncio.sleep(0)

    # -- connections -----------------------------------------------------------------------------------------------

    @property
    def connections(self) -> int:
        """How many are open."""
        return self._limits.count

    def _accept(self) -> Connection:
        return Connection(self, cancels_handlers=self._cancels_handlers)

    def admit_connection(self, connection: Connection, address: str | None) -> bool:
        """Count a connection in; False when there are too many, in all or from its address."""
        is_admitted = self._limits.admit(address)
        if is_admitted:
            self._open.add(connection)
        if self._sweep is None and self._limits.is_crowded:
            self._sweep = asyncio.get_running_loop().call_later(_SWEEP_EVERY_S, self._close_idle)
        return is_admitted

    def connection_ended(self, connection: Connection, address: str | None) -> None:
        """Count a connection out that was admitted."""
        self._open.discard(connection)
        self._limits.leave(address)

    def _close_idle(self) -> None:
        """While there is a crowd, whoever asks nothing for ten seconds makes room."""
        self._sweep = None
        if not self._limits.is_crowded:
            return
        loop = asyncio.get_running_loop()
        now = loop.time()
        for connection in list(self._open):
            if connection.idle_s(now) > CROWDED_KEEPALIVE_S:
                connection.close()
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
        path = request.path
        methods = self._exact.get(path)
        if methods is None:
            head, _, last = path.rpartition("/")
            prefixed = self._prefixed.get(head + "/")
            if prefixed is not None and last:
                _, methods = prefixed
                request.segment = last
        return methods

    async def respond(self, request: Request) -> Answer:
        """The answer to a request, whatever happens. Raises ConnectionError when its caller left."""
        try:
            methods = self._find(request)
            if methods is None:
                raise CremaError(
                    "not_found",
                    f"there is nothing at {request.path[:200]}; /openapi.json on the public listener lists what there is",
                )
            handler = methods.get(request.method)
            if handler is None:
                response = await self._other_method(request, methods)
            else:
                response = await handler(request)
        except CremaError as refused:
            response = problem_response(refused, request_id_of(request))
        except BrokenBody:
            response = problem_response(_broken_body(), request_id_of(request))
        except Exception as raised:
            if isinstance(raised, ConnectionError) and request.caller_left:
                raise
            request_id = request_id_of(request)
            log.exception("unexpected_error", request_id=request_id, path=request.path[:200])
            response = problem_response(
                CremaError("internal", "an unexpected error; it is logged under this request id"), request_id
            )
        if self.is_draining:
            response.is_last = True
        return response

    async def _other_method(self, request: Request, methods: dict[str, Handler]) -> Answer:
        """HEAD wherever GET is, OPTIONS everywhere, 405 for the rest."""
        allowed = sorted({*methods, "OPTIONS", *(("HEAD",) if "GET" in methods else ())})
        allow = ", ".join(allowed)
        if request.method == "HEAD" and "GET" in methods:
            return await methods["GET"](request)  # the connection leaves the body out and tells its length
        if request.method == "OPTIONS":
            return Answer(204, f"Allow: {allow}\r\n", b"")
        error = CremaError("method_not_allowed", f"{request.method} is not allowed here; use {allow}")
        return problem_response(error, request_id_of(request), {"Allow": allow})


def _broken_body() -> CremaError:
    return CremaError(
        "invalid_request",
        "the body's transfer encoding is broken, or it ended before its Content-Length; send it whole",
    )
