"""Routes that every tier has: whether it lives, whether it is ready, its metrics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from crema.host.http_answer import Answer, answer
from crema.host.http_request import Request
from crema.host.http_responses import json_response
from crema.host.metrics import CONTENT_TYPE, Metrics
from crema.host.service import OPEN, Route


def health_routes(is_ready: Callable[[], tuple[bool, dict[str, Any]]]) -> list[Route]:
    """`/livez` and `/readyz`. `is_ready` gives the answer and further members of its body. Neither passes a gate."""

    async def livez(request: Request) -> Answer:
        return json_response({"live": True})

    async def readyz(request: Request) -> Answer:
        ready, more = is_ready()
        return json_response({"ready": ready, **more}, status=200 if ready else 503)

    return [Route("GET", "/livez", livez, OPEN), Route("GET", "/readyz", readyz, OPEN)]


def metrics_route(metrics: Metrics, refresh: Callable[[], None] = lambda: None) -> Route:
    """`/metrics`; `refresh` brings the gauges up to date first."""

    async def render(request: Request) -> Answer:
        refresh()
        return answer(metrics.render(), CONTENT_TYPE)

    return Route("GET", "/metrics", render, "metrics")
