"""All replicas at once: gone for 20 s and back (F26), and refusing for a minute while every caller tries again (F28)."""

from __future__ import annotations

import asyncio
import math
import time
from pathlib import Path

from benchmarks.soak.calls import MODEL, Calls, codes, goodput, p99_ms
from benchmarks.soak.scale import Scale
from benchmarks.soak.small import CAPACITY, pair, route
from benchmarks.soak.verdicts import Verdicts
from tests.coordinator.stub_tiers import StubMinion, error

BIN_S = 1.0
# Goodput is counted a second at a time, of some hundred calls: a dip of a tenth is their grain.
DIP = 0.9


async def herd(verdicts: Verdicts, folder: Path, scale: Scale) -> None:
    """F26: both replicas are killed, and two others come 20 s later, at 80 % load."""
    async with (
        pair(folder) as (cluster, minions),
        Calls(cluster.url, per_s=0.8 * 2 * CAPACITY, deadline_ms=2000) as calls,
    ):
        began = time.monotonic()
        await asyncio.sleep(scale.window_s)
        killed_at = time.monotonic()
        for minion in minions:
            minion.kill()
        await asyncio.sleep(scale.lasting(20))
        fresh = [await cluster.minion(MODEL, sleep_s=0.1) for _ in range(2)]
        await route(cluster, [each.address for each in fresh])
        back_at = time.monotonic()
        await asyncio.sleep(max(scale.window_s, 15.0))
        end = time.monotonic()
    peak = goodput(calls.ended, began + BIN_S, killed_at)
    bins = [
        goodput(calls.ended, back_at + n * BIN_S, back_at + (n + 1) * BIN_S) / peak
        for n in range(int((end - back_at) / BIN_S))
    ]
    verdicts.tell("goodput before, calls/s", f"{peak:.0f} of {calls.per_s:.0f}; in all {codes(calls.ended)}")
    verdicts.tell(
        "share of it second by second after the return", " ".join(f"{share:.2f}" for share in bins[:12])
    )
    verdicts.at_most("0.9 of it and more for good from", 10.0, recovered_s(bins, 0.9) * BIN_S, " s")
    verdicts.at_least("least second after one that was better, over that", DIP, worst_dip(bins))
    verdicts.none("calls that never ended", [call for call in calls.ended if call.status is None])
    verdicts.none("answers that are another call's", [call for call in calls.ended if call.code == "crossed"])


def recovered_s(bins: list[float], share: float) -> float:
    """The first bin from which on every one reaches `share`, up to the grain of single bins: their mean does, and each comes
    within a tenth of it. Infinity when there is none."""
    for start in range(len(bins)):
        rest = bins[start:]
        if rest[0] >= share and sum(rest) / len(rest) >= share and min(rest) >= share * DIP:
            return start
    return math.inf


def worst_dip(bins: list[float]) -> float:
    """The least ratio of a bin to the best before it, which counts as 1 at most; 1 for a series that never falls."""
    best, worst = 0.0, 1.0
    for share in bins:
        if best > 0:
            worst = min(worst, share / best)
        best = min(1.0, max(best, share))
    return worst


async def storm(verdicts: Verdicts, folder: Path, scale: Scale) -> None:
    """F28: all replicas answer 503 for a minute, and every caller tries three times."""
    stubs = [StubMinion(MODEL, "1.0", lambda header, payload: error(503, "not_ready")) for _ in range(2)]
    async with pair(folder) as (cluster, minions):
        good = [each.address for each in minions]
        try:
            for stub in stubs:
                await stub.start()
            async with Calls(cluster.url, per_s=0.5 * 2 * CAPACITY, deadline_ms=2000, retries=2) as calls:
                await asyncio.sleep(scale.window_s)
                await route(cluster, [each.address for each in stubs])
                await asyncio.sleep(1.0)
                requests, attempts = calls.requests, sum(len(stub.requests) for stub in stubs)
                out_at = time.monotonic()
                await asyncio.sleep(scale.lasting(60))
                requests, attempts = (
                    calls.requests - requests,
                    sum(len(stub.requests) for stub in stubs) - attempts,
                )
                over_at = time.monotonic()
                await route(cluster, good)
                await asyncio.sleep(max(scale.window_s, 6.0))
        finally:
            for stub in stubs:
                await stub.close()
    out = calls.between(out_at, over_at - 1)
    verdicts.tell(
        "the outage", f"{over_at - out_at:.0f} s, {requests} requests of {len(out)} calls: {codes(out)}"
    )
    verdicts.at_most("attempts at minions per request", 1.1, attempts / max(1, requests))
    verdicts.none("calls that never ended", [call for call in calls.ended if call.status is None])
    after = calls.between(over_at + 5)
    verdicts.none("calls without an answer from 5 s after it", [call for call in after if not call.is_good])
    verdicts.tell("p99 from 5 s after it", f"{p99_ms(after):.0f} ms")
