"""Calls: a steady open-loop load through the public API and its ledger: how each call ended, and that its answer is its own.

Every photo carries a number in its pixels, which the model reads and answers with. A call's time counts from the moment at
which it was due, not from when a slow sender came to it.
"""

from __future__ import annotations

import asyncio
import functools
import io
import json
import math
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

import aiohttp
from PIL import Image

MODEL: Final = "moody"
# A call that has not ended so long after its deadline is lost.
LOST_AFTER_S: Final = 5.0


@functools.lru_cache(maxsize=4096)
def photo(number: int) -> bytes:
    """A picture of one colour: the number, up to 2^24."""
    file = io.BytesIO()
    Image.new("RGB", (8, 8), (number >> 16, number >> 8 & 255, number & 255)).save(file, "PNG")
    return file.getvalue()


@dataclass(frozen=True, slots=True)
class Call:
    """One call that has ended. Times are those of `time.monotonic`."""

    number: int
    due: float
    seconds: float
    """From the moment it was due."""
    sent_s: float
    """From the moment it was sent."""
    status: int | None
    """None: no answer came; `code` says how the connection ended."""
    code: str
    """`ok`, a problem's code, `crossed` when the answer is another photo's."""

    @property
    def is_good(self) -> bool:
        """Whether its own answer came."""
        return self.code == "ok"

    @property
    def is_error(self) -> bool:
        """As the fault table counts: neither 2xx nor 429."""
        return not (self.is_good or self.status == 429)

    @property
    def ended(self) -> float:
        """When."""
        return self.due + self.seconds

    def __str__(self) -> str:
        return f"call {self.number}: {self.status} {self.code} after {self.seconds * 1000:.0f} ms"


class Calls:
    """`async with Calls(url, per_s=60) as calls:` calls at that pace; afterwards every call has ended."""

    def __init__(
        self,
        url: str,
        *,
        per_s: float,
        deadline_ms: int = 2000,
        lane: str = "interactive",
        retries: int = 0,
        first: int = 0,
    ) -> None:
        self.ended: list[Call] = []
        self.requests = 0
        """Requests sent; more than calls where callers try again."""
        self.per_s = per_s
        self._url = f"{url}/v1/analyze?models={MODEL}&deadline_ms={deadline_ms}&lane={lane}"
        self._deadline_s = deadline_ms / 1000
        self._retries = retries
        self._number = first
        self._open: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Calls:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, force_close=False),
            timeout=aiohttp.ClientTimeout(total=self._deadline_s + LOST_AFTER_S),
        )
        self._clock = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._clock.cancel()
        await asyncio.gather(self._clock, return_exceptions=True)
        while self._open:
            await asyncio.wait(self._open)
        await self._session.close()

    async def _run(self) -> None:
        due = time.monotonic()
        while True:
            self._number += 1
            task = asyncio.create_task(self._call(self._number, due))
            self._open.add(task)
            task.add_done_callback(self._open.discard)
            due += 1 / self.per_s
            await asyncio.sleep(max(0.0, due - time.monotonic()))

    async def _call(self, number: int, due: float) -> None:
        sent = time.monotonic()
        status, code = await self._ask(number)
        for retry in range(self._retries):
            if code == "ok":
                break
            # a caller that knows no better: soon again, whatever it was told
            await asyncio.sleep(0.05 * (retry + 1))
            status, code = await self._ask(number)
        now = time.monotonic()
        self.ended.append(Call(number, due, now - due, now - sent, status, code))

    async def _ask(self, number: int) -> tuple[int | None, str]:
        self.requests += 1
        try:
            async with self._session.post(self._url, data=photo(number)) as answer:
                return answer.status, outcome(number, json.loads(await answer.read()))
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            return None, type(error).__name__

    def between(self, begin: float, end: float = math.inf) -> list[Call]:
        """Those that were due then."""
        return [call for call in self.ended if begin <= call.due < end]


def outcome(number: int, body: dict[str, Any]) -> str:
    """How the call of that photo ended: `ok`, an error's code, or `crossed`."""
    part = body.get("results", {}).get(MODEL)
    if part is None or part["status"] != "ok":
        return str(body["code"]) if "code" in body else str(part["error"]["code"])
    return "ok" if part["output"]["number"] == number else "crossed"


def p99_ms(calls: Iterable[Call]) -> float:
    """Of those that were answered well, from when they were due; 0 of none."""
    seconds = sorted(call.seconds for call in calls if call.is_good)
    return 1000 * seconds[min(len(seconds) - 1, int(0.99 * len(seconds)))] if seconds else 0.0


def goodput(calls: Iterable[Call], begin: float, end: float) -> float:
    """Good answers per second that came in that time."""
    return sum(call.is_good and begin <= call.ended < end for call in calls) / max(1e-9, end - begin)


def codes(calls: Iterable[Call]) -> str:
    """How they ended: `ok 1204, not_ready 3`."""
    return ", ".join(f"{code} {count}" for code, count in Counter(call.code for call in calls).most_common())


async def until(condition: Callable[[], Any], what: str, timeout_s: float = 60.0) -> float:
    """Wait, asking in a thread, until it holds; returns the seconds. Raises AssertionError when it does not in time."""
    began = time.monotonic()
    while not await asyncio.to_thread(condition):
        if time.monotonic() - began > timeout_s:
            raise AssertionError(f"waited {timeout_s:.0f} s for {what}")
        await asyncio.sleep(0.02)
    return time.monotonic() - began
