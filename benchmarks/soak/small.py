"""Small: a coordinator, a preprocessor and minions without a supervisor, for faults that a supervisor would repair at once."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from benchmarks.soak.calls import MODEL
from tests.cluster.small_cluster import SmallCluster, Started, small_cluster

# Of the small cluster's model: batches of up to 8.
SLEEP_S = 0.1
CAPACITY = 8 / SLEEP_S
"""Calls per second of one replica."""


@contextlib.asynccontextmanager
async def pair(folder: Path) -> AsyncIterator[tuple[SmallCluster, list[Started]]]:
    """A small cluster and two replicas of the model, routed."""
    async with small_cluster(folder) as cluster:
        minions = [await cluster.minion(MODEL, sleep_s=SLEEP_S) for _ in range(2)]
        await route(cluster, [each.address for each in minions])
        yield cluster, minions


async def route(cluster: SmallCluster, addresses: list[str], connected: int | None = None) -> None:
    """These replicas and no others; returns when so many (default: all) are connected."""
    cluster.route({MODEL: {"1.0": addresses}}, default="1.0")
    await cluster.until_routed(MODEL, "1.0", len(addresses) if connected is None else connected)
