"""Every error of the table, provoked over real HTTP: its status, its document as described, and the next step in it."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest

from coordinator import body
from coordinator.api_v1 import STICKY
from crema.errors import CODES
from tests.coordinator.conftest import PROMOTED, Cluster
from tests.coordinator.stub_tiers import JPEG, error, ok
from tests.coordinator.test_description import validator

TEXT = base64.b64encode(JPEG).decode()
# These are provoked where they come from: keys and URLs have their own tests.
ELSEWHERE = {"unauthenticated", "forbidden", "url_fetch_failed"}

Setup = Callable[[Cluster], None]


@dataclass
class Answer:
    """What came over the socket."""

    status: int
    headers: dict[str, str]
    problem: dict[str, Any]


async def raw(cluster: Cluster, request: bytes) -> Answer:
    """Bytes out, one problem document in."""
    host, port = cluster.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(request)
        async with asyncio.timeout(10):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            lines = head.split("\r\n")
            headers = {name.lower(): value for name, _, value in (each.partition(": ") for each in lines[1:])}
            document = json.loads(await reader.readexactly(int(headers["content-length"])))
        return Answer(int(lines[0].split()[1]), headers, document)
    finally:
        writer.close()


def post(content: bytes, query: str = "", path: str = "/v1/analyze") -> bytes:
    return (
        f"POST {path}{query} HTTP/1.1\r\nHost: x\r\n{STICKY}: {PROMOTED}\r\nContent-Length: {len(content)}\r\n\r\n".encode()
        + content
    )


def as_json(**members: Any) -> bytes:
    return post(json.dumps(members).encode())


def nothing(cluster: Cluster) -> None:
    pass


def preparing(status: int, code: str, message: str) -> Setup:
    def setup(cluster: Cluster) -> None:
        cluster.preprocessor.behaviour = lambda header, payload: error(status, code, message)

    return setup


def failing(code: str, message: str) -> Setup:
    """The model's word for the one image."""

    def setup(cluster: Cluster) -> None:
        failed = {"code": code, "message": message, "retryable": False}
        cluster.tags.behaviour = lambda header, payload: ok(None) | {"outcomes": [{"error": failed}]}

    return setup


def full(cluster: Cluster) -> None:
    cluster.tags.behaviour = lambda header, payload: error(
        429, "overloaded", "64 of 64 places taken", retry_after_ms=800
    )


def infinite(cluster: Cluster) -> None:
    cluster.tags.behaviour = lambda header, payload: ok({"tags": [{"name": "x", "confidence": float("inf")}]})


def silent(cluster: Cluster) -> None:
    cluster.tags.behaviour = lambda header, payload: None


def nonsense(cluster: Cluster) -> None:
    cluster.preprocessor.behaviour = lambda header, payload: {"status": 200}


def hurried(cluster: Cluster) -> None:
    body.RATE_GRACE_S = 0.1  # type: ignore[misc]


LARGE = f"POST /v1/analyze HTTP/1.1\r\nHost: x\r\nContent-Length: {40 << 20}\r\n\r\n".encode()

