"""An open-loop stream of calls with one API key: each at its time, whatever became of those before."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field
from time import monotonic

import aiohttp


@dataclass
class KeyLoad:
    """How the calls ended: `latencies_s` of the answered ones, counted from when each was due."""

    latencies_s: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    refusals: list[tuple[float, str]] = field(default_factory=list)
    """When each 429 was due, in seconds from the start, and what it said."""

    def quantile_s(self, share: float) -> float:
        """The latency that `share` of the answered calls stayed within."""
        ordered = sorted(self.latencies_s)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


async def send_steadily(
    url: str, photo: bytes, key: str | None, per_s: float, seconds: float, seed: int = 1
) -> KeyLoad:
    """Calls `per_s` times a second at random (Poisson) times."""
    load = KeyLoad()
    rng = random.Random(seed)
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:

        async def call(due: float) -> None:
            async with session.post(f"{url}/v1/analyze", data=photo) as response:
                body = await response.json(content_type=None)
            load.statuses[response.status] += 1
            if response.status == 429:
                load.refusals.append((due - began, str(body["detail"])))
            if response.status == 200:
                load.latencies_s.append(monotonic() - due)

        began = due = monotonic()
        async with asyncio.TaskGroup() as group:
            while (due := due + rng.expovariate(per_s)) < began + seconds:
                await asyncio.sleep(max(0.0, due - monotonic()))
                group.create_task(call(due))
    return load
