"""Where Prometheus finds every tier."""

from __future__ import annotations

import json

from coordinator.discovery import Discovery
from coordinator.routing_file import Routing, parse_routing
from coordinator.scrape_targets import scrape_targets
from tests.coordinator.conftest import Cluster
from tests.coordinator.stub_tiers import card, model_row, version_row


def routing(**versions: dict[str, list[str]]) -> Routing:
    rows = {
        version.replace("v", "").replace("_", "."): version_row(
            each.get("replicas", []), card("tags", "3.1"), http=each.get("http", [])
        )
        for version, each in versions.items()
    }
    return parse_routing(
        json.dumps(
            {
                "format": 1,
                "revision": 1,
                "preprocessors": ["127.0.0.1:7100"],
                "preprocessors_http": ["127.0.0.1:7101"],
                "models": {"tags": model_row(next(iter(rows)), rows)},
            }
        ).encode()
    )


def test_every_tier_is_listed_with_its_labels() -> None:
    found = scrape_targets(
        routing(v3_1={"http": ["127.0.0.1:7001", "127.0.0.1:7003"]}), Discovery(), "127.0.0.1:8001"
    )
    assert found == [
        {"targets": ["127.0.0.1:8001"], "labels": {"tier": "coordinator"}},
        {"targets": ["127.0.0.1:7101"], "labels": {"tier": "preprocessor"}},
        {
            "targets": ["127.0.0.1:7001", "127.0.0.1:7003"],
            "labels": {"tier": "minion", "model": "tags", "version": "3.1"},
        },
    ]


def test_a_version_that_does_not_run_is_left_out() -> None:
    found = scrape_targets(routing(v3_1={}), Discovery(), "127.0.0.1:8001")
    assert [group["labels"]["tier"] for group in found] == ["coordinator", "preprocessor"]


async def test_of_a_name_every_address_has_its_metrics_on_the_next_port() -> None:
    async def look_up(host: str, port: int) -> list[str]:
        return [f"10.0.0.{n}:{port}" for n in (1, 2)]

    discovery = Discovery(look_up)
    name = "dns://tags-3-1:7000"
    await discovery.prepare([name])
    found = scrape_targets(routing(v3_1={"replicas": [name]}), discovery, "c:8001")
    assert found[-1]["targets"] == ["10.0.0.1:7001", "10.0.0.2:7001"]


def test_before_there_is_a_routing_there_is_the_coordinator() -> None:
    assert scrape_targets(None, Discovery(), "c:8001") == [
        {"targets": ["c:8001"], "labels": {"tier": "coordinator"}}
    ]


async def test_the_list_is_on_the_operations_listener_and_nowhere_else(cluster: Cluster) -> None:
    response, body = await cluster.get("/sd", operations=True)
    assert response.status == 200 and response.headers["Content-Type"].startswith("application/json")
    assert body[0]["labels"] == {"tier": "coordinator"}
    response, _ = await cluster.get("/sd")
    assert response.status == 404
