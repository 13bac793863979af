"""What a scrape of the operations listener takes while callers overload the cluster tenfold (F36).

    .venv/bin/python -m benchmarks.scrapes [--seconds 20]

A toy that sleeps 400 ms per batch of at most 8 (20 photos/s), 200 photos/s in an open loop, ten scrapes a second.
"""

from __future__ import annotations

import argparse
import asyncio
import time

import aiohttp

from benchmarks.measuring import machine, verdict
from benchmarks.sleepy_cluster import sleepy_cluster
from tests.cluster.running import RunningCluster
from tests.cluster.stepped_load import stepped_load

CAPACITY_PER_S = 20.0
GOAL_MS = 500.0


async def measure(
    cluster: RunningCluster, photo: bytes, seconds: float
) -> tuple[list[float], dict[int | None, int]]:
    """(milliseconds of each scrape, how the calls ended)."""
    took_ms: list[float] = []
    url = f"{cluster.operations_url}/metrics"
    async with (
        aiohttp.ClientSession() as session,
        stepped_load(cluster.url, photo, cluster.status, "sleepy") as load,
    ):
        load.turn(10 * CAPACITY_PER_S)
        until = time.monotonic() + seconds
        while (began := time.monotonic()) < until:
            async with session.get(url) as answer:
                assert answer.status == 200
                await answer.read()
            took_ms.append((time.monotonic() - began) * 1000)
            await asyncio.sleep(max(0.0, began + 0.1 - time.monotonic()))
    load.assert_ledger()
    return sorted(took_ms), dict(load.statuses())


def main() -> int:
    """→ exit status."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=20.0)
    seconds = parser.parse_args().seconds
    print(machine())
    with sleepy_cluster(0.4, "default_models: [sleepy]\n") as (cluster, photo):
        took_ms, ended = asyncio.run(measure(cluster, photo, seconds))
    print(f"{len(took_ms)} scrapes, p50 {took_ms[len(took_ms) // 2]:.1f} ms; calls by status {ended}")
    return 0 if verdict("p99 of a scrape at 10x", GOAL_MS, took_ms[int(0.99 * len(took_ms))], " ms") else 1


if __name__ == "__main__":
    raise SystemExit(main())
