"""What 100,000 calls leave in the memory and the descriptors of every process (F25), and whether a leak would show."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from pathlib import Path

import aiohttp

from benchmarks.soak.calls import MODEL, outcome, photo
from benchmarks.soak.scale import Scale
from benchmarks.soak.site import LEAK_BYTES, Site, site
from benchmarks.soak.verdicts import Verdicts

# Fewer than the model has places: nothing is refused.
IN_FLIGHT = 12
MOST_MB = 50.0
# Caches and the allocator's arenas have their size after as many.
WARM_UP_SHARE = 0.1


async def send(ground: Site, count: int) -> Counter[str]:
    """`count` calls, so many in flight. → how many ended how."""
    numbers, ended = itertools.count(1), Counter[str]()
    url = f"{ground.url}/v1/analyze?models={MODEL}"

    async def caller(session: aiohttp.ClientSession) -> None:
        while (number := next(numbers)) <= count:
            async with session.post(url, data=photo(number % 4096)) as answer:
                body = await answer.json(content_type=None)
            ended[outcome(number % 4096, body)] += 1

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
        told = ", ".join(f"{code} {times}" for code, times in ended.most_common())
        verdicts.tell("calls", f"{count}: {told}")
        verdicts.at_most(
            "errors", 0, sum(times for code, times in ended.items() if code not in ("ok", "overloaded"))
        )
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
