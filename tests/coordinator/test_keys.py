"""Callers with keys: which scope opens which route, decided before the body is read, and nothing told to strangers."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from coordinator.app import App
from coordinator.keys import Guard, KeyRing
from crema.host.http_responses import json_response
from crema.host.key_file import SCOPES, KeyFile, Scope
from crema.host.service import OPEN, UNDECLARED, Route, Service
from tests.coordinator.conftest import Cluster
from tests.coordinator.stub_tiers import JPEG

NOW = datetime.now(UTC)
STALE = NOW - timedelta(days=2)


class Keyed:
    """A cluster of stubs whose coordinator asks for keys; one key per scope, by the scope's name."""

    def __init__(self, folder: Path) -> None:
        self.file = KeyFile(folder / "keys.json")
        self.keys: dict[str, str] = {
            scope: self.file.new(f"only-{scope}", [scope], NOW)[1] for scope in SCOPES
        }
        self.keys["both"] = self.file.new("both", ["infer", "bulk"], NOW)[1]
        self.ring = KeyRing(self.file.path)
        self.ring.read()
        self.cluster = Cluster(folder, self.ring)

    def new(self, name: str, *scopes: Scope, **options: Any) -> str:
        """A key that is in force."""
        text = self.file.new(name, scopes, NOW, **options)[1]
        self.ring.read()
        return text

    def bearer(self, name: str) -> dict[str, str]:
        """The header that shows a key."""
        return {"Authorization": f"Bearer {self.keys[name]}"}


@pytest.fixture
async def keyed(tmp_path: Path) -> AsyncIterator[Keyed]:
    found = Keyed(tmp_path)
    await found.cluster.start()
    try:
        yield found
    finally:
        await found.cluster.close()


def all_routes(folder: Path) -> list[tuple[str, Route]]:
    """(listener, route) of everything that a coordinator serves."""
    app = App(folder / "routing.json")
    return [
        *(("public", route) for route in app.public_routes()),
        *(("operations", route) for route in app.operations_routes()),
    ]


# -- scope x route -------------------------------------------------------------------------------------------------


async def test_every_route_declares_its_scope(tmp_path: Path) -> None:
    undeclared = [
        (listener, route.method, route.path)
        for listener, route in all_routes(tmp_path)
        if route.scope == UNDECLARED or route.scope not in (OPEN, *SCOPES)
    ]
    assert undeclared == []


async def test_health_and_description_alone_are_open(tmp_path: Path) -> None:
    found = {route.path for _, route in all_routes(tmp_path) if route.scope == OPEN}
    assert found == {"/livez", "/readyz", "/servez", "/openapi.json", "/docs", "/docs/{file}"}


async def test_each_scope_opens_its_routes_and_no_others(keyed: Keyed, tmp_path: Path) -> None:
    cluster = keyed.cluster
    # the operations listener is asked as it is beyond loopback, where metrics need a key, too
    cluster.app.operations_guard.listens_here_only = False
    for listener, route in all_routes(tmp_path):
        for shown in (None, *SCOPES, "wrong"):
            headers = {} if shown is None else keyed.bearer(shown) if shown != "wrong" else WRONG
            path = route.path.replace("{name}", "tags").replace("{file}", "start.js")
            base = cluster.operations_url if listener == "operations" else cluster.url
            data = JPEG if route.method == "POST" and "batch" not in path else None
            async with cluster.session.request(
                route.method, base + path, data=data, headers=headers
            ) as answer:
                status = answer.status
            if route.scope == OPEN:
                assert status == 200, (listener, route.path, shown)
            elif shown in (None, "wrong"):
                assert status == 401, (listener, route.path, shown)
            elif shown != route.scope:
                assert status == 403, (listener, route.path, shown)
            else:
                assert status in (200, 400), (listener, route.path, shown)


WRONG = {"Authorization": "Bearer crema_000000000000_" + "A" * 43}


