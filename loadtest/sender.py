"""Sender: one process's share of a load run, open loop: every call is sent when it is due, whatever became of those before.

Latency counts from the moment a call was due, not from when it was sent: a server that stalls is charged for all calls that
came due meanwhile. How late calls were sent is counted beside it, because that is the sender's own fault.
"""

from __future__ import annotations

import asyncio
import errno
import random
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from time import monotonic
from typing import Any, Final
from urllib.parse import urlencode

import aiohttp

from loadtest.answer import read_answer
from loadtest.figures import GAVE_UP, Kind, Latencies
from loadtest.phase import Phase, schedule
from loadtest.photo_stock import PhotoFiles, PhotoStock
from loadtest.tally import Tally

# A crowded coordinator closes what was idle for 10 s: a connection that it may be closing is not used again.
_IDLE_S: Final = 8.0
_MOST_IN_A_ROW: Final = 32
_NO_RESOURCES: Final = {
    errno.EMFILE: "no_descriptors",
    errno.ENFILE: "no_descriptors",
    errno.EADDRNOTAVAIL: "no_ports",
}
NOT_CONNECTED: Final = "not_connected"
BROKEN: Final = "connection_broken"


@dataclass(frozen=True, slots=True)
class Orders:
    """What one sender is to do. It sends every call whose number modulo `senders` is `number`."""

    url: str
    """The public API, without a path."""
    key: str | None
    phases: tuple[Phase, ...]
    photos: tuple[PhotoFiles, ...]
    seed: int
    slo_s: float
    bin_s: float
    connections: int
    """Most that this sender opens."""
    give_up_s: float
    """A call that has no answer by then is given up."""
    number: int = 0
    senders: int = 1

    def document(self) -> dict[str, Any]:
        """Plain data for JSON, the key in it; `Orders.read` takes it."""
        return {
            **{
                name: getattr(self, name)
                for name in (
                    *(
                        "url",
                        "key",
                        "seed",
                        "slo_s",
                        "bin_s",
                        "connections",
                        "give_up_s",
                        "number",
                        "senders",
                    ),
                )
            },
            "phases": [phase.document() for phase in self.phases],
            "photos": [photos.document() for photos in self.photos],
        }

    @classmethod
    def read(cls, document: dict[str, Any]) -> Orders:
        """What `document` gave."""
        phases = tuple(Phase.read(phase) for phase in document["phases"])
        photos = tuple(PhotoFiles.read(each) for each in document["photos"])
        return cls(**{**document, "phases": phases, "photos": photos})


@dataclass(frozen=True, slots=True)
class Progress:
    """What has happened since the last time somebody asked."""

    sent: int
    counts: dict[Kind, int]
    good: int
    answered: Latencies
    lag: Latencies
    cpu_share: float
    """Of one core, this process alone."""
    in_flight: int


