"""One image through a whole coordinator: the ways in, and the answer of the API's description."""

from __future__ import annotations

from tests.coordinator.conftest import Cluster


async def test_a_raw_photo_gets_the_answers_of_the_default_models(cluster: Cluster) -> None:
    response, body = await cluster.post()
    assert response.status == 200, body
    assert list(body["results"]) == ["tags", "aesthetics", "captions"]
    assert body["status"] == "ok"
