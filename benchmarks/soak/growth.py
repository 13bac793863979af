"""What 100,000 calls leave in the memory and the descriptors of every process (F25), and whether a leak would show."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path

import aiohttp

from benchmarks.soak.calls import MODEL, photo
from benchmarks.soak.scale import Scale
from benchmarks.soak.site import LEAK_BYTES, Site, site
from benchmarks.soak.verdicts import Verdicts

IN_FLIGHT = 32
MOST_MB = 50.0
# Caches and the allocator's arenas have their size after as many.
WARM_UP_SHARE = 0.1


async def send(ground: Site, count: int) -> dict[str, int]:
    """`count` calls, so many in flight. → how many ended how."""
    numbers, ended = itertools.count(1), {"ok": 0, "other": 0}
    url = f"{ground.url}/v1/analyze?models={MODEL}"

    async def caller(session: aiohttp.ClientSession) -> None:
        while (number := next(numbers)) <= count:
            async with session.post(url, data=photo(number % 4096)) as answer:
                body = await answer.json(content_type=None)
            is_ok = answer.status == 200 and body["results"][MODEL]["output"]["number"] == number % 4096
            ended["ok" if is_ok else "other"] += 1

    async with aiohttp.ClientSession() as session:
        await asyncio.gather(*(caller(session) for _ in range(IN_FLIGHT)))
    return ended


async def memory(verdicts: Verdicts, folder: Path, scale: Scale) -> None:
    """F25: the whole cluster, every process of it; then the same with a model that keeps 1 KB per call."""
    count = scale.requests
    async with site(folder, verdicts, replicas=1, sleep_s=0.0) as ground:
        await send(ground, max(1000, int(count * WARM_UP_SHARE)))
        before, decoder = await ground.sizes(), await ground.pids("preprocessor", "decoder")
        ended = await send(ground, count)
        await asyncio.sleep(1.0)
        after = await ground.sizes()
        grown = {kind: after[kind][0] - before[kind][0] for kind in after}
        descriptors = {kind: after[kind][1] - before[kind][1] for kind in after}
        # replaced on purpose after many images
        is_same = decoder == await ground.pids("preprocessor", "decoder")
        verdicts.tell("calls", f"{count}, of which {ended['ok']} answered rightly, {ended['other']} not")
        told = ", ".join(f"{kind} {mb:+.1f}" for kind, mb in grown.items())
        verdicts.tell("memory gained, MiB", told + ("" if is_same else " (the decoder is another one)"))
        verdicts.at_most("memory gained, all processes", MOST_MB, sum(grown.values()), " MiB")
        verdicts.at_most("descriptors gained, worst kind of process", 4, max(descriptors.values()))
        ground.set_mood("leak")
        await send(ground, count)
        leaky = await ground.sizes()
        leaked_mb = leaky["worker"][0] - after["worker"][0]
        verdicts.at_least(
            "a leak of 1 KB per call shows in the worker", 0.8 * count * LEAK_BYTES / 2**20, leaked_mb, " MiB"
        )
