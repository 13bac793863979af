"""More than the cluster can do: its metrics answer all the same (F36), and it does what it can (F27); bulk at ten times the
capacity leaves interactive callers alone (F29)."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import aiohttp

from benchmarks.soak.calls import Calls, codes, goodput, p99_ms
from benchmarks.soak.scale import Scale
from benchmarks.soak.site import site
from benchmarks.soak.verdicts import Verdicts

# Slow enough that the generator and ten times its load fit on two cores beside the cluster.
SLEEP_S = 0.2
SCRAPE_EVERY_S = 0.25


async def metrics(verdicts: Verdicts, folder: Path, scale: Scale) -> None:
    """F36, F27: three times the capacity, and a scrape four times a second."""
    async with site(folder, verdicts, sleep_s=SLEEP_S) as ground:
        operations = await asyncio.to_thread(lambda: ground.cluster.operations_url)
        async with Calls(ground.url, per_s=3 * ground.capacity, deadline_ms=2000) as calls:
            await asyncio.sleep(2.0)
            began = time.monotonic()
            scrapes = await scraped_ms(f"{operations}/metrics", max(5.0, scale.window_s))
            ended = time.monotonic()
        over_at = time.monotonic()
        async with ground.steady(0.8, first=10**6) as after:
            await asyncio.sleep(max(8.0, scale.window_s / 4))
        refused = sorted(call.sent_s * 1000 for call in calls.ended if call.status == 429)
        verdicts.tell("calls at 3x", f"{len(calls.ended)}: {codes(calls.ended)}")
        verdicts.at_most("metrics under overload, p99", 500, scrapes[int(0.99 * len(scrapes))], " ms")
        verdicts.at_least(
            "goodput at 3x of the capacity", 0.9, goodput(calls.ended, began, ended) / ground.capacity
        )
        verdicts.at_most("p99 of what is accepted", 2000, p99_ms(calls.ended), " ms")
        verdicts.at_most(
            "p99 of a 429, from when it was sent",
            20,
            refused[int(0.99 * len(refused))] if refused else 0.0,
            " ms",
        )
        late = [call for call in after.ended if call.due > over_at + 5]
        verdicts.none(
            "calls refused or failed from 5 s after it, at 80 %", [call for call in late if not call.is_good]
        )


async def scraped_ms(url: str, seconds: float) -> list[float]:
    """How long each scrape took, sorted; one that fails counts as infinitely long."""
    took = []
    until = time.monotonic() + seconds
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5.0)) as session:
        while (began := time.monotonic()) < until:
            try:
                async with session.get(url) as answer:
                    await answer.read()
                    is_ok = answer.status == 200
            except (aiohttp.ClientError, TimeoutError):
                is_ok = False
            ended = time.monotonic()
            took.append(1000 * (ended - began) if is_ok else float("inf"))
            await asyncio.sleep(max(0.0, began + SCRAPE_EVERY_S - ended))
    return sorted(took)


async def bulk(verdicts: Verdicts, folder: Path, scale: Scale) -> None:
    """F29: interactive at 60 %, alone and beside bulk at ten times the capacity."""
    async with site(folder, verdicts, sleep_s=SLEEP_S) as ground, ground.steady(deadline_ms=5000) as calls:
        await asyncio.sleep(scale.window_s)
        alone = calls.between(0)
        flooded_at = time.monotonic()
        async with Calls(
            ground.url, per_s=10 * ground.capacity, deadline_ms=5000, lane="bulk", first=10**6
        ) as flood:
            await asyncio.sleep(max(5.0, scale.window_s))
            over_at = time.monotonic()
        beside = calls.between(flooded_at, over_at)
        verdicts.tell("bulk", f"{len(flood.ended)} calls: {codes(flood.ended)}")
        verdicts.at_most(
            "interactive p99 beside bulk over alone", 1.2, p99_ms(beside) / max(1.0, p99_ms(alone)), "x"
        )
        verdicts.none(
            "interactive calls that were not answered", [call for call in beside if not call.is_good]
        )
        served = sum(call.is_good for call in flood.ended) / max(
            1.0, ground.capacity * (over_at - flooded_at)
        )
        verdicts.at_least("bulk's share of the capacity", 0.01, served)
