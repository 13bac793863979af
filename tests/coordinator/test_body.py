"""Bodies are bounded in size and time, and refused as early as that can be known."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from coordinator import body as body_module
from coordinator.body import MAX_BATCH_BYTES, MAX_ENVELOPE_BYTES
from crema.host.image_limits import MAX_IMAGE_BYTES
from tests.coordinator.conftest import Cluster
from tests.coordinator.stub_tiers import JPEG
from tests.coordinator.test_form import form, part

OVER = MAX_IMAGE_BYTES + 1


async def raw(
    cluster: Cluster, head: str, *chunks: bytes, pause_s: float = 0.0
) -> tuple[int, dict[str, str], Any]:
    """Send a request as it is written, read one answer → status, headers, body."""
    host, port = cluster.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        async with asyncio.timeout(10):
            writer.write(head.replace("\n", "\r\n").encode() + b"\r\n\r\n")
            for chunk in chunks:
                await asyncio.sleep(pause_s)
                writer.write(chunk)
            lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            while lines[0] == "HTTP/1.1 100 Continue":
                lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = {
                name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:] if line)
            }
            answer = await reader.readexactly(int(headers.get("content-length", "0")))
            return int(lines[0].split()[1]), headers, json.loads(answer) if answer else None
    finally:
        writer.close()


def post(length: int | None, *more: str, path: str = "/v1/analyze") -> str:
    size = ["Transfer-Encoding: chunked"] if length is None else [f"Content-Length: {length}"]
    return "\n".join([f"POST {path} HTTP/1.1", "Host: x", *size, *more])


def chunked(*pieces: bytes) -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


async def test_an_image_over_20_mib_is_refused_from_its_length_and_first_bytes(cluster: Cluster) -> None:
    started = time.monotonic()
    status, headers, problem = await raw(cluster, post(OVER), JPEG)
    assert headers["connection"] == "close"
    assert (status, problem["code"], problem["limit"]) == (413, "image_too_large", MAX_IMAGE_BYTES)
    assert time.monotonic() - started < 0.1


@pytest.mark.parametrize("declared", [MAX_ENVELOPE_BYTES + 1, 10 * 2**30])
@pytest.mark.parametrize(
    ("first", "code"),
    [
        (JPEG, "image_too_large"),
        (b'{"models": ["tags"], "image": {"base64": "/9j/4AAQ', "image_too_large"),
        (b'{"pad": "aaaaaaaaaaaaaaaaa', "body_too_large"),
        (b'{"image": {"base64": "/9j/"}, "pad": "aaaa', "body_too_large"),
        (
            form(part("models", b"tags"))[:-7]
            + b'--XyZ\r\nContent-Disposition: form-data; name="image"\r\n\r\n\xff\xd8\xff',
            "image_too_large",
        ),
        (b'--XyZ\r\nContent-Disposition: form-data; name="models"\r\n\r\naaaaaaaaa', "body_too_large"),
        (b"\x81\xa5image\x81\xa5bytes\xc6\x7f\xff\xff\xff\xff\xd8\xff", "image_too_large"),
        (b"\x81\xa3pad\xc6\x7f\xff\xff\xff", "body_too_large"),
        (b"nothing we take", "unsupported_media_type"),
        (b"", "body_too_large"),
    ],
    ids=lambda value: repr(value)[:30],
)
async def test_a_body_too_large_by_its_length_is_refused_at_once(
    cluster: Cluster, declared: int, first: bytes, code: str
) -> None:
    started = time.monotonic()
    status, _, problem = await raw(cluster, post(declared), first)
    assert (status, problem["code"]) == (415 if code == "unsupported_media_type" else 413, code)
    assert time.monotonic() - started < 0.2


async def test_a_body_without_a_length_is_counted_as_it_comes(cluster: Cluster) -> None:
    async def pieces(first: bytes, size: int) -> AsyncIterator[bytes]:
        yield first
        for _ in range(size // 2**20):
            yield bytes(2**20)

    _, problem = await cluster.post(pieces(JPEG, OVER))
    assert problem["code"] == "image_too_large"
    _, problem = await cluster.post(pieces(b'{"pad": "', MAX_ENVELOPE_BYTES + 2**20))
    assert problem["code"] == "body_too_large"
    assert cluster.app.gate.bytes == 0


async def test_exactly_20_mib_are_taken(cluster: Cluster) -> None:
    image = JPEG + bytes(MAX_IMAGE_BYTES - len(JPEG))
    response, _ = await cluster.post(image, "models=tags")
    assert response.status == 200
    text = json.dumps({"image": {"base64": base64.b64encode(image).decode()}, "models": ["tags"]}).encode()
    response, _ = await cluster.post(text)
    assert response.status == 200
    assert [len(payload) for _, payload in cluster.preprocessor.requests] == [MAX_IMAGE_BYTES] * 2


async def test_a_batch_may_have_64_mib_in_all(cluster: Cluster) -> None:
    status, _, problem = await raw(
        cluster, post(MAX_BATCH_BYTES + 1, path="/v1/analyze/batch"), b'{"images": [{"base64": "'
    )
    assert (status, problem["code"], problem["limit"]) == (413, "body_too_large", MAX_BATCH_BYTES)


async def test_a_client_that_expects_100_continue_is_told_to_go_on(cluster: Cluster) -> None:
    host, port = cluster.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write((post(len(JPEG), "Expect: 100-continue").replace("\n", "\r\n") + "\r\n\r\n").encode())
    async with asyncio.timeout(5):
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(JPEG)
        assert (await reader.readuntil(b"\r\n")) == b"HTTP/1.1 200 OK\r\n"
    writer.close()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same rules with shorter times."""
    monkeypatch.setattr(body_module, "RATE_GRACE_S", 0.15)
    monkeypatch.setattr(body_module, "BODY_TIMEOUT_S", 0.4)


