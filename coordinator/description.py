"""The API's description: `openapi.yaml`, served as JSON."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

import msgspec
import yaml

from crema.host.http_answer import Answer, answer
from crema.host.http_request import Request
from crema.host.service import OPEN, Route


@cache
def description() -> dict[str, Any]:
    """The hand-written OpenAPI 3.1 description."""
    loaded = yaml.safe_load(files("coordinator").joinpath("openapi.yaml").read_text("utf-8"))
    assert isinstance(loaded, dict)
    return loaded


def description_routes() -> list[Route]:
    """`/openapi.json`."""
    body = msgspec.json.encode(description())

    async def handler(request: Request) -> Answer:
        return answer(body, "application/json", headers={"X-Content-Type-Options": "nosniff"})

    return [Route("GET", "/openapi.json", handler, OPEN)]
