"""Open-loop load whose rate is turned while it runs, and what the cluster's status said meanwhile.

Calls go out on schedule whatever becomes of those before; every one ends in the ledger, under a request id of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import aiohttp

WATCH_EVERY_S = 0.25


@dataclass(frozen=True)
class Call:
    """One call. `at` is when it was due, in seconds since the start; `status` None: its connection broke."""

    request_id: str
    at: float
    seconds: float
    status: int | None
    answered_id: str | None


@dataclass(frozen=True)
class Seen:
    """A look at one version in the status document."""

    at: float
    wanted: int
    ready: int
    running: int
    why: str


@dataclass
class SteppedLoad:
    """`async with stepped_load(...) as load:`, then set `per_s`."""

    url: str
    photo: bytes
    per_s: float = 0.0
    calls: list[Call] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    steps: list[tuple[float, float]] = field(default_factory=list)
    """(time, rate) of every turn."""
    began: float = field(default_factory=time.monotonic)
    sent: int = 0

    @property
    def now(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.began

    def turn(self, per_s: float) -> float:
        """From now on so many calls a second; returns the time."""
        self.per_s = per_s
        self.steps.append((self.now, per_s))
        return self.now

    async def until(self, condition: Callable[[], bool], timeout_s: float, what: str) -> float:
        """Wait for a condition; returns the seconds that took."""
        began = self.now
        while not condition():
            assert self.now < began + timeout_s, f"waited {timeout_s} s for {what}: {self.seen[-3:]}"
            await asyncio.sleep(0.05)
        return self.now - began

    def statuses(self, since: float = 0.0, until: float = float("inf")) -> Counter[int | None]:
        """How the calls ended that were due between two times."""
        return Counter(call.status for call in self.calls if since <= call.at < until)

    def turns(self, since: float = 0.0, until: float = float("inf")) -> int:
        """How often the wanted number changed its direction."""
        wanted = [each.wanted for each in self.seen if since <= each.at < until]
        moves = [b - a for a, b in pairwise(wanted) if b != a]
        return sum(a * b < 0 for a, b in pairwise(moves))

    def assert_ledger(self) -> None:
        """Every call was answered once, with its own id, and either served or refused politely."""
        assert len(self.calls) == self.sent
        assert all(call.answered_id == call.request_id for call in self.calls)
        assert set(self.statuses()) <= {200, 429}, self.statuses()

    async def _send(self, session: aiohttp.ClientSession) -> None:
        calls: set[asyncio.Task[None]] = set()
        due = self.now
        try:
            while True:
                if self.per_s:
                    task = asyncio.create_task(self._call(session, f"load-{self.sent}", due))
                    calls.add(task)
                    task.add_done_callback(calls.discard)
                    self.sent += 1
                    due += random.expovariate(self.per_s)
                else:
                    due = self.now + 0.05
                await asyncio.sleep(due - self.now)
        finally:
            await asyncio.shield(asyncio.gather(*calls))

    async def _call(self, session: aiohttp.ClientSession, request_id: str, due: float) -> None:
        status, answered_id = None, None
        with contextlib.suppress(aiohttp.ClientError, TimeoutError):
            headers = {"X-Request-Id": request_id, "Content-Type": "application/octet-stream"}
            async with session.post(f"{self.url}/v1/analyze", data=self.photo, headers=headers) as answer:
                body: dict[str, Any] = await answer.json(content_type=None)
                status, answered_id = answer.status, body.get("id", body.get("request_id"))
        self.calls.append(Call(request_id, due, self.now - due, status, answered_id))

    async def _watch(self, status: Callable[[], dict[str, Any]], model: str) -> None:
        while True:
            document = await asyncio.to_thread(status)
            version = next(each for each in document["models"] if each["model"] == model)
            running = sum(
                each.get("model") == model and each.get("role") == "host" and each["pid"] is not None
                for each in document["processes"]
            )
            wanted = version.get("wanted", version["replicas"])
            self.seen.append(Seen(self.now, wanted, version["ready"], running, version.get("why", "")))
            await asyncio.sleep(WATCH_EVERY_S)


@contextlib.asynccontextmanager
async def stepped_load(
    url: str, photo: bytes, status: Callable[[], dict[str, Any]], model: str
) -> AsyncIterator[SteppedLoad]:
    """Load on `url` and a watch over `model`; all calls have ended afterwards."""
    timeout = aiohttp.ClientTimeout(total=30)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout) as session:
        load = SteppedLoad(url, photo)
        tasks = [asyncio.create_task(load._send(session)), asyncio.create_task(load._watch(status, model))]
        try:
            yield load
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
