"""An image by its URL: refused where that is switched off, else handed to a preprocessor, which alone looks at it."""

from __future__ import annotations

import json
from typing import Any

import msgpack
import pytest

from crema.host.image_limits import MAX_IMAGE_BYTES
from tests.coordinator.conftest import Cluster
from tests.coordinator.stub_tiers import JPEG, error

URL = "https://store.example/a.jpg?signature=secret"


@pytest.fixture
def fetching(cluster: Cluster) -> Cluster:
    """A coordinator whose preprocessors fetch."""
    cluster.app.api.can_fetch = True
    return cluster


def as_json(url: Any = URL, **more: Any) -> bytes:
    return json.dumps({"image": {"url": url}, **more}).encode()


@pytest.mark.parametrize("url", [URL, "file:///etc/passwd", "http://127.0.0.1/", "no url at all"])
async def test_switched_off_every_url_is_refused_and_no_tier_hears_of_it(cluster: Cluster, url: str) -> None:
    response, problem = await cluster.post(as_json(url))
    assert (response.status, problem["code"]) == (422, "url_fetch_disabled")
    assert "fetch: {enabled: true" in problem["detail"]
    assert cluster.preprocessor.requests == []


@pytest.mark.parametrize("body", [as_json(), msgpack.packb({"image": {"url": URL}})])
async def test_a_url_goes_to_a_preprocessor_in_place_of_the_image(fetching: Cluster, body: bytes) -> None:
    response, answer = await fetching.post(body)
    assert (response.status, answer["status"]) == (200, "ok")
    [(header, payload)] = fetching.preprocessor.requests
    assert (header["url"], payload) == (URL, b"")
    assert 0 < header["remaining_ms"] <= 5000


async def test_an_image_that_is_sent_goes_without_a_url(fetching: Cluster) -> None:
    await fetching.post(JPEG)
    [(header, payload)] = fetching.preprocessor.requests
    assert ("url" in header, payload) == (False, JPEG)


@pytest.mark.parametrize("url", [5, None, "", "http://x/" + "a" * 8184, ["http://x/"], {}])
async def test_what_is_no_text_or_too_long_is_a_mistake_in_the_request(fetching: Cluster, url: Any) -> None:
    response, problem = await fetching.post(as_json(url))
    assert (response.status, problem["code"]) == (400, "invalid_request")
    assert problem["errors"][0]["pointer"] == "/image/url"
    assert fetching.preprocessor.requests == []


async def test_mistakes_beside_a_url_are_told_before_anything_is_fetched(fetching: Cluster) -> None:
    response, problem = await fetching.post(as_json(models=["nope"]))
    assert (response.status, problem["code"]) == (404, "unknown_model")
    assert fetching.preprocessor.requests == []


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (422, "url_fetch_failed"),
        (422, "url_fetch_disabled"),
        (415, "unsupported_media_type"),
        (429, "overloaded"),
        (504, "deadline_exceeded"),
        (503, "not_ready"),
    ],
)
async def test_what_a_preprocessor_says_of_a_fetch_is_the_answer(
    fetching: Cluster, status: int, code: str
) -> None:
    fetching.preprocessor.behaviour = lambda header, payload: error(status, code)
    response, problem = await fetching.post(as_json())
    assert (response.status, problem["code"]) == (status, code)
    assert ("Retry-After" in response.headers) == (status in (429, 503))


async def test_a_fetched_image_with_too_many_bytes_is_refused_with_that_limit(fetching: Cluster) -> None:
    fetching.preprocessor.behaviour = lambda header, payload: {
        **error(413, "image_too_large"),
        "limit": {"bytes": MAX_IMAGE_BYTES},
    }
    response, problem = await fetching.post(as_json())
    assert (response.status, problem["code"], problem["limit"]) == (413, "image_too_large", MAX_IMAGE_BYTES)


async def test_a_batch_mixes_urls_and_images(fetching: Cluster) -> None:
    def one(header: dict[str, Any], payload: Any) -> Any:
        if "bad" in header.get("url", ""):
            return error(422, "url_fetch_failed")
        return fetching.preprocessor.prepare(header, payload)

    fetching.preprocessor.behaviour = one
    images = [{"url": URL}, {"url": "http://bad.example/"}, {"bytes": JPEG}, {"url": ""}]
    _, answer = await fetching.post(msgpack.packb({"images": images}), path="/v1/analyze/batch")
    assert [(item["kind"], item.get("code")) for item in answer["items"]] == [
        ("answer", None),
        ("problem", "url_fetch_failed"),
        ("answer", None),
        ("problem", "invalid_request"),
    ]


async def test_no_log_of_the_coordinator_holds_a_url(fetching: Cluster) -> None:
    await fetching.post(as_json())
    fetching.preprocessor.behaviour = lambda header, payload: error(422, "url_fetch_failed")
    await fetching.post(as_json())
    fetching.app.journal.flush()
    told = fetching.log.getvalue()
    assert "url_fetch_failed" in told
    assert not any(part in told for part in ("secret", "store.example", "https:"))