async def test_admin_needs_its_header_besides_the_scope(keyed: Keyed) -> None:
    async def deploy(request: Any) -> Any:
        return json_response({})

    guard = Guard(keyed.ring)
    service = Service([guard.guarded(Route("POST", "/v1/admin/release", deploy, "admin"))])
    port = await service.start("127.0.0.1", 0)
    url = f"http://127.0.0.1:{port}/v1/admin/release"
    try:
        statuses = []
        for headers in (
            keyed.bearer("admin"),
            {"X-Crema-Admin": "1"},
            {"X-Crema-Admin": "1", **keyed.bearer("both")},
            {"X-Crema-Admin": "1", **keyed.bearer("admin")},
        ):
            async with keyed.cluster.session.post(url, headers=headers) as answer:
                statuses.append(answer.status)
        assert statuses == [403, 401, 403, 200]
    finally:
        await service.close(0)


async def test_a_route_that_declares_nothing_opens_for_nobody(keyed: Keyed) -> None:
    async def handler(request: Any) -> Any:
        return json_response({})

    service = Service([Guard(keyed.ring).guarded(Route("GET", "/new", handler))])
    port = await service.start("127.0.0.1", 0)
    try:
        for scope in SCOPES:
            async with keyed.cluster.session.get(
                f"http://127.0.0.1:{port}/new", headers=keyed.bearer(scope)
            ) as answer:
                assert answer.status == 403
    finally:
        await service.close(0)


async def test_metrics_on_loopback_need_no_key(keyed: Keyed) -> None:
    response, _ = await keyed.cluster.get("/metrics", operations=True)
    assert response.status == 200


# -- what callers see ----------------------------------------------------------------------------------------------


async def test_unknown_wrong_expired_and_revoked_keys_are_told_the_same(keyed: Keyed) -> None:
    expired = keyed.file.new("old", ["infer"], STALE, lasts=timedelta(days=1))[1]
    key, revoked = keyed.file.new("gone", ["infer"], NOW)
    keyed.file.revoke(key.id, NOW)
    keyed.ring.read()
    good = keyed.keys["infer"]
    told = set()
    for shown in (
        WRONG["Authorization"][7:],
        good[:-1] + ("A" if good[-1] != "A" else "B"),
        expired,
        revoked,
        "x",
    ):
        response, problem = await keyed.cluster.post(headers={"Authorization": f"Bearer {shown}"})
        assert response.headers["WWW-Authenticate"].startswith("Bearer")
        told.add((response.status, problem["code"], problem["detail"]))
        assert shown not in json.dumps(problem) or shown == "x"
    assert len(told) == 1
    assert told.pop()[:2] == (401, "unauthenticated")


async def test_a_key_may_come_in_either_header(keyed: Keyed) -> None:
    for headers in (
        keyed.bearer("infer"),
        {"Authorization": "bearer  " + keyed.keys["infer"]},
        {"X-API-Key": keyed.keys["infer"]},
        {"Authorization": "Basic eDp5", "X-API-Key": keyed.keys["infer"]},
    ):
        response, _ = await keyed.cluster.post(headers=headers)
        assert response.status == 200, headers


async def test_a_bad_key_is_refused_before_its_20_mib_are_read(keyed: Keyed) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(keyed.cluster.url.rpartition(":")[2]))
    head = f"POST /v1/analyze HTTP/1.1\r\nHost: x\r\nAuthorization: {WRONG['Authorization']}\r\nContent-Length: {20 << 20}\r\n\r\n"
    began = time.monotonic()
    writer.write(head.encode() + JPEG)
    status = await asyncio.wait_for(reader.readline(), 5)
    took_s = time.monotonic() - began
    rest = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
    writer.close()
    assert b" 401 " in status
    assert b"connection: close" in rest.lower()
    assert took_s < 0.5
    assert keyed.cluster.preprocessor.requests == []


async def test_the_lane_bulk_needs_its_scope_wherever_it_is_asked_for(keyed: Keyed) -> None:
    form = {"image": {"base64": "/9j/4AAQSkZJRg=="}, "lane": "bulk"}
    for query, body in (("lane=bulk", JPEG), ("", json.dumps(form).encode())):
        response, problem = await keyed.cluster.post(body, query, headers=keyed.bearer("infer"))
        assert (response.status, problem["code"]) == (403, "forbidden")
        assert "bulk" in problem["detail"]
        response, _ = await keyed.cluster.post(body, query, headers=keyed.bearer("both"))
        assert response.status == 200
    assert {header["lane"] for header, _ in keyed.cluster.tags.requests} == {"bulk"}


