"""The description is the contract: what is generated from it is taken or refused as it says, and answers are as described."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest
from jsonschema import Draft202012Validator

from tests.cluster.running import ROOT, RunningCluster, running_cluster
from tests.cluster.toy_packages import write_package, write_photo

# Enough to reach every parameter, member and boundary; `-n 200` by hand looks deeper.
EXAMPLES = 15


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCluster]:
    folder = tmp_path_factory.mktemp("contract")
    packages = [write_package(folder / "packages", name) for name in ("tags", "captions")]
    with running_cluster(folder / "site", packages, cluster_yaml="default_models: [tags]\n") as running:
        yield running


def test_schemathesis_finds_nothing(cluster: RunningCluster) -> None:
    run = subprocess.run(
        [
            Path(sys.executable).with_name("schemathesis"), "run", f"{cluster.url}/openapi.json",
            "--checks", "all", "--max-examples", str(EXAMPLES), "--seed", "20", "--no-color", "--continue-on-failure",
        ],
        cwd=ROOT, capture_output=True, text=True, timeout=150,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout[-6000:] + run.stderr[-2000:]
    assert "Operations:       8 selected / 8 total" in run.stdout


class Contract:
    """The description as the cluster serves it."""

    def __init__(self, cluster: RunningCluster) -> None:
        self.url = cluster.url
        with urllib.request.urlopen(f"{self.url}/openapi.json", timeout=10) as response:
            self.described = json.loads(response.read())

    def check(self, schema: Any, value: Any) -> None:
        Draft202012Validator({**schema, "components": self.described["components"]}).validate(value)

    def call(self, method: str, path: str, body: bytes | None = None, **headers: str) -> int:
        """Make a call and hold what was sent and what came against the description; returns the status."""
        operation = self.described["paths"][path.partition("?")[0]][method.lower()]
        if headers.get("Content-Type") == "application/json":
            assert body is not None
            content = operation["requestBody"]["content"]["application/json"]
            self.check(content["schema"], json.loads(body))
        request = urllib.request.Request(self.url + path, data=body, method=method, headers=headers)
        try:
            response = urllib.request.urlopen(request, timeout=30)
        except urllib.error.HTTPError as refusal:
            response = refusal
        with response:
            raw, kind = response.read(), response.headers["Content-Type"].partition(";")[0]
            described = operation["responses"][str(response.status)]
            if "$ref" in described:
                described = self.described["components"]["responses"][described["$ref"].rpartition("/")[2]]
            schema = described["content"][kind].get("schema", {})
            if kind == "application/msgpack":
                as_json = described["content"]["application/json"]["schema"]
                self.check(as_json, msgpack.unpackb(raw))
            elif kind in ("application/json", "application/problem+json"):
                self.check(schema, json.loads(raw))
            for name in described.get("headers", {}):
                if name not in ("Retry-After",):
                    assert name in response.headers, f"{name} is described and was not sent"
            return int(response.status)


@pytest.fixture(scope="module")
def contract(cluster: RunningCluster) -> Contract:
    return Contract(cluster)


@pytest.mark.parametrize("accept", ["*/*", "application/msgpack"])
def test_requests_and_answers_are_as_described(contract: Contract, tmp_path: Path, accept: str) -> None:
    photo = write_photo(tmp_path / "photo.png").read_bytes()
    text = base64.b64encode(photo).decode()
    asked = {
        "image": {"base64": text},
        "models": ["tags", {"model": "captions@1.0", "as": "c", "required": True}],
        "deadline_ms": 4000,
        "lane": "bulk",
        "on_error": "fail",
    }
    json_type = {"Content-Type": "application/json", "Accept": accept}
    assert contract.call("POST", "/v1/analyze", json.dumps(asked).encode(), **json_type) == 200
    assert contract.call("POST", "/v1/analyze?models=tags,captions", photo, Accept=accept) == 200
    batch = {"images": [{"base64": text}, {"base64": text[:40]}], "models": ["tags"]}
    assert contract.call("POST", "/v1/analyze/batch", json.dumps(batch).encode(), **json_type) == 200
    assert contract.call("GET", "/v1/models", Accept=accept) == 200


def test_what_is_refused_is_refused_as_described(contract: Contract, tmp_path: Path) -> None:
    photo = write_photo(tmp_path / "photo.png").read_bytes()
    refused = {
        "?models=tgas": 404, "?models=tags@7": 404, "?lane=x": 400, "?required=captions": 400, "?model=tags": 400,
    }  # fmt: skip
    for query, status in refused.items():
        assert contract.call("POST", f"/v1/analyze{query}", photo) == status
    assert contract.call("POST", "/v1/analyze", photo[:60]) == 422
    assert contract.call("POST", "/v1/analyze", b"words") == 415
    assert contract.call("POST", "/v1/analyze", b"") == 400
    assert contract.call("POST", "/v1/analyze", photo + bytes(20 << 20)) == 413


def test_every_example_of_the_description_fits_its_schema(contract: Contract) -> None:
    schemas = contract.described["components"]["schemas"]
    shown = {name: schema["example"] for name, schema in schemas.items() if "example" in schema}
    assert {"AnalyzeRequest", "BatchRequest"} <= set(shown)
    for name, example in shown.items():
        contract.check({"$ref": f"#/components/schemas/{name}"}, example)
