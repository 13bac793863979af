"""One deadline for all: what a slow, dead, lying or absent tier costs, and what is cancelled."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import msgpack
import pytest

from tests.coordinator.conftest import TAGS, Cluster
from tests.coordinator.stub_tiers import JPEG, LOAD, error, ok


def silent(header: Any, payload: Any) -> None:
    return None


async def test_a_silent_minion_costs_its_own_part_and_is_cancelled_at_the_deadline(cluster: Cluster) -> None:
    cluster.caption.behaviour = silent
    started = time.monotonic()
    response, body = await cluster.post(query="deadline_ms=150")
    took_s = time.monotonic() - started
    assert (response.status, body["status"]) == (200, "partial")
    assert body["results"]["captions"]["error"]["code"] == "deadline_exceeded"
    assert body["results"]["tags"]["output"] == TAGS
    assert 0.14 < took_s < 1
    await cluster.caption.until(lambda: cluster.caption.cancelled == [cluster.caption.requests[0][0]["id"]])
    assert cluster.app.directory.models["captions"].default.peers.all[0].replica.outstanding == 0


async def test_a_late_answer_is_discarded(cluster: Cluster) -> None:
    cluster.caption.delay_s = 0.15
    _, late = await cluster.post(query="deadline_ms=60&models=captions")
    assert late["code"] == "deadline_exceeded"
    cluster.caption.delay_s = 0
    response, body = await cluster.post(query="models=captions")
    assert (response.status, body["status"]) == (200, "ok")


async def test_a_silent_preprocessor_is_a_504_and_is_cancelled(cluster: Cluster) -> None:
    cluster.preprocessor.behaviour = silent
    response, problem = await cluster.post(query="deadline_ms=60")
    assert (response.status, problem["code"]) == (504, "deadline_exceeded")
    await cluster.preprocessor.until(lambda: len(cluster.preprocessor.cancelled) == 1)


async def test_a_caller_who_leaves_cancels_everything_downstream(cluster: Cluster) -> None:
    for tier in (cluster.tags, cluster.caption):
        tier.behaviour = silent
    call = asyncio.create_task(cluster.post(query="models=tags,captions"))
    await cluster.tags.until(lambda: bool(cluster.tags.requests))
    await cluster.caption.until(lambda: bool(cluster.caption.requests))
    call.cancel()
    await cluster.tags.until(lambda: bool(cluster.tags.cancelled))
    await cluster.caption.until(lambda: bool(cluster.caption.cancelled))
    assert cluster.app.gate.requests == 0
    assert cluster.app.gate.bytes == 0
    _, metrics = await cluster.get("/metrics", operations=True)
    assert b'crema_requests_total{code="499",model="",tier="coordinator",version=""} 1.0' in metrics


async def test_a_caller_who_leaves_during_preprocessing_cancels_it(cluster: Cluster) -> None:
    cluster.preprocessor.behaviour = silent
    call = asyncio.create_task(cluster.post())
    await cluster.preprocessor.until(lambda: bool(cluster.preprocessor.requests))
    call.cancel()
    await cluster.preprocessor.until(lambda: bool(cluster.preprocessor.cancelled))
    assert cluster.tags.requests == []


async def test_a_minion_that_dies_before_answering_is_a_retryable_503(cluster: Cluster) -> None:
    cluster.caption.behaviour = silent
    call = asyncio.create_task(cluster.post())
    await cluster.caption.until(lambda: bool(cluster.caption.requests))
    await cluster.caption.close()
    response, body = await call
    assert (response.status, response.headers["Retry-After"]) == (200, "1")
    assert body["results"]["captions"]["error"]["code"] == "not_ready"
    assert body["results"]["captions"]["error"]["retryable"] is True


async def test_a_preprocessor_that_dies_before_answering_is_a_503(cluster: Cluster) -> None:
    cluster.preprocessor.behaviour = silent
    call = asyncio.create_task(cluster.post())
    await cluster.preprocessor.until(lambda: bool(cluster.preprocessor.requests))
    await cluster.preprocessor.close()
    response, problem = await call
    assert (response.status, problem["code"]) == (503, "not_ready")


async def test_without_a_preprocessor_the_answer_is_503_at_once(cluster: Cluster) -> None:
    await cluster.reroute(preprocessors=[])
    started = time.monotonic()
    response, problem = await cluster.post()
    assert (response.status, problem["code"], response.headers["Retry-After"]) == (503, "not_ready", "1")
    assert problem["retry_after_ms"] == 1000
    assert time.monotonic() - started < 0.1


async def test_a_version_without_a_replica_is_503_for_its_part(cluster: Cluster) -> None:
    response, body = await cluster.post(query="models=tags,tags@2.9")
    assert (response.status, body["status"], response.headers["Retry-After"]) == (200, "partial", "1")
    failed = body["results"]["tags@2.9"]["error"]
    assert failed["code"] == "not_ready"
    assert "failed" in failed["message"]
    assert "worker died" not in failed["message"]


async def test_a_call_that_nobody_can_answer_is_not_decoded(cluster: Cluster) -> None:
    response, problem = await cluster.post(query="models=tags@2.9")
    assert (response.status, problem["code"]) == (503, "not_ready")
    assert list(problem["results"]) == ["tags@2.9"]
    assert cluster.preprocessor.requests == []


async def test_a_deadline_that_passes_during_the_upload_is_a_504(cluster: Cluster) -> None:
    async def slowly() -> Any:
        yield JPEG[:100]
        await asyncio.sleep(0.08)
        yield JPEG[100:]

    response, problem = await cluster.post(slowly(), "deadline_ms=50")
    assert (response.status, problem["code"]) == (504, "deadline_exceeded")
    assert cluster.preprocessor.requests == []


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (error(422, "item_rejected"), "item_rejected"),
        (error(502, "model_failed"), "model_failed"),
        (error(503, "not_ready", "draining"), "not_ready"),
        (error(504, "deadline_exceeded"), "deadline_exceeded"),
        (error(400, "invalid_request"), "internal"),
        ({"status": 500}, "internal"),
        ({"status": "200"}, "internal"),
        ({}, "internal"),
        ({"status": 200}, "model_output_invalid"),
        ({"status": 200, "outcomes": []}, "model_output_invalid"),
        ({"status": 200, "outcomes": [{"ok": 1}, {"ok": 2}]}, "model_output_invalid"),
        ({"status": 200, "outcomes": [7]}, "model_output_invalid"),
        ({"status": 200, "outcomes": [{}]}, "model_output_invalid"),
        ({"status": 200, "outcomes": {"0": {"ok": 1}}}, "model_output_invalid"),
        ({"status": 200, "outcomes_bytes": 99}, "model_output_invalid"),
        (({"status": 200, "outcomes_bytes": 1}, b"\xc1"), "model_output_invalid"),
        (({"status": 200, "outcomes_bytes": 2}, b"\x91\x01"), "model_output_invalid"),
        (
            {
                "status": 200,
                "outcomes": [{"error": {"code": "item_rejected", "message": "no", "retryable": False}}],
            },
            "item_rejected",
        ),
        ({"status": 200, "outcomes": [{"error": "boom"}]}, "internal"),
        (ok(TAGS, version="3.2"), "not_ready"),
        (ok(TAGS, model="captions"), "not_ready"),
    ],
    ids=repr,
)
async def test_whatever_a_minion_says_costs_only_its_own_part(
    cluster: Cluster, answer: Any, code: str
) -> None:
    cluster.tags.behaviour = lambda header, payload: answer
    response, body = await cluster.post()
    assert response.status == 200
    assert body["results"]["tags"]["error"]["code"] == code
    assert [body["results"][key]["status"] for key in ("aesthetics", "captions")] == ["ok", "ok"]


async def test_large_outcomes_come_in_the_payload(cluster: Cluster) -> None:
    output = {"embedding": [0.5] * 20_000, "dim": 20_000}
    packed = msgpack.packb([{"ok": output}])
    cluster.tags.behaviour = lambda header, payload: (
        {"status": 200, "outcomes_bytes": len(packed), "load": LOAD},
        packed,
    )
    _, body = await cluster.post()
    assert body["results"]["tags"]["output"] == output


@pytest.mark.parametrize(
    "timing", [None, 5, {}, {"queue_ms": "x", "inference_ms": float("nan"), "batch_size": -1}]
)
async def test_a_timing_that_makes_no_sense_is_left_out(cluster: Cluster, timing: Any) -> None:
    cluster.tags.behaviour = lambda header, payload: ok(TAGS) | {"timing": timing}
    _, body = await cluster.post()
    assert list(body["results"]["tags"]["timing"]) == ["total_ms"]


async def test_the_coordinators_own_gate_refuses_with_retry_after(cluster: Cluster) -> None:
    cluster.app.gate.max_requests = 1
    cluster.tags.behaviour = silent
    first = asyncio.create_task(cluster.post(query="models=tags&deadline_ms=400"))
    await cluster.tags.until(lambda: bool(cluster.tags.requests))
    response, problem = await cluster.post()
    assert (response.status, problem["code"]) == (429, "overloaded")
    assert int(response.headers["Retry-After"]) >= 1
    assert problem["retry_after_ms"] > 0
    health, _ = await cluster.get("/readyz")
    assert health.status == 200
    await first
    response, _ = await cluster.post(query="models=aesthetics")
    assert response.status == 200


async def test_photos_over_the_held_bytes_are_refused(cluster: Cluster) -> None:
    cluster.app.gate.max_bytes = len(JPEG) - 1
    response, problem = await cluster.post()
    assert (response.status, problem["code"]) == (429, "overloaded")
    assert cluster.app.gate.bytes == 0
    _, metrics = await cluster.get("/metrics", operations=True)
    assert (
        b'crema_refused_total{lane="interactive",model="",reason="full",tier="coordinator",version=""} 1.0'
        in metrics
    )


async def test_what_a_minion_tells_its_callers_to_do_is_not_told_to_ours(cluster: Cluster) -> None:
    said = "the worker died while it ran this batch; send the request to another replica"
    lost = {"code": "not_ready", "message": said, "retryable": True, "retry_after_ms": 700}
    for reply in ({**ok(None), "outcomes": [{"error": lost}]}, error(503, "not_ready", said)):
        cluster.tags.behaviour = lambda header, payload, reply=reply: reply  # type: ignore[misc]
        _, problem = await cluster.post(query="models=tags")
        told = problem["results"]["tags"]["error"]
        assert told["message"] == "the worker died while it ran this batch; try again"
        assert told["retry_after_ms"] > 0


async def test_an_image_with_too_many_pixels_is_refused_with_the_limit(cluster: Cluster) -> None:
    cluster.preprocessor.behaviour = lambda header, payload: error(413, "image_too_large")
    response, problem = await cluster.post()
    assert (response.status, problem["limit"]) == (413, 50_000_000)
