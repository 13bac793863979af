"""JSON answers and problem documents, as every tier's HTTP side sends them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from crema.errors import CremaError, problem, retry_after_seconds
from crema.host.http_answer import SERVER, Answer, answer

_encode_json = msgspec.json.Encoder().encode


def json_response(body: Any, status: int = 200) -> Answer:
    """`body` as JSON. Numbers must be finite: the encoder would write `null` for others."""
    return answer(_encode_json(body), "application/json", status)


def problem_response(error: CremaError, request_id: str, headers: Mapping[str, str] | None = None) -> Answer:
    """The problem document of an error, with `Retry-After` where the error says when to come back."""
    all_headers = dict(headers or {})
    if error.retry_after_ms is not None:
        all_headers["Retry-After"] = str(retry_after_seconds(error.retry_after_ms))
    return answer(
        _encode_json(problem(error, request_id)), "application/problem+json", error.status, all_headers
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
