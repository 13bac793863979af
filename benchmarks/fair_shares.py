"""Two keys at one model: what a key at 10x its share costs another, through a whole cluster.

    .venv/bin/python -m benchmarks.fair_shares [--seconds 20]

A toy that sleeps 100 ms per batch of at most 8 (80 photos/s, so a share is 40/s). Key b sends 30/s, first alone and then
beside key a, which sends 400/s from one moment to the next; open loop, Poisson, latency from when a call was due. The first
second of a's flood counts.
"""

from __future__ import annotations

import argparse
import asyncio
import json

from benchmarks.measuring import machine, verdict
from benchmarks.sleepy_cluster import sleepy_cluster
from tests.cluster.key_load import KeyLoad, send_steadily

CAPACITY_PER_S = 80.0
OF_B_PER_S = 30.0
OF_A_PER_S = 400.0


async def measure(url: str, photo: bytes, a: str, b: str, seconds: float) -> tuple[KeyLoad, KeyLoad, KeyLoad]:
    """(b alone, b beside a, a)."""
    alone = await send_steadily(url, photo, b, OF_B_PER_S, seconds)
    beside, flood = await asyncio.gather(
        send_steadily(url, photo, b, OF_B_PER_S, seconds),
        send_steadily(url, photo, a, OF_A_PER_S, seconds, 2),
    )
    return alone, beside, flood


def main() -> int:
    """→ exit status."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=20.0)
    seconds = parser.parse_args().seconds
    print(machine())
    with sleepy_cluster(0.1, "default_models: [sleepy]\n") as (cluster, photo):
        a, b = (
            json.loads(cluster.crema("keys", "new", "--name", name, "--json").stdout)["key"]
            for name in ("a", "b")
        )
        cluster.wait(lambda: cluster.post(photo)[0] == 401, "the keys to be asked for", 5)
        alone, beside, flood = asyncio.run(measure(cluster.url, photo, a, b, seconds))
    for name, load in (("b alone", alone), ("b beside a", beside), ("a", flood)):
        quantiles = "  ".join(
            f"p{share * 100:g} {load.quantile_s(share) * 1000:.0f} ms" for share in (0.5, 0.9, 0.99)
        )
        print(
            f"{name:11} {quantiles}  answered {len(load.latencies_s) / seconds:.1f}/s  {dict(load.statuses)}"
        )
    ratio = beside.quantile_s(0.99) / alone.quantile_s(0.99)
    used = (len(beside.latencies_s) + len(flood.latencies_s)) / seconds / CAPACITY_PER_S
    held = [
        verdict("b's p99 beside a, over its p99 alone", 1.2, ratio),
        verdict("429s of b", 0, beside.statuses[429]),
        verdict("share of the capacity that is used", 0.9, used, at_least=True),
    ]
    return 0 if all(held) else 1


if __name__ == "__main__":
    raise SystemExit(main())