@pytest.mark.parametrize(("chunks", "pause_s"), [([], 0.0), ([b"\xff"] * 8, 0.05), ([JPEG[:100]], 0.01)])
@pytest.mark.usefixtures("quick")
async def test_an_upload_below_the_rate_is_too_slow(
    cluster: Cluster, chunks: list[bytes], pause_s: float
) -> None:
    started = time.monotonic()
    status, headers, problem = await raw(cluster, post(100_000), *chunks, pause_s=pause_s)
    assert (status, problem["code"]) == (408, "upload_too_slow")
    assert time.monotonic() - started < 0.5
    assert headers["content-type"] == "application/problem+json"


async def test_an_upload_that_stands_still_is_too_slow_however_much_came_before(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(body_module, "STALL_S", 0.2)
    started = time.monotonic()
    status, _, problem = await raw(cluster, post(10_000_000), JPEG + bytes(5_000_000))
    assert (status, problem["code"]) == (408, "upload_too_slow")
    assert time.monotonic() - started < 2
    assert cluster.app.gate.bytes == 0


@pytest.mark.usefixtures("quick")
async def test_an_upload_above_the_rate_still_ends_in_time(cluster: Cluster) -> None:
    status, _, problem = await raw(cluster, post(100_000), *[JPEG * 4] * 12, pause_s=0.04)
    assert (status, problem["code"]) == (408, "upload_too_slow")


async def test_an_image_that_comes_in_pieces_arrives_whole(cluster: Cluster) -> None:
    pieces = [JPEG, *(bytes([n]) * 1000 for n in range(5))]
    photo = b"".join(pieces)
    status, _, answer = await raw(cluster, post(len(photo)), *pieces, pause_s=0.01)
    assert (status, answer["image"]["bytes"]) == (200, len(photo))
    assert cluster.preprocessor.requests[0][1] == photo


async def test_first_bytes_may_come_one_by_one(cluster: Cluster) -> None:
    body = (
        b"\xef\xbb\xbf  "
        + json.dumps({"image": {"base64": base64.b64encode(JPEG).decode()}, "models": ["tags"]}).encode()
    )
    pieces = [body[n : n + 1] for n in range(12)] + [body[12:]]
    status, _, answer = await raw(cluster, post(len(body)), *pieces, pause_s=0.002)
    assert (status, list(answer["results"])) == (200, ["tags"])
    status, _, answer = await raw(cluster, post(None), chunked(*pieces))
    assert (status, list(answer["results"])) == (200, ["tags"])


async def test_white_space_without_end_is_no_json(cluster: Cluster) -> None:
    response, problem = await cluster.post(b" " * (body_module.MAX_SPACE_BYTES + 10) + b"{}")
    assert (response.status, problem["code"]) == (415, "unsupported_media_type")


@pytest.mark.parametrize("data", [b"zz\r\n", b"5\r\nhello-no-end", b"-1\r\n\r\n"])
async def test_a_broken_transfer_encoding_is_an_invalid_request(cluster: Cluster, data: bytes) -> None:
    status, _, problem = await raw(cluster, post(None), data)
    assert (status, problem["code"]) == (400, "invalid_request")


async def test_an_empty_body_is_an_invalid_request_with_and_without_a_length(cluster: Cluster) -> None:
    for head, *rest in ((post(0),), ("POST /v1/analyze HTTP/1.1\nHost: x",), (post(None), chunked())):
        status, _, problem = await raw(cluster, head, *rest)
        assert (status, problem["code"]) == (400, "invalid_request")


async def test_a_caller_who_leaves_during_the_upload_leaves_nothing_behind(cluster: Cluster) -> None:
    host, port = cluster.url.removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    writer.write((post(100_000).replace("\n", "\r\n") + "\r\n\r\n").encode() + JPEG)
    async with asyncio.timeout(5):
        while not cluster.app.gate.bytes:
            await asyncio.sleep(0.005)
        writer.close()
        while cluster.app.gate.bytes:
            await asyncio.sleep(0.005)
    assert cluster.app.gate.requests == 0


# -- what is known at the headers ----------------------------------------------------------------------------------


async def first_answer(cluster: Cluster, head: str) -> tuple[int, str]:
    """The status of the first thing that comes back for headers alone, and the code of the problem that it is."""
    host, port = cluster.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(head.replace("\n", "\r\n").encode() + b"\r\n\r\n")
    try:
        async with asyncio.timeout(5):
            lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            [length] = [line.partition(": ")[2] for line in lines if line.startswith("Content-Length")] or [
                "0"
            ]
            problem = await reader.readexactly(int(length))
            return int(lines[0].split()[1]), json.loads(problem)["code"] if problem else ""
    finally:
        writer.close()


@pytest.mark.parametrize(
    ("path", "more", "status", "code"),
    [
        ("/v1/analyze", [], 413, "body_too_large"),
        ("/v1/analyze?lane=x", ["Content-Length: 10"], 400, "invalid_request"),
        ("/v1/analyze?models=nosuch", ["Content-Length: 10"], 404, "unknown_model"),
        (
            "/v1/analyze",
            ["Content-Length: 10", "Content-Encoding: gzip"],
            415,
            "unsupported_media_type",
        ),
    ],
)
async def test_a_client_that_waits_for_100_continue_is_refused_without_it(
    cluster: Cluster, path: str, more: list[str], status: int, code: str
) -> None:
    size = [] if more else [f"Content-Length: {MAX_ENVELOPE_BYTES + 1}"]
    head = "\n".join([f"POST {path} HTTP/1.1", "Host: x", "Expect: 100-continue", *size, *more])
    assert await first_answer(cluster, head) == (status, code)


async def test_a_full_gate_refuses_before_100_continue(cluster: Cluster) -> None:
    head = post(1000, "Expect: 100-continue")
    gate = cluster.app.gate
    gate.requests = gate.max_requests
    assert await first_answer(cluster, head) == (429, "overloaded")
    gate.requests = 0
    gate.bytes = gate.max_bytes
    assert await first_answer(cluster, head) == (429, "overloaded")
    gate.bytes = 0


async def test_http_1_0_gets_no_100_continue(cluster: Cluster) -> None:
    head = post(len(JPEG), "Expect: 100-continue").replace("HTTP/1.1", "HTTP/1.0")
    host, port = cluster.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(head.replace("\n", "\r\n").encode() + b"\r\n\r\n")
    await asyncio.sleep(0.02)
    writer.write(JPEG)
    async with asyncio.timeout(5):
        assert (await reader.readuntil(b"\r\n")).split()[1] == b"200"
    writer.close()


async def test_a_deadline_in_the_query_ends_the_upload_when_it_passes(cluster: Cluster) -> None:
    for path in ("/v1/analyze", "/v1/analyze/batch"):
        started = time.monotonic()
        status, headers, problem = await raw(
            cluster, post(100_000, path=f"{path}?deadline_ms=80"), *[JPEG] * 5, pause_s=0.002
        )
        assert (status, problem["code"]) == (504, "deadline_exceeded")
        assert 0.07 < time.monotonic() - started < 1
        assert headers["connection"] == "close"
    assert cluster.app.gate.bytes == 0


@pytest.mark.usefixtures("quick")
async def test_an_upload_that_is_too_slow_before_its_deadline_is_a_408(cluster: Cluster) -> None:
    status, _, problem = await raw(cluster, post(100_000, path="/v1/analyze?deadline_ms=2000"), JPEG[:50])
    assert (status, problem["code"]) == (408, "upload_too_slow")


@pytest.mark.usefixtures("quick")
async def test_a_deadline_still_counts_after_the_first_grace(cluster: Cluster) -> None:
    pieces = [JPEG * 4] * 12
    head = post(100_000, path="/v1/analyze?deadline_ms=250")
    status, _, problem = await raw(cluster, head, *pieces, pause_s=0.02)
    assert (status, problem["code"]) == (504, "deadline_exceeded")


@pytest.mark.parametrize("coding", ["", " ", "identity", "Identity"])
async def test_a_content_encoding_of_nothing_is_none(cluster: Cluster, coding: str) -> None:
    head = post(len(JPEG), f"Content-Encoding: {coding}", path="/v1/analyze?models=tags")
    status, _, _ = await raw(cluster, head, JPEG)
    assert status == 200


async def test_a_content_encoding_behind_one_of_nothing_is_seen(cluster: Cluster) -> None:
    head = post(
        len(JPEG), "Content-Encoding: identity", "Content-Encoding: gzip", path="/v1/analyze?models=tags"
    )
    status, _, problem = await raw(cluster, head, JPEG)
    assert (status, problem["code"]) == (415, "unsupported_media_type")


@pytest.mark.parametrize("broken", [b"zz\r\nabc\r\n0\r\n\r\n", b"2\r\nabcdef\r\n0\r\n\r\n"])
async def test_chunks_that_break_off_later_are_told_at_once(cluster: Cluster, broken: bytes) -> None:
    head = post(None, path="/v1/analyze?models=tags")
    started = time.monotonic()
    status, headers, problem = await raw(cluster, head, b"4\r\n\xff\xd8\xff\xe0\r\n", broken, pause_s=0.05)
    assert (status, problem["code"], headers["connection"]) == (400, "invalid_request", "close")
    assert time.monotonic() - started < 2
