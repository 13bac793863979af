"""A real minion, through `POST /v1/infer`: the same answers in JSON and msgpack, with real status codes."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import aiohttp
import msgpack
import pytest

from tests.cluster.running_minion import MinionProcess, RunningMinion, connected, eventually, running_minion

PIXELS = bytes([7]) + bytes(127)
DATA = base64.b64encode(PIXELS).decode()
ITEM = {"shape": [128], "dtype": "uint8", "data": DATA}


@pytest.fixture(scope="module")
def echo_process() -> Iterator[MinionProcess]:
    """One echo minion for all tests that leave it as it was."""
    started = MinionProcess("echo")
    yield started
    started.end()


@pytest.fixture
async def echo(echo_process: MinionProcess) -> AsyncIterator[RunningMinion]:
    async with connected(echo_process) as minion:
        yield minion


async def post(minion: RunningMinion, body: Any, **headers: str) -> tuple[int, Any, aiohttp.ClientResponse]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    async with minion.http.post("/v1/infer", data=data, headers=headers) as answer:
        raw = await answer.read()
        read = msgpack.unpackb if answer.content_type == "application/msgpack" else json.loads
        return answer.status, read(raw), answer


async def test_json_is_answered_in_json_and_msgpack_in_msgpack(echo: RunningMinion) -> None:
    status, body, answer = await post(echo, {"items": [ITEM, ITEM]})
    assert (status, answer.content_type) == (200, "application/json")
    assert body["outcomes"] == [{"ok": 7}, {"ok": 7}]
    packed = msgpack.packb({"items": [{"shape": [128], "dtype": "uint8", "data": PIXELS, "params": {}}]})
    status, other, answer = await post(echo, packed)
    assert (status, answer.content_type) == (200, "application/msgpack")
    assert other["outcomes"] == [{"ok": 7}]
    assert body.keys() == other.keys() == {"status", "model", "version", "outcomes", "timing", "load"}


async def test_a_body_that_begins_as_msgpack_is_refused_in_msgpack(echo: RunningMinion) -> None:
    packed = msgpack.packb({"items": []})
    for body in (packed[:-1] + b"\xc1", packed + b"x", packed[:3]):
        status, answered, answer = await post(echo, body)
        assert (status, answer.content_type) == (400, "application/msgpack")
        assert answered["error"]["code"] == "invalid_request"


async def test_who_waits_to_send_its_body_is_told_to(echo: RunningMinion) -> None:
    body = json.dumps({"items": [ITEM]}).encode()
    async with asyncio.timeout(5):
        async with echo.http.post("/v1/infer", data=body, expect100=True) as answer:
            assert (answer.status, (await answer.json())["outcomes"]) == (200, [{"ok": 7}])


async def test_an_item_s_error_is_an_outcome_and_the_status_stays_200() -> None:
    async with running_minion("failing") as minion:
        rejected = {**ITEM, "data": base64.b64encode(bytes([254]) + bytes(127)).decode()}
        status, body, _ = await post(minion, {"items": [ITEM, rejected]})
        assert status == 200
        assert body["outcomes"][0] == {"ok": 7}
        assert body["outcomes"][1]["error"]["code"] == "item_rejected"


@pytest.mark.parametrize(
    ("body", "status", "code", "words"),
    [
        (b"", 400, "invalid_request", "the body is empty"),
        (b"hello", 415, "unsupported_media_type", "neither a JSON object nor a msgpack map"),
        (b"{", 400, "invalid_json", "not valid JSON"),
        (b'{"items": [], "items": []}', 400, "invalid_json", "named twice"),
        (b'{"items": [], "remaining_ms": NaN}', 400, "invalid_json", "NaN"),
        ({"items": []}, 400, "invalid_request", "at least one item"),
        ({"items": [ITEM], "colour": 1}, 400, "invalid_request", "'colour' is unknown"),
        ({"items": [{**ITEM, "colour": 1}]}, 400, "invalid_request", "items[0].'colour' is unknown"),
        ({"items": [{**ITEM, "data": "!!"}]}, 400, "invalid_request", "items[0].data is not base64"),
        ({"items": [{**ITEM, "data": 5}]}, 400, "invalid_request", "must be a base64 string"),
        ({"items": [{**ITEM, "data": "AAAA"}]}, 400, "invalid_request", "has 3 bytes; uint8 [128] has 128"),
        ({"items": [{**ITEM, "shape": [1]}]}, 400, "invalid_request", "this model takes uint8 [128]"),
        ({"items": [{**ITEM, "params": {"\ud800": 1}}]}, 400, "invalid_request", "no such parameter"),
        ({"items": [ITEM] * 129}, 400, "invalid_request", "more than this model's 128 places"),
        ({"items": [ITEM], "remaining_ms": 0}, 504, "deadline_exceeded", "no time was left"),
    ],
)
async def test_a_refusal_is_status_and_error(
    echo: RunningMinion, body: Any, status: int, code: str, words: str
) -> None:
    got, answer, _ = await post(echo, body)
    assert got == answer["status"] == status
    assert answer.keys() == {"status", "error"}
    assert answer["error"]["code"] == code
    assert words in answer["error"]["message"]


async def test_a_body_over_the_limit_is_refused_from_its_header_alone(echo: RunningMinion) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", echo.ports["http"])
    writer.write(b"POST /v1/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 10000000000\r\n\r\n")
    async with asyncio.timeout(10):
        head = await reader.readuntil(b"\r\n")
    assert head.startswith(b"HTTP/1.1 413")
    writer.close()


async def test_a_compressed_body_is_refused(echo: RunningMinion) -> None:
    status, body, _ = await post(echo, b"x", **{"Content-Encoding": "gzip"})
    assert (status, body["error"]["code"]) == (415, "unsupported_media_type")


async def test_other_methods_and_paths_are_problems(echo: RunningMinion) -> None:
    async with echo.http.get("/v1/infer") as answer:
        assert answer.status == 405
        assert answer.headers["Allow"] == "OPTIONS, POST"
    async with echo.http.get("/v2/infer") as answer:
        assert answer.status == 404
        assert answer.content_type == "application/problem+json"


async def test_a_page_whose_own_name_leads_here_is_not_answered(echo: RunningMinion) -> None:
    status, body, _ = await post(echo, {"items": [ITEM]}, Host="evil.example:7001")
    assert (status, body["code"]) == (403, "forbidden")
    async with echo.http.get("/metrics", headers={"Host": "evil.example"}) as answer:
        assert answer.status == 403


async def test_a_full_minion_refuses_at_the_door_with_retry_after() -> None:
    async with running_minion("sleepy") as minion:
        slow = asyncio.ensure_future(minion.infer(255))
        await minion.until("busy")
        waiting = asyncio.ensure_future(minion.infer(*[1] * 31))
        await eventually(lambda: is_full(minion))
        # refused at the headers: the body, which is not even a request, is never looked at
        status, body, answer = await post(minion, b"not a request")
        assert status == 429
        assert body["error"]["code"] == "overloaded"
        assert int(answer.headers["Retry-After"]) >= 1
        # health and metrics never pass the gate
        assert (await minion.readiness())[0] == 200
        async with minion.http.get("/livez") as answer:
            assert await answer.json() == {"live": True}
        await asyncio.gather(slow, waiting)


async def is_full(minion: RunningMinion) -> bool:
    return await minion.metric("crema_pending") == 32


async def test_a_client_that_leaves_frees_its_places() -> None:
    async with running_minion("sleepy") as minion:
        slow = asyncio.ensure_future(minion.infer(255))
        await minion.until("busy")
        leaving = asyncio.ensure_future(post(minion, {"items": [ITEM] * 5}))

        async def pending(places: int) -> bool:
            return await minion.metric("crema_pending") == places

        await eventually(lambda: pending(6))
        leaving.cancel()
        await eventually(lambda: pending(1))
        await slow
        assert await minion.metric("crema_batch_size_sum") == 1


async def test_metrics_are_prometheus_text(echo: RunningMinion) -> None:
    async with echo.http.get("/metrics") as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        text = await answer.text()
    assert 'crema_ready{model="echo",tier="minion",version="1.0"} 1.0' in text
