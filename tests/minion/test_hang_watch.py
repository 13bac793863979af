"""Who is killed for a batch over its time, and that a host which was stopped itself kills nobody for it."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from minion import hang_watch
from minion.hang_watch import HangWatch
from minion.station import Batch


class FakeStation:
    def __init__(self) -> None:
        self.is_ending = False
        self.ended_for: list[str] = []

    def end(self, reason: str, problem: str) -> None:
        self.is_ending = True
        self.ended_for.append(reason)


class FakeBatch:
    def __init__(self, started_at: float, until: float) -> None:
        self.items = [object()]
        self.started_at = started_at
        self.until = until
        self.station = FakeStation()


class Rig:
    """Batches at workers, and a clock that tests turn."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.batches: list[FakeBatch] = []
        self.looks = 0
        self.watch = HangWatch(self._running, lambda: self.now)

    def began(self, for_s: float) -> FakeBatch:
        batch = FakeBatch(self.now, self.now + for_s)
        self.batches.append(batch)
        self.watch.began(cast(Batch, batch))
        return batch

    async def looked(self, now: float) -> None:
        """Turn the clock and wait for a look that began after that."""
        self.now = now
        looks = self.looks
        async with asyncio.timeout(5):
            while self.looks == looks:
                await asyncio.sleep(0.001)

    def _running(self) -> Any:
        self.looks += 1
        return self.batches


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    # the loop's clock is real: it looks soon, whatever time the turned clock says
    monkeypatch.setattr(hang_watch, "_LOOK_S", 0.01)


async def test_a_batch_over_its_time_ends_its_worker_once_and_no_other() -> None:
    rig = Rig()
    hangs, works = rig.began(0.4), rig.began(60.0)
    await rig.looked(1000.3)
    assert hangs.station.ended_for == []
    await rig.looked(1000.45)
    await rig.looked(1000.5)
    assert (hangs.station.ended_for, works.station.ended_for) == (["watchdog"], [])


async def test_a_host_that_was_stopped_itself_gives_its_workers_the_time_back() -> None:
    rig = Rig()
    batch = rig.began(0.4)
    await rig.looked(1060.0)
    assert batch.station.ended_for == []
    assert batch.until == pytest.approx(1060.4, abs=0.05)
    await rig.looked(batch.until + 0.01)
    assert batch.station.ended_for == ["watchdog"]


async def test_it_looks_only_while_there_are_batches() -> None:
    rig = Rig()
    rig.began(60.0)
    await rig.looked(1000.1)
    rig.batches.clear()
    await rig.looked(1000.2)
    looks = rig.looks
    await asyncio.sleep(0.05)
    assert rig.looks == looks
    batch = rig.began(0.1)
    await rig.looked(1000.35)
    assert batch.station.ended_for == ["watchdog"]
