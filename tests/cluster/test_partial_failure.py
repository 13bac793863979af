"""One of three minions fails: it costs its own part, inside the deadline. With a second replica nobody notices."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.small_cluster import DEADLY, SmallCluster, Started, small_cluster
from tests.coordinator.stub_tiers import StubMinion, error

DEADLINE_MS = 1000


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[SmallCluster]:
    async with small_cluster(tmp_path) as found:
        yield found


class Garbage(asyncio.Protocol):
    """Answers whatever comes with bytes that are no frames."""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        transport.write(b"HTTP/1.1 200 OK\r\n\r\n" * 5)

    def data_received(self, data: bytes) -> None:
        self._transport.write(b"\xff" * 4096)


async def test_one_of_three_minions_costs_only_its_own_part(cluster: SmallCluster) -> None:
    sick, *others = [await cluster.minion(model) for model in ("a", "b", "c")]
    slow = await cluster.minion("a", sleep_s=3.0)
    full = StubMinion("a", "1.0", lambda header, payload: error(429, "overloaded", retry_after_ms=7000))
    liar = StubMinion("a", "1.0", lambda header, payload: {"status": 200, "outcomes": "lies"})
    for stub in (full, liar):
        await stub.start()
    server = await asyncio.get_running_loop().create_server(Garbage, "127.0.0.1", 0)
    garbage = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"

    async def fails(address: str, replicas: int = 1) -> str:
        cluster.route(
            {"a": {"1.0": [address]}, "b": {"1.0": [others[0].address]}, "c": {"1.0": [others[1].address]}}
        )
        await cluster.until_routed("a", "1.0", replicas)
        for model in ("b", "c"):
            await cluster.until_routed(model, "1.0")
        return await code_of_a()

    async def code_of_a() -> str:
        ended = await cluster.call("a,b,c", DEADLINE_MS)
        assert ended.status == 200
        assert ended.seconds < DEADLINE_MS / 1000 + 0.3
        parts = ended.body["results"]
        for model in ("b", "c"):
            assert parts[model]["output"] == {"number": ended.number, "version": "1.0"}
            assert (parts[model]["version"], parts[model]["timing"]["batch_size"]) == ("1.0", 1)
        return str(parts["a"]["error"]["code"]) if parts["a"]["status"] == "error" else "ok"

    try:
        assert await fails(slow.address) == "deadline_exceeded"
        assert await fails(full.address) == "overloaded"
        assert cluster.ended[-1].body["results"]["a"]["error"]["retry_after_ms"] == 7000
        assert await fails(liar.address) == "model_output_invalid"
        assert await fails(garbage, replicas=0) == "not_ready"
        assert await fails(sick.address) == "ok"
        sick.send(signal.SIGSTOP)
        assert await code_of_a() == "deadline_exceeded"
        sick.send(signal.SIGCONT)
        assert await code_of_a() == "ok"
        sick.kill()
        assert await code_of_a() == "not_ready"
    finally:
        server.close()
        for stub in (full, liar):
            await stub.close()
    cluster.assert_ledger()


async def pair(cluster: SmallCluster, sleep_s: float = 0.02) -> list[Started]:
    """Two replicas of a@1.0, routed; the second takes `sleep_s` per batch."""
    minions = [await cluster.minion("a"), await cluster.minion("a", sleep_s=sleep_s)]
    cluster.route({"a": {"1.0": [each.address for each in minions]}})
    await cluster.until_routed("a", "1.0", 2)
    return minions


async def test_with_two_replicas_nobody_notices_that_one_is_stopped_for_a_while(
    cluster: SmallCluster,
) -> None:
    minions = await pair(cluster)
    async with cluster.load("a", per_s=30, deadline_ms=2000):
        await asyncio.sleep(1.5)
        minions[1].send(signal.SIGSTOP)
        stopped_at = time.monotonic()
        await asyncio.sleep(4)
        minions[1].send(signal.SIGCONT)
        await asyncio.sleep(1.5)
    cluster.assert_ledger()
    # three seconds after it was stopped nobody waits for it any more, but for a trial or two
    later = [each.seconds for each in cluster.ended if stopped_at + 3 < each.began < stopped_at + 4]
    assert sum(seconds > 0.25 for seconds in later) <= 2


async def test_with_two_replicas_nobody_notices_that_one_is_ten_times_slower(cluster: SmallCluster) -> None:
    await pair(cluster, sleep_s=0.3)
    async with cluster.load("a", per_s=20):
        await asyncio.sleep(4)
    cluster.assert_ledger()
    after = [each for each in cluster.ended if each.began > cluster.ended[0].began + 2]
    slow = [each for each in after if each.body["results"]["a"]["timing"].get("inference_ms", 0) > 200]
    assert len(slow) <= 0.15 * len(after)


async def test_with_two_replicas_nobody_notices_that_one_talks_garbage_or_is_full(
    cluster: SmallCluster,
) -> None:
    good = await cluster.minion("a")
    stub = StubMinion("a", "1.0", lambda header, payload: {"status": "no", "outcomes": 7})
    await stub.start()
    try:
        cluster.route({"a": {"1.0": [stub.address, good.address]}})
        await cluster.until_routed("a", "1.0", 2)
        for behaviour in (
            lambda header, payload: {"status": "no", "outcomes": 7},
            lambda header, payload: error(429, "overloaded", retry_after_ms=50),
        ):
            stub.behaviour = behaviour
            async with cluster.load("a", per_s=20):
                await asyncio.sleep(1.5)
    finally:
        await stub.close()
    assert stub.requests
    cluster.assert_ledger()


@pytest.mark.slow
async def test_twenty_kills_in_a_row_cost_nobody_an_answer(cluster: SmallCluster) -> None:
    minions = await pair(cluster)
    async with cluster.load("a", per_s=30, deadline_ms=3000):
        for n in range(20):
            await asyncio.sleep(0.3)
            minions[n % 2].kill()
            minions[n % 2] = await cluster.minion("a")
            cluster.route({"a": {"1.0": [each.address for each in minions]}})
            await cluster.until_routed("a", "1.0", 2)
    cluster.assert_ledger()
    assert max(each.seconds for each in cluster.ended) < 3.0


async def test_a_photo_that_kills_workers_kills_two_is_refused_and_nobody_else_notices(
    cluster: SmallCluster,
) -> None:
    minions = await pair(cluster)
    async with cluster.load("a", per_s=30, deadline_ms=6000):
        await asyncio.sleep(1.0)
        poison = await cluster.show(DEADLY, "a", 6000)
        await asyncio.sleep(1.0)
    assert (poison.status, poison.body["code"]) == (422, "item_quarantined")
    cluster.assert_ledger()
    assert [await cluster.restarts(each) for each in minions] == [1, 1]


async def test_without_a_preprocessor_the_refusal_comes_at_once(cluster: SmallCluster) -> None:
    minion = await cluster.minion("a")
    cluster.route({"a": {"1.0": [minion.address]}})
    await cluster.until_routed("a", "1.0")
    assert (await cluster.call("a")).status == 200
    cluster.preprocessor.kill()
    await asyncio.sleep(0.1)
    ended = await cluster.call("a")
    assert (ended.status, ended.body["code"]) == (503, "not_ready")
    assert ended.seconds < 0.2
