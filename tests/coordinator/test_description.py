"""The description of the API is valid, complete, and true of what the coordinator answers."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from coordinator.description import description
from crema.errors import CODES
from tests.coordinator.conftest import Cluster
from tests.coordinator.stub_tiers import JPEG, error

TEXT = base64.b64encode(JPEG).decode()


def validator(name: str) -> Draft202012Validator:
    """A validator of one schema of the description."""
    return Draft202012Validator(
        {"$ref": f"#/components/schemas/{name}", "components": description()["components"]}
    )


def test_the_description_is_valid_openapi() -> None:
    OpenAPIV31SpecValidator(description()).validate()


def test_every_code_of_the_table_is_described() -> None:
    assert set(description()["components"]["schemas"]["Code"]["enum"]) == set(CODES)


async def test_the_routes_are_those_described(cluster: Cluster) -> None:
    described = {(method.upper(), path) for path, each in description()["paths"].items() for method in each}
    assert set(cluster.app.public.routes) == described


async def test_the_description_is_served_as_json(cluster: Cluster) -> None:
    response, body = await cluster.get("/openapi.json")
    assert (response.status, response.headers["Content-Type"]) == (200, "application/json")
    assert body == json.loads(json.dumps(description()))


@pytest.mark.parametrize(
    ("members", "is_good"),
    [
        ({"image": {"base64": TEXT}}, True),
        (
            {
                "image": {"base64": TEXT},
                "models": ["tags", {"model": "captions@1", "as": "c", "params": {}, "required": True}],
                "deadline_ms": 100.5,
                "lane": "bulk",
                "on_error": "fail",
            },
            True,
        ),
        ({"image": {"base64": TEXT}, "models": ["tags"], "required": ["tags"]}, True),
        ({}, False),
        ({"image": {}}, False),
        ({"image": TEXT}, False),
        ({"image": {"base64": TEXT, "url": "x"}}, False),
        ({"image": {"url": ""}}, False),
        ({"image": {"base64": TEXT}, "model": "tags"}, False),
        ({"image": {"base64": TEXT}, "models": []}, False),
        ({"image": {"base64": TEXT}, "models": [{"as": "x"}]}, False),
        ({"image": {"base64": TEXT}, "models": [{"model": "tags", "params": 1}]}, False),
        ({"image": {"base64": TEXT}, "deadline_ms": 0}, False),
        ({"image": {"base64": TEXT}, "deadline_ms": "5"}, False),
        ({"image": {"base64": TEXT}, "lane": "x"}, False),
        ({"image": {"base64": TEXT}, "on_error": None}, False),
    ],
    ids=lambda value: repr(value)[:50],
)
async def test_the_described_request_and_the_taken_request_are_the_same(
    cluster: Cluster, members: Any, is_good: bool
) -> None:
    assert validator("AnalyzeRequest").is_valid(members) == is_good
    response, _ = await cluster.post(json.dumps(members).encode())
    assert response.status == (200 if is_good else 400)


async def test_answers_and_problems_are_as_described(cluster: Cluster) -> None:
    _, answer = await cluster.post()
    validator("Answer").validate(answer)
    cluster.caption.behaviour = lambda header, payload: error(429, "overloaded", retry_after_ms=5)
    for query in (
        "",
        "required=captions",
        "models=nope",
        "models=tags@9",
        "lane=x&nope=1",
        "models=captions",
    ):
        response, body = await cluster.post(query=query)
        validator("Answer" if response.status == 200 else "Problem").validate(body)
    images = json.dumps({"images": [{"base64": TEXT}, {}], "models": ["tags"]}).encode()
    _, batch = await cluster.post(images, path="/v1/analyze/batch")
    validator("BatchAnswer").validate(batch)
    _, models = await cluster.get("/v1/models")
    validator("ModelList").validate(models)
    _, ready = await cluster.get("/readyz")
    validator("Readiness").validate(ready)