# code → what is sent, what the tiers do, and what of the next step `detail` names
CASES: dict[str, tuple[bytes, Setup, str]] = {
    "invalid_json": (post(b'{"image": }'), nothing, "line 1, column 11"),
    "invalid_request": (as_json(image={"base64": TEXT}, deadline=1), nothing, "did you mean deadline_ms?"),
    "unknown_model": (post(JPEG, "?models=tgas"), nothing, "did you mean tags?"),
    "unknown_version": (post(JPEG, "?models=tags@9.9"), nothing, "did you mean tags@2.9?"),
    "not_found": (b"GET /v1/analyse HTTP/1.1\r\nHost: x\r\n\r\n", nothing, "/openapi.json"),
    "method_not_allowed": (b"GET /v1/analyze HTTP/1.1\r\nHost: x\r\n\r\n", nothing, "use OPTIONS, POST"),
    "upload_too_slow": (
        b"POST /v1/analyze HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n" + JPEG[:9],
        hurried,
        "send a smaller image",
    ),
    "image_too_large": (LARGE + JPEG, nothing, "send it smaller"),
    "body_too_large": (LARGE + b'{"lane": "', nothing, "send fewer or smaller"),
    "unsupported_media_type": (
        post(b"\0\0\0\x18ftypheic" + b"\0" * 60),
        nothing,
        "convert the photo first",
    ),
    "undecodable_image": (
        post(JPEG),
        preparing(422, "undecodable_image", "the image is cut off; send the whole file"),
        "send the whole file",
    ),
    "decode_timeout": (
        post(JPEG),
        preparing(422, "decode_timeout", "it takes too long; re-encode it as a baseline JPEG"),
        "re-encode it",
    ),
    "item_rejected": (
        post(JPEG, "?models=tags"),
        failing("item_rejected", "too dark; send a brighter one"),
        "brighter",
    ),
    "item_quarantined": (
        post(JPEG, "?models=tags"),
        failing("item_quarantined", "in flight in two crashes; do not send it again"),
        "do not send it again",
    ),
    "url_fetch_disabled": (as_json(image={"url": "https://a.example/"}), nothing, "send the image itself"),
    "overloaded": (post(JPEG, "?models=tags"), full, "come back in 800 ms"),
    "headers_too_large": (
        b"GET /v1/models HTTP/1.1\r\nHost: x\r\nX-A: " + b"a" * 9000 + b"\r\n\r\n",
        nothing,
        "send less",
    ),
    "internal": (post(JPEG), nonsense, "logged under this request id"),
    "model_failed": (
        post(JPEG, "?models=tags"),
        failing("model_failed", "the model raised; its traceback is in the minion's log"),
        "log",
    ),
    "model_output_invalid": (post(JPEG, "?models=tags"), infinite, "report it to the model's owner"),
    "not_ready": (post(JPEG, "?models=tags@2.9"), nothing, "GET /v1/models"),
    "deadline_exceeded": (
        post(JPEG, "?models=tags&deadline_ms=50"),
        silent,
        "allow more with deadline_ms",
    ),
}


def test_every_code_of_the_table_has_its_case() -> None:
    assert set(CASES) | ELSEWHERE == set(CODES)


@pytest.mark.parametrize("code", CASES)
async def test_an_error_says_what_to_do_next(
    cluster: Cluster, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(body, "RATE_GRACE_S", body.RATE_GRACE_S)  # put back what a case changes
    request, setup, next_step = CASES[code]
    setup(cluster)
    answer = await raw(cluster, request)
    problem = answer.problem
    assert (answer.status, problem["status"], problem["code"]) == (CODES[code].status,) * 2 + (code,)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-request-id"] == problem["request_id"]
    validator("Problem").validate(problem)
    assert next_step in problem["detail"]
    if code in ("overloaded", "not_ready"):
        assert int(answer.headers["retry-after"]) * 1000 >= problem["retry_after_ms"] > 0
    else:
        assert "retry-after" not in answer.headers
    if code in ("unknown_model", "unknown_version"):
        assert {type(problem["did_you_mean"]), type(problem["available"])} == {list}
    if code in ("image_too_large", "body_too_large"):
        assert problem["limit"] > 0
    if code == "method_not_allowed":
        assert answer.headers["allow"] == "OPTIONS, POST"


async def test_a_handler_that_raises_tells_nothing_of_its_inside(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: object) -> Awaitable[None]:
        raise RuntimeError("/secret/path in module coordinator.api_v1 9.9")

    monkeypatch.setattr(cluster.app.api, "_read", broken)
    for path in ("/v1/analyze", "/v1/analyze/batch"):
        answer = await raw(cluster, post(JPEG, path=path))
        assert (answer.status, answer.problem["code"]) == (500, "internal")
        assert not any(
            word in json.dumps(answer.problem) for word in ("secret", "coordinator.", "Runtime", "9.9")
        )
