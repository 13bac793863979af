"""The main call, end to end: the three reference packages, each in its own process and its own real virtualenv."""

from __future__ import annotations

import base64
import json
import os
import re
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest

from tests.cluster.running import ROOT, RunningCluster, running_cluster

MODELS = ("tags", "aesthetics", "captions")
SAMPLES = sorted((ROOT / "samples").glob("*.jpg"))
COFFEE = (ROOT / "samples" / "coffee.jpg").read_bytes()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCluster]:
    """The repository's own cluster file and packages, on free ports; environments are built where they are missing."""
    folder = tmp_path_factory.mktemp("reference")
    runtime = folder / "runtime"
    runtime.mkdir()
    written = (ROOT / "cluster.yaml").read_text()
    listeners = re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:0", written)
    before, os.environ["XDG_RUNTIME_DIR"] = os.environ.get("XDG_RUNTIME_DIR"), str(runtime)
    try:
        packages = [path.parent for path in sorted((ROOT / "model_packages").glob("*/*/model.yaml"))]
        # a bare machine downloads and builds two environments first
        cluster_yaml = listeners
        with running_cluster(
            folder / "site", packages, cluster_yaml=cluster_yaml, python=None, patience_s=600
        ) as running:
            running.wait_all_ready(60)
            yield running
    finally:
        if before is None:
            del os.environ["XDG_RUNTIME_DIR"]
        else:
            os.environ["XDG_RUNTIME_DIR"] = before


def call(
    cluster: RunningCluster, body: bytes, query: str = "", headers: dict[str, str] | None = None
) -> tuple[int, dict[str, str], bytes]:
    """POST /v1/analyze: status, headers, body."""
    request = urllib.request.Request(f"{cluster.url}/v1/analyze{query}", data=body, headers=headers or {})
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.status, dict(response.headers), response.read()
    except urllib.error.HTTPError as refusal:
        with refusal:
            return refusal.code, dict(refusal.headers), refusal.read()


def check_results(results: dict[str, Any]) -> None:
    """One output of each type, whole and in range."""
    assert list(results) == list(MODELS)
    assert all(part["status"] == "ok" for part in results.values())
    confidences = [tag["confidence"] for tag in results["tags"]["output"]["tags"]]
    assert confidences == sorted(confidences, reverse=True)
    assert all(0 <= confidence <= 1 for confidence in confidences)
    assert 0 <= results["aesthetics"]["output"]["score"] <= 1
    caption = results["captions"]["output"]["caption"]
    assert len(caption["text"].split()) >= 3
    assert 0 <= caption["confidence"] <= 1
    for part in results.values():
        assert {"queue_ms", "inference_ms", "total_ms", "batch_size"} == set(part["timing"])


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.name)
def test_every_sample_photo_is_answered_by_all_three_models(cluster: RunningCluster, sample: Path) -> None:
    status, headers, body = call(cluster, sample.read_bytes(), "?models=tags,aesthetics,captions")
    answer = json.loads(body)
    assert (status, answer["status"], headers["X-Crema-Status"]) == (200, "ok", "ok")
    assert answer["id"] == headers["X-Request-Id"]
    assert answer["image"]["format"] == "jpeg"
    assert answer["image"]["bytes"] == sample.stat().st_size
    check_results(answer["results"])


def test_a_drawn_lake_is_recognised_through_the_whole_system(cluster: RunningCluster) -> None:
    _, _, body = call(cluster, (ROOT / "samples" / "drawn-lake.jpg").read_bytes())
    results = json.loads(body)["results"]
    assert "lake" in [tag["name"] for tag in results["tags"]["output"]["tags"] if tag["confidence"] > 0.5]


def test_the_form_way_gives_the_same_outputs(cluster: RunningCluster) -> None:
    boundary = uuid.uuid4().hex
    form = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="models"\r\n\r\n{",".join(MODELS)}\r\n'
        f'--{boundary}\r\nContent-Disposition: form-data; name="image"; filename="a.jpg"\r\n'
        "Content-Type: image/jpeg\r\n\r\n"
    ).encode()
    form += COFFEE + f"\r\n--{boundary}--\r\n".encode()
    status, _, body = call(cluster, form)
    assert status == 200
    check_results(json.loads(body)["results"])


def test_the_json_way_takes_params_and_names_of_its_own(cluster: RunningCluster) -> None:
    asked = {
        "image": {"base64": base64.b64encode(COFFEE).decode()},
        "models": ["aesthetics@2", {"model": "tags@3.1", "as": "top", "params": {"max_tags": 3}}],
        "deadline_ms": 5000,
    }
    status, _, body = call(cluster, json.dumps(asked).encode())
    results = json.loads(body)["results"]
    assert status == 200
    assert list(results) == ["aesthetics@2", "top"]
    assert len(results["top"]["output"]["tags"]) == 3


