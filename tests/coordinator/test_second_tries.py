"""With a second replica nobody notices what becomes of the first: one second try, inside the deadline and the budget."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from coordinator.replica import Replica
from coordinator.router import Group, Router
from coordinator.second_try import hold_s
from tests.coordinator.conftest import TAGS, Cluster
from tests.coordinator.stub_tiers import JPEG, StubMinion, StubPreprocessor, error, ok

WORSE = {"tags": [{"name": "the other", "confidence": 0.5}]}


class First(Router):
    """Always the first replica that is connected first, so that a test knows who is asked."""

    def choose(self, group: Group, now: float) -> int:
        return next(
            (i for i, each in enumerate(group.replicas) if each.usable_at <= now), super().choose(group, now)
        )


class Pair:
    """A cluster whose tags@3.1 has two replicas; calls go to `first` first."""

    def __init__(self, cluster: Cluster, second: StubMinion, preparer: StubPreprocessor) -> None:
        self.cluster = cluster
        self.first, self.second = cluster.tags, second
        self.preparer = preparer

    async def post(self, query: str = "models=tags") -> tuple[Any, Any]:
        return await self.cluster.post(query=query)

    async def retries(self, outcome: str) -> float:
        _, text = await self.cluster.get("/metrics", operations=True)
        for line in text.decode().splitlines():
            if line.startswith(f'crema_retries_total{{outcome="{outcome}"}}'):
                return float(line.rpartition(" ")[2])
        return 0.0


@pytest.fixture
async def pair(cluster: Cluster) -> AsyncIterator[Pair]:
    second = StubMinion("tags", "3.1", lambda header, payload: ok(WORSE))
    preparer = StubPreprocessor()
    await second.start()
    await preparer.start()
    models = cluster.models()
    models["tags"]["versions"]["3.1"]["replicas"].append(second.address)
    await cluster.reroute(models, [cluster.preprocessor.address, preparer.address])
    cluster.app.ways.router = First()
    try:
        yield Pair(cluster, second, preparer)
    finally:
        await second.close()
        await preparer.close()


def silent(header: Any, payload: Any) -> None:
    return None


LOST_BATCH = {"error": {"code": "not_ready", "message": "the worker died", "retryable": True}}


@pytest.mark.parametrize(
    "answer",
    [
        error(429, "overloaded", retry_after_ms=500),
        error(503, "not_ready", retry_after_ms=500),
        {**ok(None), "outcomes": [LOST_BATCH]},
        ok(TAGS, version="9.9"),
        {"status": 200},
        {"status": "200"},
        {"status": 500, "error": "boom"},
        {},
    ],
    ids=[
        "full",
        "not ready",
        "worker died",
        "another version",
        "no outcome",
        "no status",
        "no code",
        "nothing",
    ],
)
async def test_what_another_replica_can_answer_is_answered_by_it(pair: Pair, answer: Any) -> None:
    pair.first.behaviour = lambda header, payload: answer
    response, body = await pair.post()
    assert (response.status, body["status"]) == (200, "ok")
    assert body["results"]["tags"]["output"] == WORSE
    assert await pair.retries("ok") == 1
    assert pair.first.requests[0][1] == pair.second.requests[0][1], "other pixels"


@pytest.mark.parametrize(
    "answer",
    [
        error(422, "item_rejected"),
        error(500, "internal"),
        error(502, "model_failed"),
        error(504, "deadline_exceeded"),
        {**ok(None), "outcomes": [{"error": {"code": "item_rejected", "message": "no", "retryable": False}}]},
    ],
    ids=repr,
)
async def test_nothing_else_is_tried_again(pair: Pair, answer: Any) -> None:
    pair.first.behaviour = lambda header, payload: answer
    await pair.post()
    assert pair.second.requests == []


LOST = {**LOST_BATCH, "error": {**LOST_BATCH["error"], "retry_after_ms": 300}}


async def test_of_a_batch_that_a_worker_died_with_the_other_replica_is_told_that_it_did(pair: Pair) -> None:
    pair.first.behaviour = lambda header, payload: {**ok(None), "outcomes": [LOST]}
    await pair.post()
    assert ["deaths" in header for header, _ in pair.first.requests] == [False]
    assert [header.get("deaths") for header, _ in pair.second.requests] == [1]


async def test_of_what_only_waited_for_a_worker_that_died_nothing_is_told(pair: Pair) -> None:
    unrun = {"queue_ms": 40.0, "inference_ms": 0.0, "batch_size": 0}
    pair.first.behaviour = lambda header, payload: {**ok(None), "outcomes": [LOST], "timing": unrun}
    _, body = await pair.post()
    assert body["status"] == "ok"
    assert ["deaths" in header for header, _ in pair.second.requests] == [False]


async def test_the_only_replica_left_is_not_risked_while_the_other_may_be_back_in_time(pair: Pair) -> None:
    pair.first.behaviour = lambda header, payload: {**ok(None), "outcomes": [LOST]}
    began = time.monotonic()
    _, body = await pair.post("models=tags&deadline_ms=4000")
    assert body["status"] == "ok"
    assert time.monotonic() - began >= 0.3


async def test_a_second_try_that_is_held_back_ends_with_its_call(pair: Pair) -> None:
    pair.first.behaviour = lambda header, payload: {**ok(None), "outcomes": [LOST]}
    call = asyncio.create_task(pair.post("models=tags&deadline_ms=4000"))
    await pair.first.until(lambda: bool(pair.first.requests))
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    await asyncio.sleep(0.7)  # longer than it would have been held
    assert pair.second.requests == []


def replicas_of(*usable_at: float) -> list[Replica]:
    found = []
    for each in usable_at:
        replica = Replica("127.0.0.1:1")
        replica.usable_at = each
        found.append(replica)
    return found


@pytest.mark.parametrize(
    ("usable_at", "left_s", "back_in_ms", "held_s"),
    [
        ([0.0, 9.0], 4.0, 300, 0.55),
        ([0.0, 0.0, 9.0], 4.0, 300, 0.0),  # two are left
        ([9.0, 9.0], 4.0, 300, 0.0),  # none is
        ([0.0, 9.0], 1.0, 300, 0.0),  # no time to wait
        ([0.0, 9.0], 4.0, 8000, 0.0),  # not back in time
        ([0.0, 9.0], 4.0, None, 0.0),
    ],
)
def test_how_long_a_second_try_is_held_back(
    usable_at: list[float], left_s: float, back_in_ms: float | None, held_s: float
) -> None:
    assert hold_s(replicas_of(*usable_at), 1.0, left_s, back_in_ms) == pytest.approx(held_s)


async def test_a_replica_that_dies_with_the_request_is_replaced_by_the_other(pair: Pair) -> None:
    pair.first.behaviour = silent
    call = asyncio.create_task(pair.post())
    await pair.first.until(lambda: bool(pair.first.requests))
    await pair.first.close()
    response, body = await call
    assert (response.status, body["results"]["tags"]["output"]) == (200, WORSE)


async def test_there_is_one_second_try_and_the_sooner_retry_after_is_told(pair: Pair) -> None:
    pair.first.behaviour = lambda header, payload: error(429, "overloaded", retry_after_ms=5000)
    pair.second.behaviour = lambda header, payload: error(429, "overloaded", retry_after_ms=1500)
    response, _ = await pair.post()
    assert (response.status, response.headers["Retry-After"]) == (429, "2")
    assert (len(pair.first.requests), len(pair.second.requests)) == (1, 1)
    assert await pair.retries("failed") == 1


async def test_no_second_try_goes_to_a_replica_that_has_refused(pair: Pair) -> None:
    for each in (pair.first, pair.second):
        each.behaviour = lambda header, payload: error(503, "not_ready", retry_after_ms=60_000)
    for _ in range(20):
        response, _ = await pair.post()
        assert response.status == 503
    assert len(pair.first.requests) + len(pair.second.requests) <= 22


async def test_a_replica_that_answers_after_it_was_not_ready_is_trusted_again_at_once(pair: Pair) -> None:
    both = (pair.first, pair.second)
    for each in both:
        each.behaviour = lambda header, payload: error(503, "not_ready", retry_after_ms=60_000)
    await pair.post()
    for each in both:
        each.behaviour = lambda header, payload: ok(TAGS)
        each.requests.clear()
    for _ in range(12):
        assert (await pair.post())[0].status == 200
    assert sorted(len(each.requests) for each in both) == [0, 12], "the first that answers gets all the rest"


async def test_a_silent_replica_is_helped_out_and_its_late_answer_is_cancelled(pair: Pair) -> None:
    pair.first.behaviour = lambda header, payload: ok(TAGS)
    for _ in range(3):
        await pair.post()
    pair.first.behaviour = silent
    began = time.monotonic()
    response, body = await pair.post("models=tags&deadline_ms=3000")
    took_s = time.monotonic() - began
    assert (response.status, body["results"]["tags"]["output"]) == (200, WORSE)
    assert 0.25 <= took_s < 1.5
    await pair.first.until(lambda: len(pair.first.cancelled) == 1)
    assert await pair.retries("ok") == 1


async def test_a_slow_answer_that_comes_before_the_second_ones_wins(pair: Pair) -> None:
    await pair.post()
    pair.first.delay_s = 0.45
    pair.second.behaviour = silent
    _, body = await pair.post("models=tags&deadline_ms=3000")
    assert body["results"]["tags"]["output"] == TAGS
    assert await pair.retries("discarded") == 1
    await pair.second.until(lambda: len(pair.second.cancelled) == 1)


async def test_a_replica_that_stays_silent_is_ejected_and_not_asked_again(pair: Pair) -> None:
    await pair.post()
    pair.first.behaviour = silent
    replica = pair.cluster.app.directory.models["tags"].default.peers.all[0].replica
    began = time.monotonic()
    while not replica.is_ejected:
        response, _ = await pair.post()
        assert response.status == 200
        assert time.monotonic() - began < 3
    asked = len(pair.first.requests)
    for _ in range(5):
        await pair.post()
    assert len(pair.first.requests) == asked


async def test_without_budget_there_is_no_second_try(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("coordinator.retry_budget.LEAST_PER_S", 0.0)
    while pair.cluster.app.ways.tries.budget.take(time.monotonic()):
        pass
    pair.first.behaviour = lambda header, payload: error(429, "overloaded", retry_after_ms=500)
    response, _ = await pair.post()
    assert response.status == 429
    assert await pair.retries("denied") == 1


async def test_a_caller_who_leaves_cancels_both_tries(pair: Pair) -> None:
    await pair.post()
    for each in (pair.first, pair.second):
        each.behaviour = silent
    call = asyncio.create_task(pair.post())
    await pair.second.until(lambda: bool(pair.second.requests))
    call.cancel()
    await pair.first.until(lambda: bool(pair.first.cancelled))
    await pair.second.until(lambda: bool(pair.second.cancelled))
    peers = pair.cluster.app.directory.models["tags"].default.peers
    assert [each.outstanding for each in peers.group.replicas] == [0, 0]


@pytest.mark.parametrize(
    "answer",
    [
        error(429, "overloaded", retry_after_ms=500),
        error(503, "not_ready", retry_after_ms=500),
        {},
        {"status": 200},
    ],
    ids=repr,
)
async def test_another_preprocessor_prepares_what_one_refused(pair: Pair, answer: Any) -> None:
    pair.cluster.preprocessor.behaviour = lambda header, payload: answer
    response, _ = await pair.post()
    assert response.status == 200
    assert pair.preparer.requests[0][1] == JPEG


async def test_a_photo_that_one_preprocessor_rejects_is_not_shown_to_another(pair: Pair) -> None:
    pair.cluster.preprocessor.behaviour = lambda header, payload: error(422, "undecodable_image")
    response, _ = await pair.post()
    assert response.status == 422
    assert pair.preparer.requests == []


async def test_a_preprocessor_that_dies_is_replaced_by_another(pair: Pair) -> None:
    pair.cluster.preprocessor.behaviour = silent
    call = asyncio.create_task(pair.post())
    await pair.cluster.preprocessor.until(lambda: bool(pair.cluster.preprocessor.requests))
    await pair.cluster.preprocessor.close()
    response, _ = await call
    assert response.status == 200


async def test_a_reset_of_the_connection_is_healed(pair: Pair) -> None:
    peer = pair.cluster.app.directory.models["tags"].default.peers.all[0]
    peer.client.reset()
    async with asyncio.timeout(5):
        while peer.replica.is_open:
            await asyncio.sleep(0)
        response, _ = await pair.post()
        assert response.status == 200
        while not peer.replica.is_open:
            await asyncio.sleep(0.01)


async def test_what_a_replica_was_ejected_for_is_remembered_when_it_is_listed_again(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("coordinator.directory.LINGER_S", 0.0)
    cluster = pair.cluster
    replica = cluster.app.directory.models["tags"].default.peers.all[0].replica
    replica.eject(time.monotonic() + 30)
    models = cluster.models()
    models["tags"]["versions"]["3.1"]["replicas"] = [pair.second.address]
    await cluster.reroute(models)
    async with asyncio.timeout(5):
        while cluster.app.directory._leaving:
            await asyncio.sleep(0.01)
    models["tags"]["versions"]["3.1"]["replicas"].append(pair.first.address)
    await cluster.reroute(models)
    listed = cluster.app.directory.models["tags"].default.peers.all[1].replica
    assert listed.is_open
    assert listed.is_ejected
