"""A batch is 200 once it parses; every image has an item of its own."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import msgpack
import pytest

from coordinator.api_v1 import BATCH_WIDTH
from crema.host.image_limits import MAX_IMAGE_BYTES
from tests.coordinator.conftest import TAGS, Cluster
from tests.coordinator.stub_tiers import JPEG, error
from tests.coordinator.test_form import form, part

PATH = "/v1/analyze/batch"
TEXT = base64.b64encode(JPEG).decode()


def as_json(*images: Any, **options: Any) -> bytes:
    return json.dumps({"images": list(images), "models": ["tags"], **options}).encode()


@pytest.mark.parametrize(
    "body",
    [
        as_json({"base64": TEXT}, {"base64": TEXT}),
        form(part("image", JPEG), part("image", JPEG), part("models", b"tags")),
        msgpack.packb({"images": [{"bytes": JPEG}, {"bytes": JPEG}], "models": ["tags"]}),
    ],
)
async def test_every_image_gets_an_answer(cluster: Cluster, body: bytes) -> None:
    response, answer = await cluster.post(body, path=PATH, headers={"X-Request-Id": "call"})
    assert response.status == 200
    assert "X-Crema-Status" not in response.headers
    assert (answer["id"], list(answer)) == ("call", ["id", "items", "timing"])
    for index, item in enumerate(answer["items"]):
        assert (item["kind"], item["id"], item["status"]) == ("answer", f"call.{index}", "ok")
        assert item["results"]["tags"]["output"] == TAGS


async def test_one_bad_image_is_one_problem(cluster: Cluster) -> None:
    images = [
        {"base64": TEXT},
        {"base64": "%"},
        {"url": "http://x/y.jpg"},
        {"base64": base64.b64encode(b"BMxxxx").decode()},
        5,
    ]
    response, answer = await cluster.post(as_json(*images), path=PATH, headers={"X-Request-Id": "call"})
    assert response.status == 200
    items = answer["items"]
    assert [item["kind"] for item in items] == ["answer", *["problem"] * 4]
    assert [item["status"] for item in items[1:]] == [400, 422, 415, 400]
    assert [item["code"] for item in items[1:]] == [
        "invalid_request",
        "url_fetch_disabled",
        "unsupported_media_type",
        "invalid_request",
    ]
    assert [item["request_id"] for item in items[1:]] == ["call.1", "call.2", "call.3", "call.4"]
    assert items[1]["errors"][0]["pointer"] == "/images/1/base64"


async def test_an_image_over_the_limit_is_its_items_problem(cluster: Cluster) -> None:
    large = JPEG + bytes(MAX_IMAGE_BYTES)
    _, answer = await cluster.post(
        form(part("image", large), part("image", JPEG), part("models", b"tags")), path=PATH
    )
    assert [item.get("code", item["status"]) for item in answer["items"]] == ["image_too_large", "ok"]


async def test_an_undecodable_image_is_its_items_problem(cluster: Cluster) -> None:
    def pick(header: Any, payload: Any) -> Any:
        if bytes(payload).endswith(b"bad"):
            return error(422, "undecodable_image")
        return cluster.preprocessor.prepare(header, payload)

    cluster.preprocessor.behaviour = pick
    body = form(part("image", JPEG), part("image", JPEG + b"bad"), part("models", b"tags"))
    _, answer = await cluster.post(body, path=PATH)
    assert [item.get("code", item["status"]) for item in answer["items"]] == ["ok", "undecodable_image"]


async def test_partial_and_failed_items_keep_their_own_status(cluster: Cluster) -> None:
    cluster.tags.behaviour = lambda header, payload: error(429, "overloaded", retry_after_ms=1200)
    response, answer = await cluster.post(as_json({"base64": TEXT}, models=["tags", "captions"]), path=PATH)
    assert (answer["items"][0]["kind"], answer["items"][0]["status"], response.headers["Retry-After"]) == (
        "answer",
        "partial",
        "2",
    )
    response, answer = await cluster.post(as_json({"base64": TEXT}), path=PATH)
    item = answer["items"][0]
    assert (response.status, item["kind"], item["status"], item["code"]) == (
        200,
        "problem",
        429,
        "overloaded",
    )
    assert list(item["results"]) == ["tags"]


@pytest.mark.parametrize(
    ("body", "query", "status", "code"),
    [
        (as_json(), "", 400, "invalid_request"),
        (as_json(*[{"base64": TEXT}] * 33), "", 400, "invalid_request"),
        (as_json({"base64": TEXT}, models=["nosuch"]), "", 404, "unknown_model"),
        (as_json({"base64": TEXT}, image={}), "", 400, "invalid_request"),
        (as_json({"base64": TEXT}), "lane=x", 400, "invalid_request"),
        (JPEG, "", 400, "invalid_request"),
        (b"", "", 400, "invalid_request"),
        (b"{", "", 400, "invalid_json"),
        (b"junk", "", 415, "unsupported_media_type"),
        (form(*[part("image", JPEG)] * 33), "", 400, "invalid_request"),
    ],
    ids=lambda value: repr(value)[:40],
)
async def test_what_is_wrong_with_the_call_is_the_whole_calls(
    cluster: Cluster, body: bytes, query: str, status: int, code: str
) -> None:
    response, problem = await cluster.post(body, query, path=PATH)
    assert (response.status, problem["code"], response.headers["Content-Type"]) == (
        status,
        code,
        "application/problem+json",
    )
    assert cluster.preprocessor.requests == []


async def test_thirty_two_images_are_answered_in_order_a_few_at_a_time(cluster: Cluster) -> None:
    most = 0

    def watch(header: Any, payload: Any) -> Any:
        nonlocal most
        most = max(most, cluster.app.directory.preprocessors.all[0].client.outstanding)
        return cluster.preprocessor.prepare(header, payload)

    cluster.preprocessor.behaviour = watch
    cluster.preprocessor.delay_s = 0.002
    images = [{"base64": base64.b64encode(JPEG + bytes([n])).decode()} for n in range(32)]
    _, answer = await cluster.post(as_json(*images), path=PATH, headers={"X-Request-Id": "c"})
    assert [item["id"] for item in answer["items"]] == [f"c.{n}" for n in range(32)]
    assert 1 < most <= BATCH_WIDTH


async def test_a_batch_is_one_event_with_its_numbers(cluster: Cluster) -> None:
    cluster.caption.behaviour = lambda header, payload: error(429, "overloaded", retry_after_ms=5)
    images = [{"base64": TEXT}, {"base64": TEXT}, 7]
    await cluster.post(as_json(*images, models=["tags", "captions"]), path=PATH)
    cluster.app.journal.flush()
    [event] = [json.loads(line) for line in cluster.log.getvalue().splitlines()]
    assert (event["path"], event["images"], event["problems"]) == ("analyze/batch", 3, 1)
    assert event["models"] == [
        {"model": "tags", "version": "3.1", "outcomes": {"ok": 2}},
        {"model": "captions", "version": "1.4", "outcomes": {"overloaded": 2}},
    ]
    _, metrics = await cluster.get("/metrics", operations=True)
    assert b"crema_partial_total 2.0" in metrics
    assert b'crema_requests_total{code="200",model="tags",tier="coordinator",version="3.1"} 2.0' in metrics


async def test_a_batch_in_msgpack_is_answered_in_msgpack(cluster: Cluster) -> None:
    _, body = await cluster.post(
        as_json({"base64": TEXT}, 7), path=PATH, headers={"Accept": "application/msgpack"}
    )
    answer = msgpack.unpackb(body)
    assert [item["kind"] for item in answer["items"]] == ["answer", "problem"]
    assert answer["items"][0]["results"]["tags"]["output"] == TAGS


async def test_a_form_with_one_image_says_where_several_go(
    cluster: Cluster, pointers: Callable[[Any], list[str]]
) -> None:
    _, problem = await cluster.post(form(part("image", JPEG), part("image", JPEG)))
    assert pointers(problem) == ["/image"]
    assert "/v1/analyze/batch" in problem["detail"]


@pytest.mark.parametrize("length", [126, 127, 128])
async def test_a_long_request_id_does_not_make_a_longer_one_downstream(cluster: Cluster, length: int) -> None:
    call = "".join(chr(97 + n % 26) for n in range(length))
    _, answer = await cluster.post(
        as_json({"base64": TEXT}, {"base64": TEXT}), path=PATH, headers={"X-Request-Id": call}
    )
    assert [item["id"] for item in answer["items"]] == [f"{call}.0", f"{call}.1"]
    for tier in (cluster.preprocessor, cluster.tags):
        ids = [header["request_id"] for header, _ in tier.requests]
        assert all(len(each) <= 128 for each in ids)
        assert len(set(ids)) == 2
