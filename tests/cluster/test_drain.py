"""A coordinator that is told to stop under load: unready at once, nothing in flight lost, gone in time (F12)."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections import Counter
from pathlib import Path

import aiohttp
import pytest

from tests.coordinator.stub_tiers import JPEG
from tests.coordinator.test_process import Running, running

GRACE = ("--grace-s", "0.8")


class Balancer:
    """Callers behind a balancer of their own: whoever says on `/readyz` that it is ready gets calls, in turn.

    It looks every 50 ms, as often as a load balancer would within the drain's real grace. Every answer is counted.
    """

    def __init__(self, *coordinators: Running) -> None:
        self.statuses: Counter[int | str] = Counter()
        self.served_by: Counter[str] = Counter()
        self._urls = [each.url for each in coordinators]
        self._ready = set(self._urls)
        self._is_over = False

    async def look(self) -> None:
        async with aiohttp.ClientSession() as session:
            while not self._is_over:
                for url in self._urls:
                    try:
                        async with session.get(url + "/readyz") as response:
                            is_ready = response.status == 200
                    except aiohttp.ClientError:
                        is_ready = False
                    (self._ready.add if is_ready else self._ready.discard)(url)
                await asyncio.sleep(0.05)

    async def call(self, number: int) -> None:
        """One caller: one connection per coordinator, kept alive; a call at a time."""
        async with aiohttp.ClientSession() as session:
            while not self._is_over:
                ready = sorted(self._ready)
                url = ready[number % len(ready)]
                number += 1
                try:
                    async with session.post(url + "/v1/analyze", data=JPEG) as response:
                        json.loads(await response.read())
                        self.statuses[response.status] += 1
                        self.served_by[url] += 1
                except aiohttp.ClientError as error:
                    self.statuses[type(error).__name__] += 1
                await asyncio.sleep(0.002)

    async def __aenter__(self) -> Balancer:
        self._tasks = [
            asyncio.create_task(each) for each in (self.look(), *(self.call(number) for number in range(8)))
        ]
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._is_over = True
        await asyncio.gather(*self._tasks)

    async def until_calls(self, count: int) -> None:
        async with asyncio.timeout(20):
            while sum(self.statuses.values()) < count:
                await asyncio.sleep(0.01)


async def is_ready(coordinator: Running) -> bool:
    async with coordinator.session.get(coordinator.url + "/readyz") as response:
        return response.status == 200


async def test_with_a_second_coordinator_not_one_call_fails_while_the_first_drains(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    async with running(tmp_path / "one", *GRACE) as first, running(tmp_path / "two", *GRACE) as second:
        await first.ready()
        await second.ready()
        first.minion.delay_s = second.minion.delay_s = 0.05
        async with Balancer(first, second) as balancer:
            await balancer.until_calls(40)
            began = time.monotonic()
            first.process.send_signal(signal.SIGTERM)
            assert await first.process.wait() == 0
            assert time.monotonic() - began < 30
            before = sum(balancer.statuses.values())
            await balancer.until_calls(before + 20)
        assert set(balancer.statuses) == {200}, balancer.statuses
        assert set(balancer.served_by) == {first.url, second.url}


async def test_it_is_unready_at_once_and_finishes_what_takes_longer_than_the_grace(tmp_path: Path) -> None:
    async with running(tmp_path, *GRACE) as coordinator:
        await coordinator.ready()
        coordinator.minion.delay_s = 1.6
        in_flight = [asyncio.create_task(coordinator.post()) for _ in range(5)]
        await coordinator.minion.until(lambda: len(coordinator.minion.requests) == 5)
        coordinator.process.send_signal(signal.SIGTERM)
        began = time.monotonic()
        while await is_ready(coordinator):
            assert time.monotonic() - began < 1
        assert [status for status, _ in await asyncio.gather(*in_flight)] == [200] * 5
        assert await coordinator.process.wait() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_second_signal_ends_it_at_once_whatever_is_in_flight(
    tmp_path: Path, number: signal.Signals
) -> None:
    async with running(tmp_path, "--grace-s", "20") as coordinator:
        await coordinator.ready()
        coordinator.minion.delay_s = 20
        in_flight = [asyncio.create_task(coordinator.post()) for _ in range(5)]
        await coordinator.minion.until(lambda: len(coordinator.minion.requests) == 5)
        coordinator.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(5):
            while await is_ready(coordinator):
                pass
        began = time.monotonic()
        coordinator.process.send_signal(number)
        assert await coordinator.process.wait() != 0
        assert time.monotonic() - began < 1
        lost = await asyncio.gather(*in_flight, return_exceptions=True)
        assert all(isinstance(each, aiohttp.ClientError) for each in lost)
