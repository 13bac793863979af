"""One event per request tells what operators ask for, and nothing of what callers sent."""

from __future__ import annotations

import base64
import io
import json
from typing import Any

from coordinator.journal import Journal
from tests.coordinator.conftest import Cluster
from tests.coordinator.stub_tiers import JPEG, error

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SECRET = "hunter2"


def events(cluster: Cluster) -> list[dict[str, Any]]:
    cluster.app.journal.flush()
    return [json.loads(line) for line in cluster.log.getvalue().splitlines()]


async def test_every_hop_has_its_time(cluster: Cluster) -> None:
    await cluster.post(
        query="models=tags&lane=bulk", headers={"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}
    )
    [event] = events(cluster)
    assert (event["trace_id"], event["lane"], event["body_bytes"]) == (TRACE, "bulk", len(JPEG))
    assert event["image"] == {"format": "jpeg", "width": 64, "height": 48, "bytes": len(JPEG)}
    [model] = event["models"]
    assert (model["model"], model["version"], model["outcome"]) == ("tags", "3.1", "ok")
    assert set(model["timing"]) == {"queue_ms", "inference_ms", "total_ms", "batch_size"}
    hops = event["body_ms"] + event["preprocess_ms"] + model["timing"]["total_ms"] + event["merge_ms"]
    assert 0 < hops <= event["total_ms"] + 0.3  # each is rounded to a tenth


async def test_a_call_that_is_refused_has_its_event_too(cluster: Cluster) -> None:
    await cluster.post(b"junk")
    await cluster.post(query="lane=x")
    assert [each["outcome"] for each in events(cluster)] == ["unsupported_media_type", "invalid_request"]


async def test_of_requests_without_problems_a_sample_is_written_and_of_others_every_one(
    cluster: Cluster,
) -> None:
    cluster.app.journal.sample = 0.0
    await cluster.post(query="models=tags")
    assert events(cluster) == []
    cluster.caption.behaviour = lambda header, payload: error(429, "overloaded", retry_after_ms=5)
    await cluster.post(query="models=tags,captions")
    await cluster.post(query="models=captions")
    await cluster.post(b"junk")
    images = json.dumps({"images": [{"base64": "?"}], "models": ["tags"]}).encode()
    await cluster.post(images, path="/v1/analyze/batch")
    assert [each["outcome"] for each in events(cluster)] == [
        "partial",
        "overloaded",
        "unsupported_media_type",
        "ok",
    ]


async def test_a_sample_is_about_as_large_as_it_is_asked_for() -> None:
    journal = Journal("coordinator", sample=0.25, stream=io.StringIO())
    assert 200 < sum(journal.wants(True) for _ in range(1000)) < 300
    assert all(journal.wants(False) for _ in range(100))


async def test_nothing_that_a_caller_sent_is_in_the_log_but_the_ids(cluster: Cluster) -> None:
    photo = JPEG + SECRET.encode()
    text = base64.b64encode(photo).decode()
    await cluster.post(photo, query=f"models={SECRET}")
    await cluster.post(photo, query=f"{SECRET}=1&models=tags")
    await cluster.post(
        photo, query="models=tags", headers={"Authorization": f"Bearer {SECRET}", "Cookie": SECRET}
    )
    members = {
        "image": {"base64": text},
        "models": [{"model": "tags", "as": SECRET, "params": {"note": SECRET}}],
    }
    await cluster.post(json.dumps(members).encode())
    await cluster.post(json.dumps({"image": {"url": f"https://{SECRET}.example/{SECRET}"}}).encode())
    await cluster.post(f'{{"{SECRET}": '.encode())
    assert len(events(cluster)) == 6
    log = cluster.log.getvalue()
    assert SECRET not in log
    assert text[:40] not in log
