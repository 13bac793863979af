"""A slot whose workers grow, end and do not load, with workers that are only promises."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Any, cast

import pytest

from crema.host.channel import Buffer
from minion import worker_slot
from minion.memory_limit import MemoryLimit
from minion.worker_process import Loaded, OnAnswer, WorkerLost, WorkerProcess
from minion.worker_slot import WorkerSlot


class PromisedWorker:
    """Loads and ends when the test says so."""

    def __init__(self, number: int) -> None:
        loop = asyncio.get_running_loop()
        self.pid = 2**30 + number  # nobody's
        self.loads: asyncio.Future[Loaded] = loop.create_future()
        self.ends: asyncio.Future[WorkerLost] = loop.create_future()
        self.is_closed = False

    async def start(self) -> Loaded:
        return await asyncio.shield(self.loads)

    async def ended(self) -> WorkerLost:
        return await asyncio.shield(self.ends)

    def kill(self) -> None:
        if not self.loads.done():
            self.loads.set_exception(WorkerLost("load_failed", "killed"))

    async def close(self) -> None:
        self.is_closed = True


class Told:
    """A crew that writes down what it is told."""

    def __init__(self) -> None:
        self.events: list[tuple[str, int | None]] = []
        self.relieved: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def worker_starting(self, ready_at: float) -> None:
        self.events.append(("starting", None))

    def worker_ready(self, worker: WorkerProcess, loaded: Loaded) -> None:
        self.events.append(("ready", worker.pid))

    def worker_relieved(self, worker: WorkerProcess) -> asyncio.Future[None]:
        self.events.append(("relieved", worker.pid))
        return self.relieved

    def worker_lost(self, lost: WorkerLost, was_ready: bool, ready_at: float, worker: WorkerProcess) -> None:
        self.events.append(("lost", worker.pid))

    def worker_answered(self, header: dict[str, Any], payload: Buffer) -> None:
        raise AssertionError("these workers answer nothing")


class Grown(MemoryLimit):
    """Over it when the test says so."""

    is_too_much = False

    def is_over(self, resident: int) -> bool:
        return self.is_too_much


class Rig:
    """One slot and the workers that it was given."""

    def __init__(self) -> None:
        self.workers: list[PromisedWorker] = []
        self.crew = Told()
        self.limit = Grown()
        self.slot = WorkerSlot(self._make, self.crew, self.limit, lambda: math.inf)

    def _make(self, on_answer: OnAnswer) -> WorkerProcess:
        self.workers.append(PromisedWorker(len(self.workers)))
        return cast(WorkerProcess, self.workers[-1])

    async def until(self, check: Callable[[], bool]) -> None:
        async with asyncio.timeout(5):
            while not check():
                await asyncio.sleep(0.001)

    async def grow(self) -> tuple[PromisedWorker, PromisedWorker]:
        """The first worker has loaded and grown, the second is being loaded."""
        self.slot.start()
        await self.until(lambda: len(self.workers) == 1)
        self.workers[0].loads.set_result(Loaded(0.0, ()))
        self.limit.is_too_much = True
        await self.until(lambda: len(self.workers) == 2)
        self.limit.is_too_much = False
        return self.workers[0], self.workers[1]


@pytest.fixture
async def rig(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(worker_slot, "_LOOK_S", 0.001)
    rig = Rig()
    yield rig
    await rig.slot.close()


async def test_the_grown_worker_serves_until_the_next_has_loaded_and_ends_when_it_is_idle(rig: Rig) -> None:
    old, fresh = await rig.grow()
    assert ("relieved", old.pid) not in rig.crew.events
    fresh.loads.set_result(Loaded(0.0, ()))
    await rig.until(lambda: ("relieved", old.pid) in rig.crew.events)
    assert rig.crew.events[-2:] == [("ready", fresh.pid), ("relieved", old.pid)]
    assert not old.is_closed
    rig.crew.relieved.set_result(None)
    await rig.until(lambda: old.is_closed)
    assert rig.slot.restarts == 1
    assert not fresh.is_closed


async def test_a_relief_that_does_not_load_changes_nothing(rig: Rig) -> None:
    _, fresh = await rig.grow()
    before = list(rig.crew.events)
    fresh.loads.set_exception(WorkerLost("load_failed", "no"))
    rig.limit.is_too_much = True
    for _ in range(20):
        await asyncio.sleep(0.001)
    assert rig.crew.events == before
    assert len(rig.workers) == 2
    assert rig.slot.restarts == 0


async def test_a_grown_worker_that_dies_before_its_relief_is_replaced_as_usual(rig: Rig) -> None:
    old, _ = await rig.grow()
    rig.slot.served()
    old.ends.set_result(WorkerLost("crashed", "died"))
    await rig.until(lambda: len(rig.workers) == 3)
    assert ("lost", old.pid) in rig.crew.events
    assert ("relieved", old.pid) not in rig.crew.events


async def test_a_relieved_worker_that_dies_over_its_last_batch_is_told_as_lost(rig: Rig) -> None:
    old, fresh = await rig.grow()
    fresh.loads.set_result(Loaded(0.0, ()))
    await rig.until(lambda: ("relieved", old.pid) in rig.crew.events)
    old.ends.set_result(WorkerLost("crashed", "died"))
    await rig.until(lambda: old.is_closed)
    assert rig.crew.events[-1] == ("lost", old.pid)
    assert not fresh.is_closed


async def test_closing_ends_a_worker_and_its_relief(rig: Rig) -> None:
    old, fresh = await rig.grow()
    await rig.slot.close()
    assert (old.is_closed, fresh.is_closed) == (True, True)
