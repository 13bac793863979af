"""Scrape targets: where Prometheus finds the metrics of every tier, as its `http_sd` wants to be told (`GET /sd`).

The routing says where replicas have their HTTP: those that are starting too. Of what is found by name only the channel
is known; there the HTTP port is the next one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from coordinator.discovery import PREFIX, Discovery
from coordinator.routing_file import Routing
from crema.host.http_answer import Answer
from crema.host.http_request import Request
from crema.host.http_responses import json_response
from crema.host.service import Route


def scrape_targets(routing: Routing | None, discovery: Discovery, operations: str) -> list[dict[str, Any]]:
    """Groups of `targets` with their `labels`; a version without any target is left out. `operations` is this listener's
    own address."""
    groups = [_group([operations], tier="coordinator")]
    if routing is None:
        return groups
    found = _addresses(routing.preprocessors_http, routing.preprocessors, discovery)
    if found:
        groups.append(_group(found, tier="preprocessor"))
    for name, model in sorted(routing.models.items()):
        for version, row in model.versions.items():
            found = _addresses(row.http, row.replicas, discovery)
            if found:
                groups.append(_group(found, tier="minion", model=name, version=version))
    return groups


def targets_route(routing: Callable[[], Routing | None], discovery: Discovery) -> Route:
    """`GET /sd`. The coordinator is listed under the address that it was asked at."""

    async def answer(request: Request) -> Answer:
        # HTTP/1.0 need not say
        asked_at = request.authority or request.headers.get("Host") or "localhost"
        return json_response(scrape_targets(routing(), discovery, asked_at))

    return Route("GET", "/sd", answer, "metrics")


def _group(targets: list[str], **labels: str) -> dict[str, Any]:
    return {"targets": targets, "labels": labels}


def _addresses(http: Iterable[str], channels: Iterable[str], discovery: Discovery) -> list[str]:
    named = discovery.expand(each for each in channels if each.startswith(PREFIX))
    return [*http, *map(_next_port, named)]


def _next_port(address: str) -> str:
    host, _, port = address.rpartition(":")
    return f"{host}:{int(port) + 1}"