class Sender:
    """Building it sends nothing: `run()` does. `tallies` holds what became of each phase."""

    def __init__(self, orders: Orders, photos: PhotoStock) -> None:
        self.tallies = [Tally(orders.slo_s, orders.bin_s) for _ in orders.phases]
        self.cpu_shares: list[float] = []
        """Of one core, for every stretch between two looks at the progress."""
        self.cpu_s = 0.0
        """From the start to the end of the run."""
        self.in_flight = 0
        self._orders = orders
        self._photos = photos
        self._paths = [f"{orders.url}/v1/analyze?{urlencode(phase.query, safe=',@')}".rstrip("?") for phase in orders.phases]  # fmt: skip
        self._calls: set[asyncio.Task[None]] = set()
        self._bug: BaseException | None = None
        self._recent = Tally(orders.slo_s)
        self._looked_at = (monotonic(), time.process_time())
        self._is_stopped = asyncio.Event()

    async def run(self, started: float) -> None:
        """Send everything, the run having started at `started` (`time.monotonic()`, alike in all processes of a machine),
        and return when the last call has ended."""
        self._looked_at = (monotonic(), began := time.process_time())
        headers = {"Content-Type": "application/octet-stream", "Accept": "application/json"}
        if self._orders.key is not None:
            headers["Authorization"] = f"Bearer {self._orders.key}"
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._orders.connections, keepalive_timeout=_IDLE_S),
            timeout=aiohttp.ClientTimeout(total=self._orders.give_up_s),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            headers=headers,
        ) as session:
            await self._send_all(session, started)
            while self._calls:
                await asyncio.wait(self._calls)
        self.cpu_s = time.process_time() - began
        if self._bug is not None:
            raise self._bug

    def stop(self) -> None:
        """Send no more; what is on its way is waited for."""
        self._is_stopped.set()

    def progress(self) -> Progress:
        """What has happened since the last look."""
        recent, self._recent = self._recent, Tally(self._orders.slo_s)
        (then, used), now = self._looked_at, (monotonic(), time.process_time())
        self._looked_at = now
        share = (now[1] - used) / max(1e-9, now[0] - then)
        self.cpu_shares.append(share)
        outcomes = recent.outcomes
        return Progress(
            recent.lag.count, outcomes.counts, outcomes.good, outcomes.answered, recent.lag, share, self.in_flight
        )  # fmt: skip

    def _mine(self) -> Iterator[tuple[int, float, bytes]]:
        """(number of the phase, when it is due, photo) of this sender's calls. The photos of a run do not depend on how many
        senders share it."""
        chance = random.Random(self._orders.seed)
        calls: Iterable[tuple[int, float, bytes]] = (
            (phase, due_s, self._photos.choice(chance))
            for phase, due_s in schedule(list(self._orders.phases), self._orders.seed)
        )
        return islice(calls, self._orders.number, None, self._orders.senders)

    async def _send_all(self, session: aiohttp.ClientSession, started: float) -> None:
        loop, in_a_row = asyncio.get_running_loop(), 0
        for phase, due_s, photo in self._mine():
            due = started + due_s
            while (ahead := due - monotonic()) > 0:
                in_a_row = 0
                await self._pause(ahead)
                if self._is_stopped.is_set():
                    return
            in_a_row += 1
            if in_a_row % _MOST_IN_A_ROW == 0:
                # behind: what has been answered meanwhile is not kept waiting for all that is overdue
                await asyncio.sleep(0)
                if self._is_stopped.is_set():
                    return
            call = loop.create_task(self._call(session, phase, due, due_s, photo))
            self._calls.add(call)
            call.add_done_callback(self._ended)

    def _ended(self, call: asyncio.Task[None]) -> None:
        self._calls.discard(call)
        bug = None if call.cancelled() else call.exception()
        if bug is not None:
            # a call that is not counted would make every figure a lie
            self._bug = bug
            self.stop()

    async def _pause(self, seconds: float) -> None:
        if seconds < 0.5:
            await asyncio.sleep(seconds)
            return
        # long enough that somebody may stop the run meanwhile
        try:
            async with asyncio.timeout(seconds):
                await self._is_stopped.wait()
        except TimeoutError:
            pass

    async def _call(
        self, session: aiohttp.ClientSession, phase: int, due: float, due_s: float, photo: bytes
    ) -> None:
        tally, recent = self.tallies[phase], self._recent
        lag_s = monotonic() - due
        is_held = self.in_flight >= self._orders.connections
        tally.sent(lag_s, len(photo), is_held)
        recent.lag.add(lag_s)
        self.in_flight += 1
        status, raw, lost = 0, b"", ""
        try:
            async with session.post(self._paths[phase], data=photo) as response:
                raw = await response.read()
                status = response.status
        except TimeoutError:
            lost = GAVE_UP
        except aiohttp.ClientConnectorError as error:
            lost = _NO_RESOURCES.get(error.errno or 0, NOT_CONNECTED)
        except OSError as error:
            lost = _NO_RESOURCES.get(error.errno or 0, BROKEN)
        except aiohttp.ClientError:
            lost = BROKEN
        finally:
            self.in_flight -= 1
        seconds = monotonic() - due
        if lost:
            tally.ended(due_s, "lost", seconds, lost, {})
            self._recent.outcomes.add("lost", seconds, lost)
            return
        kind, code, parts = read_answer(status, raw)
        tally.ended(due_s, kind, seconds, code, parts)
        self._recent.outcomes.add(kind, seconds, code)
