"""One image through a whole coordinator over real HTTP: what callers see."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from typing import Any

import aiohttp
import msgpack
import pytest

from tests.coordinator.conftest import CAPTION, TAGS, Cluster
from tests.coordinator.stub_tiers import JPEG, error, ok
from tests.coordinator.test_form import form, part

TEXT = base64.b64encode(JPEG).decode()
TRACE = "0af7651916cd43dd8448eb211c80319c"


def as_json(**members: Any) -> bytes:
    return json.dumps({"image": {"base64": TEXT}, **members}).encode()


# -- the answer ----------------------------------------------------------------------------------------------------


async def test_a_raw_photo_gets_the_answers_of_the_default_models(cluster: Cluster) -> None:
    response, body = await cluster.post()
    assert response.status == 200
    assert response.headers["Content-Type"] == "application/json"
    assert response.headers["X-Crema-Status"] == body["status"] == "ok"
    assert response.headers["X-Request-Id"] == body["id"]
    assert re.fullmatch(r"preprocess;dur=[\d.]+, total;dur=[\d.]+", response.headers["Server-Timing"])
    assert "Retry-After" not in response.headers
    assert list(body["results"]) == ["tags", "aesthetics", "captions"]
    assert body["image"] == {"format": "jpeg", "width": 64, "height": 48, "bytes": len(JPEG)}
    tags = body["results"]["tags"]
    assert {name: tags[name] for name in ("status", "model", "version", "output")} == {
        "status": "ok",
        "model": "tags",
        "version": "3.1",
        "output": TAGS,
    }
    timing = tags["timing"]
    assert (timing["queue_ms"], timing["inference_ms"], timing["batch_size"]) == (1.0, 12.3, 2)
    assert timing["total_ms"] == round(timing["total_ms"], 1)
    assert set(body["timing"]) == {"preprocess_ms", "total_ms"}


async def test_results_have_the_selector_as_sent_or_as_in_the_order_sent(cluster: Cluster) -> None:
    models = ["captions@1", "tags@candidate", {"model": "tags@3.1", "as": "stable"}, "tags@3"]
    _, body = await cluster.post(as_json(models=models))
    shown = [(key, each["model"], each["version"]) for key, each in body["results"].items()]
    assert shown == [
        ("captions@1", "captions", "1.4"),
        ("tags@candidate", "tags", "3.2"),
        ("stable", "tags", "3.1"),
        ("tags@3", "tags", "3.1"),
    ]


@pytest.mark.parametrize(
    "content_type",
    [
        "application/x-www-form-urlencoded",
        "text/plain",
        "multipart/form-data; boundary=other",
        "application/json",
        "",
    ],
)
async def test_the_content_type_decides_nothing(cluster: Cluster, content_type: str) -> None:
    bodies = [
        JPEG,
        form(part("image", JPEG), part("models", b"tags")),
        as_json(models=["tags"]),
        msgpack.packb({"image": {"bytes": JPEG}, "models": ["tags"]}),
    ]
    for body in bodies:
        response, answer = await cluster.post(body, "models=tags", headers={"Content-Type": content_type})
        assert (response.status, list(answer["results"])) == (200, ["tags"])


async def test_every_way_in_sends_the_same_bytes_to_the_preprocessor(cluster: Cluster) -> None:
    bodies = [
        JPEG,
        form(part("image", JPEG)),
        as_json(),
        b"\xef\xbb\xbf \n" + as_json(),
        msgpack.packb({"image": {"bytes": JPEG}}),
    ]
    for body in bodies:
        await cluster.post(body)
    assert [payload for _, payload in cluster.preprocessor.requests] == [JPEG] * len(bodies)


async def test_an_aiohttp_form_works_as_a_client_sends_it(cluster: Cluster) -> None:
    data = aiohttp.FormData()
    data.add_field("image", JPEG, filename="photo.jpg", content_type="image/jpeg")
    data.add_field(
        "options",
        json.dumps({"models": [{"model": "tags", "as": "t", "params": {"max_tags": 3}}]}),
        content_type="application/json",
    )
    response, body = await cluster.post(data)
    assert (response.status, list(body["results"])) == (200, ["t"])
    assert cluster.tags.requests[0][0]["items"][0]["params"] == {"max_tags": 3}


async def test_the_query_wins_over_the_body(cluster: Cluster) -> None:
    _, body = await cluster.post(
        as_json(models=["captions"], lane="bulk", deadline_ms=60),
        "models=tags&lane=interactive&deadline_ms=3000",
    )
    assert list(body["results"]) == ["tags"]
    header, _ = cluster.tags.requests[0]
    assert header["lane"] == "interactive"
    assert 2000 < header["remaining_ms"] <= 3000


async def test_the_answer_is_msgpack_if_and_only_if_accept_says_so(cluster: Cluster) -> None:
    response, body = await cluster.post(headers={"Accept": "application/msgpack"})
    assert response.headers["Content-Type"] == "application/msgpack"
    assert msgpack.unpackb(body)["results"]["captions"]["output"] == CAPTION
    for accept in (
        "*/*",
        "application/json",
        "application/json, application/msgpack;q=0.5",
        "application/msgpack;q=0",
        "application/x-msgpack-not",
    ):
        response, _ = await cluster.post(headers={"Accept": accept})
        assert response.headers["Content-Type"] == "application/json", accept
    packed = msgpack.packb({"image": {"bytes": JPEG}})
    response, _ = await cluster.post(packed)
    assert response.headers["Content-Type"] == "application/json"


async def test_a_problem_is_problem_json_whatever_accept_says(cluster: Cluster) -> None:
    response, body = await cluster.post(query="models=nope", headers={"Accept": "application/msgpack"})
    assert response.headers["Content-Type"] == "application/problem+json"
    assert body["code"] == "unknown_model"


# -- what the tiers are sent ---------------------------------------------------------------------------------------


async def test_the_photo_is_prepared_once_and_every_model_gets_its_own_tensor(cluster: Cluster) -> None:
    await cluster.post()
    [(header, _)] = cluster.preprocessor.requests
    assert header["specs"] == [
        {"size": [4, 2], "fit": "cover", "filter": "bilinear"},
        {"size": [3, 3], "fit": "cover", "filter": "bilinear"},
    ]
    [(tags, tags_pixels)], [(_, score_pixels)], [(caption, caption_pixels)] = (
        each.requests for each in (cluster.tags, cluster.score, cluster.caption)
    )
    assert tags["items"] == [{"shape": [2, 4, 3], "dtype": "uint8", "params": {}}]
    assert caption["items"] == [{"shape": [3, 3, 3], "dtype": "uint8", "params": {}}]
    assert (tags_pixels, score_pixels, caption_pixels) == (b"\x01" * 24, b"\x01" * 24, b"\x02" * 27)


async def test_the_remaining_time_shrinks_at_each_hop(cluster: Cluster) -> None:
    cluster.preprocessor.delay_s = 0.03
    await cluster.post(query="deadline_ms=2000")
    first = cluster.preprocessor.requests[0][0]["remaining_ms"]
    second = cluster.tags.requests[0][0]["remaining_ms"]
    assert 1000 < second <= first - 25
    assert first <= 2000


@pytest.mark.parametrize(("sent", "kept"), [("1", 50), ("1e9", 25_000)])
async def test_a_deadline_out_of_range_is_clamped(cluster: Cluster, sent: str, kept: float) -> None:
    await cluster.post(query=f"deadline_ms={sent}")
    assert kept - 45 < cluster.preprocessor.requests[0][0]["remaining_ms"] <= kept


async def test_the_lane_reaches_every_tier(cluster: Cluster) -> None:
    await cluster.post(query="lane=bulk&models=tags")
    assert [each.requests[0][0]["lane"] for each in (cluster.preprocessor, cluster.tags)] == ["bulk", "bulk"]


async def test_a_valid_trace_reaches_every_tier_and_the_log(cluster: Cluster) -> None:
    await cluster.post(query="models=tags", headers={"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"})
    for tier in (cluster.preprocessor, cluster.tags):
        assert tier.requests[0][0]["traceparent"].startswith(f"00-{TRACE}-")
    cluster.app.journal.flush()
    assert json.loads(cluster.log.getvalue())["trace_id"] == TRACE


async def test_an_invalid_trace_is_ignored(cluster: Cluster) -> None:
    response, _ = await cluster.post(query="models=tags", headers={"traceparent": "00-garbage"})
    assert response.status == 200
    assert "traceparent" not in cluster.tags.requests[0][0]


@pytest.mark.parametrize("sent", ["abc", "!~" + "x" * 126, "req/1;2=3"])
async def test_a_request_id_of_visible_ascii_is_returned_unchanged(cluster: Cluster, sent: str) -> None:
    response, body = await cluster.post(headers={"X-Request-Id": sent})
    assert response.headers["X-Request-Id"] == body["id"] == sent
    assert cluster.tags.requests[0][0]["request_id"] == sent
    response, problem = await cluster.post(b"junk", headers={"X-Request-Id": sent})
    assert response.headers["X-Request-Id"] == problem["request_id"] == sent


@pytest.mark.parametrize("sent", ["", "x" * 129, "a b", "caf\u00e9"])
async def test_any_other_request_id_is_replaced(cluster: Cluster, sent: str) -> None:
    response, body = await cluster.post(headers={"X-Request-Id": sent})
    assert response.headers["X-Request-Id"] == body["id"] != sent
    assert body["id"].startswith("req_")


# -- what is wrong with the request --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "query", "status", "code"),
    [
        (b"", "", 400, "invalid_request"),
        (b"junk", "", 415, "unsupported_media_type"),
        (b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00", "", 415, "unsupported_media_type"),
        (b"{", "", 400, "invalid_json"),
        (
            b'{"image": {"base64": "' + TEXT.encode() + b'"}, "lane": "bulk", "lane": "bulk"}',
            "",
            400,
            "invalid_json",
        ),
        (b"\x81\xa5image", "", 400, "invalid_request"),
        (b"--x\r\nbroken", "", 400, "invalid_request"),
        (as_json(model="tags"), "", 400, "invalid_request"),
        (as_json(models=[]), "", 400, "invalid_request"),
        (as_json(models=["tags", "tags"]), "", 400, "invalid_request"),
        (as_json(models=["nosuch"]), "", 404, "unknown_model"),
        (as_json(models=["tags@9"]), "", 404, "unknown_version"),
        (as_json(models=[{"model": "tags", "params": {"max_tags": True}}]), "", 400, "invalid_request"),
        (as_json(models=["vectors"]), "", 400, "invalid_request"),
        (json.dumps({"image": {"url": "http://127.0.0.1/"}}).encode(), "", 422, "url_fetch_disabled"),
        (JPEG, "models=nosuch", 404, "unknown_model"),
        (JPEG, "models=tags@nolabel", 404, "unknown_version"),
        (JPEG, "deadline_ms=0", 400, "invalid_request"),
        (JPEG, "nope=1", 400, "invalid_request"),
        (JPEG, "models=tags&required=captions", 400, "invalid_request"),
    ],
    ids=lambda value: repr(value)[:40],
)
async def test_a_mistake_is_told_before_anything_is_decoded(
    cluster: Cluster, body: bytes, query: str, status: int, code: str
) -> None:
    response, problem = await cluster.post(body, query)
    assert (response.status, problem["code"]) == (status, code)
    assert response.headers["Content-Type"] == "application/problem+json"
    assert set(problem) >= {"type", "title", "status", "detail", "code", "request_id"}
    assert problem["status"] == status
    assert "X-Crema-Status" not in response.headers
    if code == "invalid_request":
        assert all(set(each) == {"pointer", "message"} for each in problem["errors"])
    if status == 404:
        assert type(problem["did_you_mean"]) is type(problem["available"]) is list
    assert cluster.preprocessor.requests == []


async def test_all_violations_of_query_and_body_are_listed_at_once(
    cluster: Cluster, pointers: Callable[[Any], list[str]]
) -> None:
    body = json.dumps({"image": {"base64": "!"}, "models": ["tags", 3], "lan": "x"}).encode()
    _, problem = await cluster.post(body, "deadline_ms=no&foo=1")
    assert sorted(pointers(problem)) == ["/deadline_ms", "/foo", "/image/base64", "/lan", "/models/1"]


async def test_a_content_encoding_is_not_taken(cluster: Cluster) -> None:
    response, problem = await cluster.post(headers={"Content-Encoding": "gzip"})
    assert (response.status, problem["code"]) == (415, "unsupported_media_type")


@pytest.mark.parametrize(
    ("refusal", "status", "code"),
    [
        (error(422, "undecodable_image"), 422, "undecodable_image"),
        (error(413, "image_too_large"), 413, "image_too_large"),
        (error(415, "unsupported_media_type"), 415, "unsupported_media_type"),
        (error(422, "decode_timeout"), 422, "decode_timeout"),
        (error(504, "deadline_exceeded"), 504, "deadline_exceeded"),
        (error(429, "overloaded", retry_after_ms=1500), 429, "overloaded"),
        (error(503, "not_ready"), 503, "not_ready"),
        (error(400, "invalid_request"), 500, "internal"),
        (error(200, "nonsense") | {"status": 299}, 500, "internal"),
        ({"status": 200, "image": {}, "tensors": []}, 500, "internal"),
        (
            {"status": 200, "image": {}, "tensors": [{"shape": [2, 4, 3], "dtype": "uint8"}] * 2},
            500,
            "internal",
        ),
        ({"status": 200, "image": {}, "tensors": [{"shape": [-1], "dtype": "uint8"}] * 2}, 500, "internal"),
        ({"status": 200, "image": {}, "tensors": [None, None]}, 500, "internal"),
        ({"status": 200}, 500, "internal"),
    ],
    ids=repr,
)
async def test_a_failure_of_preprocessing_is_the_whole_calls(
    cluster: Cluster, refusal: dict[str, Any], status: int, code: str
) -> None:
    cluster.preprocessor.behaviour = lambda header, payload: refusal
    response, problem = await cluster.post()
    assert (response.status, problem["code"]) == (status, code)
    assert "results" not in problem
    assert cluster.tags.requests == []
    if code == "overloaded":
        assert (response.headers["Retry-After"], problem["retry_after_ms"]) == ("2", 1500)
    if code == "not_ready":
        assert response.headers["Retry-After"] == "1"


async def test_partial_answers_carry_retry_after_of_their_refused_parts(cluster: Cluster) -> None:
    cluster.caption.behaviour = lambda header, payload: error(
        429, "overloaded", "64 of 64 places taken", retry_after_ms=2300
    )
    response, body = await cluster.post()
    assert (response.status, response.headers["X-Crema-Status"], response.headers["Retry-After"]) == (
        200,
        "partial",
        "3",
    )
    assert body["results"]["captions"]["error"] == {
        "code": "overloaded",
        "message": "64 of 64 places taken",
        "retryable": True,
        "retry_after_ms": 2300,
    }
    assert body["results"]["tags"]["status"] == "ok"


async def test_a_required_model_that_fails_makes_a_problem_with_the_results_so_far(cluster: Cluster) -> None:
    cluster.caption.behaviour = lambda header, payload: error(429, "overloaded", retry_after_ms=10)
    response, problem = await cluster.post(query="required=captions")
    assert (response.status, problem["code"], response.headers["Retry-After"]) == (429, "overloaded", "1")
    assert problem["results"]["tags"]["output"] == TAGS
    response, _ = await cluster.post(query="on_error=fail")
    assert response.status == 429
    response, _ = await cluster.post(query="required=tags")
    assert response.status == 200


async def test_a_number_that_is_not_finite_never_leaves(cluster: Cluster) -> None:
    cluster.score.behaviour = lambda header, payload: ok({"score": float("nan")})
    for accept in ("application/json", "application/msgpack"):
        response, body = await cluster.post(headers={"Accept": accept})
        answer = body if accept == "application/json" else msgpack.unpackb(body)
        assert response.status == 200
        assert answer["results"]["aesthetics"]["error"]["code"] == "model_output_invalid"
        assert answer["status"] == "partial"


async def test_wrong_params_are_listed_beside_every_other_mistake(
    cluster: Cluster, pointers: Callable[[Any], list[str]]
) -> None:
    entry = {"model": "tags", "params": {"max_tags": 0, "nope": 1, "threshold": "x"}}
    wrong = ["/models/0/params/max_tags", "/models/0/params/nope", "/models/0/params/threshold"]
    for more, also in (
        ({"model": "tags"}, ["/model"]),
        ({"deadline_ms": -1}, ["/deadline_ms"]),
        ({"models": [entry, "tags"]}, ["/models/1"]),
        ({"models": [entry, "nosuch"]}, ["/models/1"]),
    ):
        _, problem = await cluster.post(as_json(**{"models": [entry], **more}))
        assert sorted(pointers(problem)) == sorted([*wrong, *also])


async def test_a_query_is_checked_beside_a_body_that_is_no_request(
    cluster: Cluster, pointers: Callable[[Any], list[str]]
) -> None:
    for body in (b"", b"\x81\xa1"):
        _, problem = await cluster.post(body, "lane=x")
        assert pointers(problem) == ["", "/lane"]


async def test_accept_is_read_without_regard_to_case(cluster: Cluster) -> None:
    response, _ = await cluster.post(headers={"Accept": "APPLICATION/MSGPACK"})
    assert response.headers["Content-Type"] == "application/msgpack"
