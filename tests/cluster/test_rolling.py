"""A model's version is changed through the routing file under load: no error other than 429, no answer mixes versions."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.cluster.small_cluster import small_cluster

# Two replicas with batches of up to eight in 20 ms: this is what the two cores of a test machine let callers send.
LOAD_PER_S = 60


async def test_five_rolls_under_load_cost_nobody_an_answer_and_no_answer_mixes_versions(
    tmp_path: Path,
) -> None:
    async with small_cluster(tmp_path) as cluster:
        versions = {"1.0": [await cluster.minion("a"), await cluster.minion("a")]}
        cluster.route({"a": {"1.0": [each.address for each in versions["1.0"]]}})
        await cluster.until_routed("a", "1.0", 2)
        async with cluster.load("a", per_s=LOAD_PER_S):
            for old, new in (("1.0", "1.1"), ("1.1", "1.0")) * 2 + (("1.0", "1.1"),):
                versions[new] = [await cluster.minion("a", new), await cluster.minion("a", new)]
                both = {name: [each.address for each in started] for name, started in versions.items()}
                cluster.route({"a": both}, default=new)
                took_s = await cluster.until_routed("a", new, 2)
                assert took_s < 1.0
                await asyncio.sleep(0.3)
                cluster.route({"a": {new: both[new]}})
                await asyncio.sleep(0.5)
                for gone in versions.pop(old):
                    # SIGTERM: it drains
                    gone.process.terminate()
        cluster.assert_ledger(frozenset({200, 429}))
        answered = [each.body["results"]["a"]["version"] for each in cluster.ended if each.status == 200]
        assert set(answered) == {"1.0", "1.1"}
        assert len(answered) >= 0.99 * len(cluster.ended)
