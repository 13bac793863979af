"""What selectors mean while the routing changes: labels and defaults that wait, canaries, replicas behind a name."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from structlog.testing import capture_logs

from coordinator.directory import Directory
from coordinator.discovery import Discovery, look_up
from coordinator.routing_file import Routing, parse_routing
from tests.coordinator.conftest import TAGS, Cluster
from tests.coordinator.stub_tiers import JPEG, StubMinion, card, ok, version_row, write_routing


def meaning(cluster: Cluster, selector: str) -> str:
    return cluster.app.directory.resolve(selector).version_text


async def test_a_label_moves_only_onto_a_version_that_is_ready(cluster: Cluster) -> None:
    models = cluster.models()
    versions = models["tags"]["versions"]
    versions["3.3"] = version_row([], card("tags", "3.3", output="tags"), state="starting")
    models["tags"]["labels"]["candidate"] = "3.3"
    await cluster.reroute(models)
    assert meaning(cluster, "tags@candidate") == "3.2"
    versions["3.3"] = version_row([cluster.new_tags.address], card("tags", "3.3", output="tags"))
    await cluster.reroute(models)
    assert meaning(cluster, "tags@candidate") == "3.3"


async def test_a_default_moves_only_onto_a_version_whose_replica_is_connected(cluster: Cluster) -> None:
    coming = StubMinion("tags", "3.3", lambda header, payload: ok(TAGS))
    await coming.start()
    address = coming.address
    await coming.close()
    models = cluster.models()
    models["tags"]["versions"]["3.3"] = version_row([address], card("tags", "3.3", output="tags"))
    models["tags"]["default"] = "3.3"
    await cluster.reroute(models)
    assert meaning(cluster, "tags") == "3.1"
    response, _ = await cluster.post(query="models=tags")
    assert response.status == 200
    await coming.start(int(address.rpartition(":")[2]))
    try:
        async with asyncio.timeout(5):
            while meaning(cluster, "tags") != "3.3":
                await asyncio.sleep(0.02)
        _, body = await cluster.post(query="models=tags")
        assert body["results"]["tags"]["version"] == "3.3"
    finally:
        await coming.close()


async def test_a_pointer_does_not_wait_for_a_version_that_cannot_serve_either(cluster: Cluster) -> None:
    models = cluster.models()
    models["tags"]["default"] = "2.9"
    for version in models["tags"]["versions"].values():
        version["replicas"] = []
    await cluster.reroute(models)
    assert meaning(cluster, "tags") == "2.9"


async def versions_met(cluster: Cluster, selector: str, keys: list[str]) -> list[str]:
    met = []
    for key in keys:
        url = f"{cluster.url}/v1/analyze?models={selector}"
        async with cluster.session.post(url, data=JPEG, headers={"X-Crema-Sticky": key}) as response:
            body = await response.json()
            met.append(body["results"][selector]["version"])
    return met


KEYS = [f"user-{n}" for n in range(40)]


@pytest.fixture
async def halves(cluster: Cluster) -> Cluster:
    """A cluster whose canary tags@3.2 has half of the callers."""
    models = cluster.models()
    models["tags"]["versions"]["3.2"]["canary_percent"] = 50
    await cluster.reroute(models)
    return cluster


async def test_a_sticky_key_always_meets_the_same_version(halves: Cluster) -> None:
    met = await versions_met(halves, "tags", KEYS)
    assert 8 <= met.count("3.2") <= 32
    assert await versions_met(halves, "tags", KEYS) == met
    assert await versions_met(halves, "tags@3", KEYS) == met


async def test_exact_versions_and_labels_know_no_canary(halves: Cluster) -> None:
    assert set(await versions_met(halves, "tags@3.1", KEYS[:20])) == {"3.1"}
    assert set(await versions_met(halves, "tags@candidate", KEYS[:20])) == {"3.2"}


async def test_without_a_sticky_key_the_request_id_decides(halves: Cluster) -> None:
    met = {}
    for key in KEYS[:20]:
        url = f"{halves.url}/v1/analyze?models=tags"
        async with (
            aiohttp.ClientSession() as plain,
            plain.post(url, data=JPEG, headers={"X-Request-Id": key}) as response,
        ):
            met[key] = (await response.json())["results"]["tags"]["version"]
    assert list(met.values()) == await versions_met(halves, "tags", KEYS[:20])


async def test_a_canary_without_a_replica_gets_nobody(halves: Cluster) -> None:
    models = halves.models()
    models["tags"]["versions"]["3.2"] |= {"canary_percent": 100, "replicas": []}
    await halves.reroute(models)
    assert set(await versions_met(halves, "tags", KEYS[:5])) == {"3.1"}


async def test_a_canary_that_does_not_know_a_param_does_not_get_it(halves: Cluster) -> None:
    models = halves.models()
    models["tags"]["versions"]["3.2"] |= {"canary_percent": 100}
    models["tags"]["versions"]["3.2"]["card"]["params"] = {}
    await halves.reroute(models)
    _, body = await halves.post(query="models=tags")
    assert body["results"]["tags"]["version"] == "3.2"
    query = {"models": [{"model": "tags", "params": {"max_tags": 3}}]}
    data = {"image": {"base64": base64.b64encode(JPEG).decode()}, **query}
    async with halves.session.post(f"{halves.url}/v1/analyze", json=data) as response:
        body = await response.json()
    assert body["results"]["tags"]["version"] == "3.1"


async def test_a_canary_with_another_input_is_prepared_for(halves: Cluster) -> None:
    models = halves.models()
    models["tags"]["versions"]["3.2"] |= {"canary_percent": 100}
    models["tags"]["versions"]["3.2"]["card"]["input"]["size"] = [6, 5]
    await halves.reroute(models)
    _, body = await halves.post(query="models=tags,captions")
    assert body["results"]["tags"]["version"] == "3.2"
    assert halves.new_tags.requests[-1][0]["items"][0]["shape"] == [5, 6, 3]
    assert halves.caption.requests[-1][0]["items"][0]["shape"] == [3, 3, 3]


# -- names ---------------------------------------------------------------------------------------------------------


class Names:
    """A resolver whose answers a test sets."""

    def __init__(self) -> None:
        self.addresses: list[str] | None = []

    async def __call__(self, host: str, port: int) -> list[str]:
        assert host == "tags-3-1"
        if self.addresses is None:
            raise OSError("no answer")
        return self.addresses


class Named:
    """A directory whose tags@3.1 stands behind a name."""

    def __init__(self, folder: Path) -> None:
        self.names = Names()
        self.path = folder / "routing.json"
        self.directory = Directory(self.path, discovery=Discovery(self.names))
        self.minions = [StubMinion("tags", "3.1", lambda header, payload: ok(TAGS)) for _ in range(2)]

    @property
    def replicas(self) -> set[str]:
        return {peer.client.address for peer in self.directory.resolve("tags").open_peers}


@pytest.fixture
async def named(tmp_path: Path) -> AsyncIterator[Named]:
    found = Named(tmp_path)
    for minion in found.minions:
        await minion.start()
    try:
        yield found
    finally:
        await found.directory.close()
        for minion in found.minions:
            await minion.close()


def routed(address: str) -> dict[str, Any]:
    row = version_row([address], card("tags", "3.1"))
    return {"tags": {"default": "3.1", "labels": {}, "versions": {"3.1": row}}}


async def test_every_address_of_a_name_is_a_replica_and_changes_are_followed(named: Named) -> None:
    one, two = (minion.address for minion in named.minions)
    named.names.addresses = [one]
    write_routing(named.path, routed("dns://tags-3-1:7000"), [], [])
    await named.directory.refresh()
    assert named.replicas == {one}
    named.names.addresses = [two, one, two]
    await named.directory.refresh_names()
    assert named.replicas == {one, two}
    named.names.addresses = [two]
    await named.directory.refresh_names()
    assert named.replicas == {two}


async def test_a_lookup_that_fails_leaves_the_replicas_in_force(named: Named) -> None:
    named.names.addresses = [named.minions[0].address]
    write_routing(named.path, routed("dns://tags-3-1:7000"), [], [])
    await named.directory.refresh()
    named.names.addresses = None
    await named.directory.refresh_names()
    assert named.replicas == {named.minions[0].address}


async def test_a_name_that_fails_is_logged_once_until_it_is_found_again(named: Named) -> None:
    write_routing(named.path, routed("dns://tags-3-1:7000"), [], [])
    found, lost = [named.minions[0].address], None
    with capture_logs() as logs:
        for named.names.addresses in (lost, lost, found, lost, lost):
            await named.directory.refresh()
            await named.directory.refresh_names()
    assert [each["event"] for each in logs if each["event"].startswith("name_")] == [
        "name_not_resolved",
        "name_resolved",
        "name_not_resolved",
    ]


async def test_an_unchanged_name_is_no_new_routing(named: Named) -> None:
    named.names.addresses = [named.minions[0].address]
    write_routing(named.path, routed("dns://tags-3-1:7000"), [], [])
    await named.directory.refresh()
    revision = named.directory.revision
    await named.directory.refresh_names()
    assert named.directory.revision == revision


async def test_a_name_that_never_answers_does_not_hold_up_the_routing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("coordinator.discovery.FIRST_WAIT_S", 0.01)

    async def never(host: str, port: int) -> list[str]:
        await asyncio.Event().wait()
        return []

    path = tmp_path / "routing.json"
    directory = Directory(path, discovery=Discovery(never))
    write_routing(path, routed("dns://tags-3-1:7000"), [], [])
    async with asyncio.timeout(5):
        await directory.refresh()
    assert directory.is_loaded
    assert directory.resolve("tags").open_peers == []


async def test_the_systems_resolver_gives_every_address_with_the_port(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert "127.0.0.1:7000" in await look_up("localhost", 7000)
    assert await look_up("127.0.0.2", 7000) == ["127.0.0.2:7000"]
    assert await look_up("::1", 7000) == ["[::1]:7000"]


def test_an_address_that_is_a_name_is_read_from_the_file() -> None:
    body = {"format": 1, "revision": 1, "models": routed("dns://tags-3-1:7000")}
    assert isinstance(parse_routing(json.dumps(body).encode()), Routing)
