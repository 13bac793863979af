"""Replicas follow the load, on a real cluster: started when one minion refuses, drained when they are not needed."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import aiohttp

from tests.cluster.conftest import Start
from tests.cluster.stepped_load import stepped_load
from tests.cluster.toy_packages import write_package

# Eight photos in 400 ms: 20 a second.
CAPACITY_PER_S = 20.0
CLUSTER = """\
default_models: [sleepy]
models: {sleepy: {versions: {"1.0": {replicas: {min: 1, max: 4}}}}}
autoscaling: {period_s: 1, cooldown_s: 5}
"""


async def test_replicas_follow_a_threefold_load_and_go_again_and_nothing_is_lost(
    start: Start, tmp_path: Path, photo: Path
) -> None:
    package = write_package(tmp_path / "packages", "sleepy", predict="time.sleep(0.4)")
    cluster = start([package], cluster_yaml=CLUSTER)
    cluster.wait_serving()
    image = photo.read_bytes()  # noqa: ASYNC240 - nothing runs yet
    async with stepped_load(cluster.url, image, cluster.status, "sleepy") as load:
        begun = load.turn(3 * CAPACITY_PER_S)
        await load.until(lambda: bool(load.seen) and load.seen[-1].ready >= 3, 30, "three ready replicas")
        await load.until(lambda: not load.statuses(load.now - 2)[429], 20, "two seconds without a 429")
        fallen = load.turn(0.25 * CAPACITY_PER_S)
        await load.until(lambda: load.seen[-1].running <= 2, 60, "replicas to be drained")
    load.assert_ledger()
    assert load.statuses()[429] > 0
    assert max(each.running for each in load.seen) <= 4
    assert load.turns(begun, fallen) == 0 and load.turns(begun) <= 1
    assert any("429s" in each.why for each in load.seen)
    assert '"event": "replica_drained"' in cluster.log("supervisor")
    assert cluster.stop() == 0
    cluster.assert_nothing_left()


async def test_an_attack_with_bad_requests_starts_nothing(start: Start, tmp_path: Path, photo: Path) -> None:
    package = write_package(tmp_path / "packages", "sleepy", predict="time.sleep(0.4)")
    more = "preprocessor: {replicas: {min: 1, max: 4}, workers: 1}\n"
    cluster = start([package], cluster_yaml=CLUSTER.replace("period_s: 1,", "period_s: 0.5,") + more)
    cluster.wait_serving()
    image = photo.read_bytes()  # noqa: ASYNC240 - nothing runs yet
    attacks = [
        ("", b"no image", 415),
        ("", image[:60], 422),
        ("?models=nobody", image, 404),
        ("?deadline_ms=-1", image, 400),
        ("", b'{"image": 1}', 400),
    ]
    ended: Counter[int] = Counter()
    wanted: set[tuple[int, int]] = set()

    async def attack(session: aiohttp.ClientSession, query: str, body: bytes, status: int) -> None:
        while sum(ended.values()) < 1500:
            async with session.post(f"{url}/v1/analyze{query}", data=body) as answer:
                assert answer.status == status, await answer.text()
            ended[status] += 1

    async def watch() -> None:
        while True:
            document = await asyncio.to_thread(cluster.status)
            if "wanted" in document["preprocessor"]:
                wanted.add((document["models"][0]["wanted"], document["preprocessor"]["wanted"]))
            await asyncio.sleep(0.2)

    url = cluster.url
    async with aiohttp.ClientSession() as session:
        watching = asyncio.create_task(watch())
        async with asyncio.timeout(20):
            await asyncio.gather(*(attack(session, *each) for each in attacks for _ in range(4)))
        # and what was decided of it
        await asyncio.sleep(1.2)
        watching.cancel()
    assert set(ended) == {400, 404, 415, 422}
    assert wanted == {(1, 1)}
