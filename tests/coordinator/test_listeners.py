"""What stands on the public listener, what on the operations listener, and what on neither."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from coordinator.app import App
from tests.coordinator.conftest import PARAMS, Cluster
from tests.coordinator.stub_tiers import JPEG, card, model_row, version_row


async def test_health_answers_json_on_both_listeners(cluster: Cluster) -> None:
    for operations in (False, True):
        response, body = await cluster.get("/livez", operations=operations)
        assert (response.status, body) == (200, {"live": True})
        response, body = await cluster.get("/readyz", operations=operations)
        assert response.status == 200
        assert body["ready"] is True
        assert body["models"]["tags"] == {"version": "3.1", "ready": 1}


async def test_not_ready_without_a_replica_of_a_default_version(cluster: Cluster) -> None:
    models = cluster.models()
    models["captions"]["versions"]["1.4"]["replicas"] = []
    await cluster.reroute(models)
    response, body = await cluster.get("/readyz")
    assert (response.status, body["ready"], body["models"]["captions"]["ready"]) == (503, False, 0)


async def test_not_ready_without_a_preprocessor(cluster: Cluster) -> None:
    await cluster.reroute(preprocessors=[])
    response, _ = await cluster.get("/readyz")
    assert response.status == 503


async def test_what_is_not_public_is_a_404_problem_for_every_method(cluster: Cluster) -> None:
    for path in ("/metrics", "/admin", "/v2", "/v1", "/v1/analyze/", "/v1/models/", "/v1/models/a/b", "/"):
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
            response, problem = await cluster.get(path, method=method)
            assert (response.status, problem["code"]) == (404, "not_found"), (method, path)
            assert problem["request_id"] == response.headers["X-Request-Id"]


async def test_the_operations_listener_serves_no_callers(cluster: Cluster) -> None:
    for path in ("/v1/analyze", "/v1/models", "/docs"):
        response, _ = await cluster.get(path, operations=True)
        assert response.status == 404


@pytest.mark.parametrize(
    ("path", "allow"),
    [
        ("/v1/analyze", "OPTIONS, POST"),
        ("/v1/analyze/batch", "OPTIONS, POST"),
        ("/v1/models", "GET, HEAD, OPTIONS"),
        ("/v1/models/tags", "GET, HEAD, OPTIONS"),
        ("/readyz", "GET, HEAD, OPTIONS"),
    ],
)
async def test_a_method_that_is_not_taken_is_a_405_with_allow(
    cluster: Cluster, path: str, allow: str
) -> None:
    response, problem = await cluster.get(path, method="DELETE")
    assert (response.status, problem["code"], response.headers["Allow"]) == (405, "method_not_allowed", allow)
    response, _ = await cluster.get(path, method="OPTIONS")
    assert (response.status, response.headers["Allow"]) == (204, allow)


async def test_head_is_served_wherever_get_is(cluster: Cluster) -> None:
    for path in ("/v1/models", "/v1/models/tags", "/livez", "/openapi.json", "/docs"):
        whole, _ = await cluster.get(path)
        head, body = await cluster.get(path, method="HEAD")
        assert (head.status, body, head.headers["Content-Length"]) == (
            200,
            b"",
            whole.headers["Content-Length"],
        )


async def test_metrics_count_calls_and_their_parts(cluster: Cluster) -> None:
    await cluster.post(query="models=tags,tags@2.9")
    await cluster.post(b"junk")
    response, metrics = await cluster.get("/metrics", operations=True)
    assert response.status == 200
    for line in (
        b'crema_requests_total{code="200",model="",tier="coordinator",version=""} 1.0',
        b'crema_requests_total{code="415",model="",tier="coordinator",version=""} 1.0',
        b'crema_requests_total{code="200",model="tags",tier="coordinator",version="3.1"} 1.0',
        b'crema_requests_total{code="503",model="tags",tier="coordinator",version="2.9"} 1.0',
        b"crema_partial_total 1.0",
        b'crema_ready{model="",tier="coordinator",version=""} 1.0',
        b'crema_pending{model="",tier="coordinator",version=""} 0.0',
        b'crema_request_seconds_count{model="",tier="coordinator",version=""} 2.0',
    ):
        assert line in metrics


# -- /v1/models ----------------------------------------------------------------------------------------------------


async def test_models_are_listed_with_their_versions(cluster: Cluster) -> None:
    response, body = await cluster.get("/v1/models")
    assert response.status == 200
    assert list(body) == ["models"]
    assert [model["name"] for model in body["models"]] == ["aesthetics", "captions", "tags", "vectors"]
    tags = body["models"][2]
    assert {name: tags[name] for name in ("default", "labels", "output_type")} == {
        "default": "3.1",
        "labels": {"candidate": "3.2"},
        "output_type": "tags",
    }
    assert tags["params"]["max_tags"] == PARAMS["max_tags"]
    assert tags["params"]["note"] == {"type": "string", "default": "", "max_length": 8}
    assert tags["versions"] == [
        {
            "version": "3.2",
            "state": "ready",
            "replicas": 1,
            "ready": 1,
            "canary_percent": 5,
            "summary": "tags for tests",
        },
        {
            "version": "3.1",
            "state": "ready",
            "replicas": 1,
            "ready": 1,
            "canary_percent": None,
            "summary": "tags for tests",
        },
        {
            "version": "2.9",
            "state": "failed",
            "replicas": 1,
            "ready": 0,
            "canary_percent": None,
            "summary": "tags for tests",
        },
    ]


async def test_one_model_reads_like_an_element_of_the_list(cluster: Cluster) -> None:
    _, listed = await cluster.get("/v1/models")
    response, one = await cluster.get("/v1/models/tags")
    assert response.status == 200
    assert one["models"] == [listed["models"][2]]
    assert {name: value for name, value in one.items() if name != "models"} == listed["models"][2]


@pytest.mark.parametrize("name", ["tagz", "TAGS", "%00", "..%2Ftags", "tags@3.1"])
async def test_an_unknown_model_is_a_404_with_suggestions(cluster: Cluster, name: str) -> None:
    response, problem = await cluster.get(f"/v1/models/{name}")
    assert (response.status, problem["code"]) == (404, "unknown_model")
    assert problem["available"] == ["aesthetics", "captions", "tags", "vectors"]
    assert type(problem["did_you_mean"]) is list


@pytest.mark.parametrize(
    ("changes", "state", "ready"),
    [
        ({}, "ready", 1),
        ({"wanted": 2}, "degraded", 1),
        ({"replicas": ["127.0.0.1:9"]}, "degraded", 0),
        ({"state": "starting", "replicas": []}, "starting", 0),
        ({"state": "failed", "replicas": []}, "failed", 0),
        ({"state": "draining"}, "draining", 1),
        ({"wanted": 0, "replicas": []}, "degraded", 0),
    ],
)
async def test_the_state_shown_is_what_really_stands(
    cluster: Cluster, changes: dict[str, Any], state: str, ready: int
) -> None:
    models = cluster.models()
    models["captions"]["versions"]["1.4"].update(changes)
    await cluster.reroute(models)
    _, body = await cluster.get("/v1/models/captions")
    assert (body["versions"][0]["state"], body["versions"][0]["ready"]) == (state, ready)


# -- following the routing file ------------------------------------------------------------------------------------


async def test_a_changed_file_is_in_force_within_a_second(cluster: Cluster) -> None:
    before = cluster.app.directory.revision
    cluster.write()
    async with asyncio.timeout(1):
        while cluster.app.directory.revision == before:
            await asyncio.sleep(0.01)


async def test_a_new_default_version_takes_the_next_call(cluster: Cluster) -> None:
    models = cluster.models()
    models["tags"]["default"] = "3.2"
    models["tags"]["versions"]["3.2"]["canary_percent"] = None
    await cluster.reroute(models)
    _, body = await cluster.post(query="models=tags,tags@3")
    assert [each["version"] for each in body["results"].values()] == ["3.2", "3.2"]


async def test_a_broken_file_leaves_the_old_routing_in_force(cluster: Cluster) -> None:
    before = cluster.app.directory.revision
    for broken in (b"{", b'{"format": 9}', b""):
        cluster.routing.write_bytes(broken)
        await cluster.app.directory.refresh()
    cluster.routing.unlink()
    await cluster.app.directory.refresh()
    assert cluster.app.directory.revision == before
    response, _ = await cluster.post()
    assert response.status == 200
    await cluster.reroute()


async def test_a_removed_replica_answers_what_it_was_sent(cluster: Cluster) -> None:
    cluster.caption.delay_s = 0.3
    call = asyncio.create_task(cluster.post(query="models=captions"))
    await cluster.caption.until(lambda: bool(cluster.caption.requests))
    models = cluster.models()
    models["captions"]["versions"]["1.4"]["replicas"] = []
    await cluster.reroute(models)
    response, body = await call
    assert (response.status, body["status"]) == (200, "ok")
    response, problem = await cluster.post(query="models=captions")
    assert (response.status, problem["code"]) == (503, "not_ready")


async def test_a_lost_replica_is_used_again_when_it_is_back(cluster: Cluster) -> None:
    port = int(cluster.caption.address.rpartition(":")[2])
    await cluster.caption.close()
    async with asyncio.timeout(5):
        while (await cluster.get("/v1/models/captions"))[1]["versions"][0]["ready"]:
            await asyncio.sleep(0.01)
        await cluster.caption.start(port)
        while not (await cluster.get("/v1/models/captions"))[1]["versions"][0]["ready"]:
            await asyncio.sleep(0.01)
    response, _ = await cluster.post(query="models=captions")
    assert response.status == 200


async def test_no_default_models_means_models_must_be_named(cluster: Cluster) -> None:
    cluster.defaults = []
    await cluster.reroute()
    response, problem = await cluster.post()
    assert (response.status, problem["errors"][0]["pointer"]) == (400, "/models")
    response, _ = await cluster.post(query="models=tags")
    assert response.status == 200


async def test_two_replicas_share_the_calls(cluster: Cluster) -> None:
    models = cluster.models()
    second = {"9.0": version_row([cluster.tags.address, cluster.new_tags.address], card("tags", "9.0"))}
    models["tags"] = model_row("9.0", second)
    for tier in (cluster.tags, cluster.new_tags):
        tier.version = "9.0"
    await cluster.reroute(models)
    for _ in range(40):
        response, _ = await cluster.post(query="models=tags")
        assert response.status == 200
    assert len(cluster.tags.requests) > 5
    assert len(cluster.new_tags.requests) > 5


# -- the journal ---------------------------------------------------------------------------------------------------


async def test_one_event_per_call_says_versions_outcomes_and_times_and_no_pixels(cluster: Cluster) -> None:
    await cluster.post(query="models=tags,tags@2.9", headers={"X-Request-Id": "mine"})
    await cluster.post(b"junk")
    cluster.app.journal.flush()
    first, second = (json.loads(line) for line in cluster.log.getvalue().splitlines())
    assert {
        name: first[name] for name in ("event", "level", "tier", "request_id", "path", "status", "outcome")
    } == {
        "event": "request",
        "level": "info",
        "tier": "coordinator",
        "request_id": "mine",
        "path": "analyze",
        "status": 200,
        "outcome": "partial",
    }
    assert [(each["model"], each["version"]) for each in first["models"]] == [
        ("tags", "3.1"),
        ("tags", "2.9"),
    ]
    assert first["models"][0]["timing"]["inference_ms"] == 12.3
    assert [each["outcome"] for each in first["models"]] == ["ok", "not_ready"]
    assert first["total_ms"] >= first["preprocess_ms"] > 0
    assert (second["status"], second["outcome"]) == (415, "unsupported_media_type")
    assert "jpeg" not in cluster.log.getvalue().replace('"format":"jpeg"', "")


async def test_the_model_addresses_take_no_query_parameters(cluster: Cluster) -> None:
    for path in ("/v1/models?ready=1", "/v1/models/tags?ready=1"):
        response, problem = await cluster.get(path)
        assert (response.status, problem["code"]) == (400, "invalid_request")
        assert [each["pointer"] for each in problem["errors"]] == ["/ready"]


async def test_a_call_before_the_routing_is_read_is_told_to_come_again(tmp_path: Path) -> None:
    app = App(tmp_path / "none-yet.json")
    ports = await app.start(("127.0.0.1", 0), ("127.0.0.1", 0))
    try:
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"http://127.0.0.1:{ports['public']}/v1/analyze", data=JPEG) as response,
        ):
            problem = await response.json(content_type=None)
        assert (response.status, problem["code"], response.headers["Retry-After"]) == (503, "not_ready", "1")
    finally:
        await app.drain(0.0)