async def test_the_limits_of_a_key_are_429_with_their_own_reason(keyed: Keyed) -> None:
    text = keyed.new("slow", "infer", rate_per_s=1.0)
    headers = {"Authorization": f"Bearer {text}"}
    assert (await keyed.cluster.post(headers=headers))[0].status == 200
    response, problem = await keyed.cluster.post(headers=headers)
    assert (response.status, problem["code"]) == (429, "overloaded")
    assert int(response.headers["Retry-After"]) >= 1
    assert problem["retry_after_ms"] <= 1000
    _, metrics = await keyed.cluster.get("/metrics", operations=True)
    line = (
        b'crema_refused_total{lane="interactive",model="",reason="quota",tier="coordinator",version=""} 1.0'
    )
    assert line in metrics


async def test_calls_in_flight_are_counted_until_they_end(keyed: Keyed) -> None:
    headers = {"Authorization": f"Bearer {keyed.new('one', 'infer', concurrency=1)}"}
    keyed.cluster.tags.delay_s = 0.2
    first = asyncio.create_task(keyed.cluster.post(query="models=tags", headers=headers))
    await keyed.cluster.tags.until(lambda: bool(keyed.cluster.tags.requests))
    assert (await keyed.cluster.post(query="models=tags", headers=headers))[0].status == 429
    assert (await first)[0].status == 200
    keyed.cluster.tags.delay_s = 0
    assert (await keyed.cluster.post(query="models=tags", headers=headers))[0].status == 200
    # mistakes and refusals give back what they took
    for body in (b"junk", b"", JPEG):
        await keyed.cluster.post(body, "models=nothing", headers=headers)
    assert keyed.ring.account("one").quota.in_flight == 0
    assert keyed.cluster.app.gate.requests == keyed.cluster.app.gate.bytes == 0


async def test_the_journal_names_the_key_and_never_shows_it(keyed: Keyed) -> None:
    await keyed.cluster.post(headers=keyed.bearer("both"))
    await keyed.cluster.post(headers=WRONG)
    keyed.cluster.app.journal.flush()
    text = keyed.cluster.log.getvalue()
    assert [json.loads(line).get("key") for line in text.splitlines()] == ["both", None]
    assert [json.loads(line)["status"] for line in text.splitlines()] == [200, 401]
    assert not any(key in text for key in [*keyed.keys.values(), WRONG["Authorization"][7:]])
    _, metrics = await keyed.cluster.get("/metrics", operations=True)
    assert b'crema_requests_total{code="401",model="",tier="coordinator",version=""} 1.0' in metrics


async def test_no_header_of_a_caller_reaches_the_tiers(keyed: Keyed) -> None:
    forged = dict.fromkeys(("X-Crema-Lane", "X-Crema-Key", "X-Crema-Remaining-Ms", "X-Crema-Role", "X-Crema-Token", "X-Real-IP"), "forged")  # fmt: skip
    await keyed.cluster.post(
        query="models=tags&deadline_ms=1e308", headers={**keyed.bearer("infer"), **forged, "X-Deadline": "1"}
    )
    [(to_preprocessor, _)] = keyed.cluster.preprocessor.requests
    [(to_minion, _)] = keyed.cluster.tags.requests
    common = {"v", "id", "kind", "request_id", "remaining_ms", "lane"}
    assert to_preprocessor.keys() == common | {"specs"}
    assert to_minion.keys() == common | {"items"}
    assert to_minion["lane"] == "interactive"
    assert to_minion["remaining_ms"] <= 25_000
    assert "forged" not in str(to_minion) + str(to_preprocessor)


# -- the file while it is followed ---------------------------------------------------------------------------------


async def test_a_change_of_the_file_is_in_force_within_five_seconds(
    keyed: Keyed, monkeypatch: pytest.MonkeyPatch
) -> None:
    [key] = [each for each in keyed.file.read().records if each.name == "both"]
    assert (await keyed.cluster.post(headers=keyed.bearer("both")))[0].status == 200
    keyed.file.revoke(key.id, NOW)
    async with asyncio.timeout(5):
        while (await keyed.cluster.post(headers=keyed.bearer("both")))[0].status != 401:
            await asyncio.sleep(0.05)