def test_msgpack_goes_in_and_out(cluster: RunningCluster) -> None:
    packed = msgpack.packb({"image": {"bytes": COFFEE}, "models": list(MODELS)})
    status, _, body = call(cluster, packed, headers={"Accept": "application/msgpack"})
    assert status == 200
    check_results(msgpack.unpackb(body)["results"])


def environment_of(pid: int) -> Path:
    """The virtualenv whose Python runs this process."""
    command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0].decode()
    return Path(command).parent.parent


def numpy_in_use(pid: int) -> str:
    """The version of the numpy that the process has mapped."""
    mapped = re.search(r"(\S+/site-packages)/numpy/\S+\.so", Path(f"/proc/{pid}/maps").read_text())
    assert mapped is not None
    [info] = Path(mapped[1]).glob("numpy-*.dist-info")
    return info.name.removeprefix("numpy-").removesuffix(".dist-info")


def test_two_numpys_that_exclude_each_other_are_alive_at_once(cluster: RunningCluster) -> None:
    [aesthetics] = cluster.pids("minion", "worker", "aesthetics")
    [tags] = cluster.pids("minion", "worker", "tags")
    assert numpy_in_use(aesthetics).startswith("1.26.")
    assert numpy_in_use(tags).startswith("2.")


def test_equal_locks_share_one_environment_and_the_onnx_one_has_no_torch(cluster: RunningCluster) -> None:
    environments = {model: environment_of(cluster.pids("minion", "worker", model)[0]) for model in MODELS}
    assert environments["tags"] != environments["aesthetics"]
    locks = {
        model: next((ROOT / "model_packages" / model).glob("*/requirements.cpu.lock")).read_bytes()
        for model in MODELS
    }
    if locks["tags"] == locks["captions"]:
        assert environments["tags"] == environments["captions"]
    installed = {
        path.name.partition("-")[0]
        for path in environments["aesthetics"].glob("lib/*/site-packages/*.dist-info")
    }
    assert "onnxruntime" in installed
    assert "torch" not in installed


def test_every_model_runs_in_a_process_of_its_own(cluster: RunningCluster) -> None:
    hosts = {model: cluster.pids("minion", "host", model) for model in MODELS}
    workers = {model: cluster.pids("minion", "worker", model) for model in MODELS}
    assert len({pid for pids in [*hosts.values(), *workers.values()] for pid in pids}) == 6


@pytest.mark.parametrize(
    ("body", "query", "status", "code"),
    [
        (b"certainly not an image", "", 415, "unsupported_media_type"),
        (b"", "", 400, "invalid_request"),
        (COFFEE, "?models=tgas", 404, "unknown_model"),
        (COFFEE, "?models=tags@9.9", 404, "unknown_version"),
        (COFFEE[:2000], "", 422, "undecodable_image"),
        (COFFEE + b"\0" * (20 * 1024 * 1024), "", 413, "image_too_large"),
        (b'{"image": ', "", 400, "invalid_json"),
        (COFFEE, "?deadline_ms=soon", 400, "invalid_request"),
    ],
)
def test_what_is_wrong_is_told_as_a_problem_document(
    cluster: RunningCluster, body: bytes, query: str, status: int, code: str
) -> None:
    got, headers, answer = call(cluster, body, query)
    problem = json.loads(answer)
    assert (got, problem["status"], problem["code"]) == (status, status, code)
    assert headers["Content-Type"].startswith("application/problem+json")
    assert problem["request_id"] == headers["X-Request-Id"]
    assert problem["detail"]
    if code == "unknown_model":
        assert problem["did_you_mean"][0] == "tags"
        assert sorted(MODELS) == sorted(problem["available"])


def test_the_photo_is_decoded_once_for_three_models(cluster: RunningCluster) -> None:
    http = cluster.port("preprocessor", "http")

    def decodes() -> float:
        text = urllib.request.urlopen(f"http://127.0.0.1:{http}/metrics", timeout=10).read().decode()
        found = re.search(r'crema_preprocess_seconds_count\{stage="decode"\} (\S+)', text)
        return float(found[1]) if found else 0.0

    before = decodes()
    status, _, _ = call(cluster, COFFEE, "?models=tags,aesthetics,captions")
    assert status == 200
    assert decodes() == before + 1
