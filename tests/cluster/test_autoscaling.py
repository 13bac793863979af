"""Replicas follow the load, on a real cluster: started when one minion refuses, drained when they are not needed."""

from __future__ import annotations

from pathlib import Path

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
        await load.until(lambda: bool(load.seen) and load.seen[-1].ready >= 3, 20, "three ready replicas")
        await load.until(lambda: not load.statuses(load.now - 2)[429], 10, "two seconds without a 429")
        fallen = load.turn(0.25 * CAPACITY_PER_S)
        await load.until(lambda: load.seen[-1].running <= 2, 20, "replicas to be drained")
    load.assert_ledger()
    assert load.statuses()[429] > 0
    assert max(each.running for each in load.seen) <= 4
    assert load.turns(begun, fallen) == 0 and load.turns(begun) <= 1
    assert any("429s" in each.why for each in load.seen)
    assert '"event": "replica_drained"' in cluster.log("supervisor")
    assert cluster.stop() == 0
    cluster.assert_nothing_left()