def test_the_first_key_closes_what_was_open_and_nothing_opens_it_again(tmp_path: Path) -> None:
    file = KeyFile(tmp_path / "keys.json")
    ring = KeyRing(file.path)
    ring.read()
    assert ring.is_open
    _, text = file.new("app", ["infer"], NOW)
    ring.read()
    assert not ring.is_open
    assert ring.recognise({"X-API-Key": text}).account.name == "app"
    file.path.unlink()
    ring.read()
    assert not ring.is_open
    with pytest.raises(Exception, match="not valid"):
        ring.recognise({"X-API-Key": text})


def test_a_broken_file_leaves_the_keys_before_it_in_force(tmp_path: Path) -> None:
    file = KeyFile(tmp_path / "keys.json")
    _, text = file.new("app", ["infer"], NOW)
    ring = KeyRing(file.path)
    ring.read()
    file.path.write_text("{")
    with pytest.raises(ValueError, match="not a file of keys"):
        ring.read()
    assert ring.recognise({"X-API-Key": text}).scopes == ("infer",)


def test_two_keys_of_a_name_share_their_limits(tmp_path: Path) -> None:
    file = KeyFile(tmp_path / "keys.json")
    _, old = file.new("app", ["infer"], NOW, concurrency=1)
    _, new = file.new("app", ["infer", "bulk"], NOW + timedelta(seconds=1), concurrency=5)
    ring = KeyRing(file.path)
    ring.read()
    first, second = (ring.recognise({"X-API-Key": text}) for text in (old, new))
    assert first.account is second.account
    assert first.account.quota.concurrency == 5
    assert (first.scopes, second.scopes) == (("infer",), ("infer", "bulk"))


# -- browsers ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "is_let_in"),
    [
        ("127.0.0.1:8000", True), ("localhost", True), ("LOCALHOST:8000", True), ("[::1]:8000", True), ("x", True),
        ("api.localhost", True), ("192.168.1.4", True), ("evil.example", False), ("evil.example:8000", False),
        ("127.0.0.1.evil.example", False), ("localhost.evil.example:80", False), ("1.2.3", False),
    ],
)  # fmt: skip
async def test_without_keys_a_name_of_a_stranger_is_not_answered(
    cluster: Cluster, host: str, is_let_in: bool
) -> None:
    for operations in (False, True):
        response, _ = await cluster.get("/livez", operations=operations, Host=host)
        assert response.status == (200 if is_let_in else 403)


async def test_names_that_the_cluster_file_lists_are_answered(cluster: Cluster) -> None:
    listed = Guard(KeyRing(), ["Photos.Example.com"])._host_guard
    for guard in (cluster.app.public_guard, cluster.app.operations_guard):
        guard._host_guard = listed
    for operations in (False, True):
        response, _ = await cluster.get("/livez", operations=operations, Host="photos.example.com:8000")
        assert response.status == 200


async def test_metrics_that_need_no_key_here_are_not_shown_to_a_stranger_s_page(keyed: Keyed) -> None:
    for path in ("/metrics", "/sd"):
        async with keyed.cluster.session.get(keyed.cluster.operations_url + path) as answer:
            assert answer.status == 200
        async with keyed.cluster.session.get(
            keyed.cluster.operations_url + path, headers={"Host": "evil.example"}
        ) as answer:
            assert answer.status == 403


async def test_with_keys_any_name_will_do(keyed: Keyed) -> None:
    response, _ = await keyed.cluster.post(headers={**keyed.bearer("infer"), "Host": "photos.example.com"})
    assert response.status == 200


@pytest.mark.parametrize("method", ["GET", "OPTIONS", "POST"])
async def test_no_origin_is_allowed_anything(cluster: Cluster, method: str) -> None:
    async with cluster.session.request(
        method, cluster.url + "/v1/analyze", headers={"Origin": "https://evil.example"}
    ) as answer:
        assert not [name for name in answer.headers if name.lower().startswith("access-control")]
