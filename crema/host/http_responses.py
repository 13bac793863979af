"""JSON answers and problem documents, as every tier's HTTP side sends them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from aiohttp import web

from crema.errors import CremaError, problem, retry_after_seconds

# instead of the library's own, which tells strangers its version
SERVER: Final = "crema"

_encode_json = msgspec.json.Encoder().encode


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


def refusal_of_connections() -> bytes:
    """What a connection over the cap is told, without a look at its request."""
    error = CremaError("not_ready", "too many connections are open here; come back in a second")
    body = _encode_json(problem(error, None))
    return (
        b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\nRetry-After: 1\r\n"
        b"Server: %b\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b"
        % (SERVER.encode(), len(body), body)
    )
