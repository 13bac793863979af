"""Golden answers hold the shape of version 1: what a client saw once, it sees in every later release.

A change here is a change of the contract and may only add. `CREMA_GOLDEN=write` writes the files anew.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.coordinator.conftest import Cluster
from tests.coordinator.stub_tiers import JPEG, error, ok

GOLDEN = Path(__file__).resolve().parent.parent / "golden" / "api"
HEADERS = ("Content-Type", "X-Crema-Status", "Retry-After", "X-Request-Id", "Allow")
TEXT = base64.b64encode(JPEG).decode()

Setup = Callable[[Cluster], None]


def full(cluster: Cluster) -> None:
    cluster.caption.behaviour = lambda header, payload: error(
        429, "overloaded", "64 of 64 places taken on 2 minions", retry_after_ms=800
    )


def silent(cluster: Cluster) -> None:
    cluster.caption.behaviour = lambda header, payload: None


def rejecting(cluster: Cluster) -> None:
    failed = {"code": "item_rejected", "message": "too dark", "retryable": False}
    cluster.tags.behaviour = lambda header, payload: ok(None) | {"outcomes": [{"error": failed}]}


def undecodable(cluster: Cluster) -> None:
    cluster.preprocessor.behaviour = lambda header, payload: error(
        422, "undecodable_image", "the image is cut off"
    )


def nothing(cluster: Cluster) -> None:
    """Everything answers."""


def as_json(**members: Any) -> bytes:
    return json.dumps(members).encode()


# name → method, path and query, body, and what the tiers do
CASES: dict[str, tuple[str, str, bytes | None, Setup]] = {
    "analyze-ok": ("POST", "/v1/analyze?models=tags,aesthetics@2,captions@1.4", JPEG, nothing),
    "analyze-as": (
        "POST",
        "/v1/analyze",
        as_json(image={"base64": TEXT}, models=[{"model": "captions", "as": "caption"}]),
        nothing,
    ),
    "analyze-partial": ("POST", "/v1/analyze", JPEG, full),
    "analyze-late": ("POST", "/v1/analyze?deadline_ms=50&models=tags,captions", JPEG, silent),
    "problem-required": ("POST", "/v1/analyze?required=captions", JPEG, full),
    "problem-overloaded": ("POST", "/v1/analyze?models=captions", JPEG, full),
    "problem-deadline": ("POST", "/v1/analyze?models=captions&deadline_ms=50", JPEG, silent),
    "problem-rejected": ("POST", "/v1/analyze?models=tags", JPEG, rejecting),
    "problem-undecodable": ("POST", "/v1/analyze", JPEG, undecodable),
    "problem-not-ready": ("POST", "/v1/analyze?models=tags@2.9", JPEG, nothing),
    "problem-invalid-request": (
        "POST",
        "/v1/analyze?model=tags",
        as_json(image={"base64": "?"}, deadline_ms=-1),
        nothing,
    ),
    "problem-params": (
        "POST",
        "/v1/analyze",
        as_json(image={"base64": TEXT}, models=[{"model": "tags", "params": {"max_tag": 3}}]),
        nothing,
    ),
    "problem-invalid-json": ("POST", "/v1/analyze", b'{"image": }', nothing),
    "problem-empty": ("POST", "/v1/analyze", b"", nothing),
    "problem-heic": ("POST", "/v1/analyze", b"\0\0\0\x18ftypheic\0\0\0\0", nothing),
    "problem-url": ("POST", "/v1/analyze", as_json(image={"url": "https://example.com/a.jpg"}), nothing),
    "problem-unknown-model": ("POST", "/v1/analyze?models=tagz", JPEG, nothing),
    "problem-unknown-version": ("POST", "/v1/analyze?models=tags@candidat", JPEG, nothing),
    "problem-not-found": ("GET", "/v1/analyse", None, nothing),
    "problem-method": ("DELETE", "/v1/models", None, nothing),
    "batch": (
        "POST",
        "/v1/analyze/batch",
        as_json(images=[{"base64": TEXT}, {"base64": "?"}], models=["tags"]),
        nothing,
    ),
    "models": ("GET", "/v1/models", None, nothing),
    "model": ("GET", "/v1/models/tags", None, nothing),
    "ready": ("GET", "/readyz", None, nothing),
    "live": ("GET", "/livez", None, nothing),
}


def steady(value: Any, name: str = "") -> Any:
    """`value` without what differs from run to run: measured milliseconds become 0."""
    if isinstance(value, dict):
        return {key: steady(member, key) for key, member in value.items()}
    if isinstance(value, list):
        return [steady(member) for member in value]
    return 0.0 if name in ("total_ms", "preprocess_ms") else value


@pytest.mark.parametrize("name", CASES)
async def test_the_answer_is_the_golden_one(cluster: Cluster, name: str) -> None:
    method, path, body, setup = CASES[name]
    setup(cluster)
    async with cluster.session.request(
        method, cluster.url + path, data=body, headers={"X-Request-Id": "golden"}
    ) as response:
        seen = {
            "request": f"{method} {path}",
            "status": response.status,
            "headers": {key: response.headers[key] for key in HEADERS if key in response.headers},
            "body": steady(await response.json(content_type=None)),
        }
    file = GOLDEN / f"{name}.json"
    if os.environ.get("CREMA_GOLDEN") == "write":
        file.write_text(json.dumps(seen, indent=2) + "\n")
    # as text, so that the order of members counts too
    assert json.dumps(seen, indent=2) + "\n" == file.read_text()


def test_there_is_no_golden_answer_without_its_case() -> None:
    assert {file.stem for file in GOLDEN.glob("*.json")} == set(CASES)
