"""WorkerSlot: one place for a worker, kept filled: started, replaced with back-off when it ends, relieved when it grows.

A worker that has grown beyond its memory limit is relieved without anybody waiting: the next one is loaded beside it, takes
over, and the old one ends once its batch has. What becomes of items is the crew's business.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Callable
from typing import Any, Final, Protocol

import structlog

from crema.host.channel import Buffer
from minion.backoff import Backoff
from minion.memory_limit import MemoryLimit, own_bytes
from minion.worker_process import Loaded, OnAnswer, WorkerLost, WorkerProcess

# Expected time to load before the model has ever loaded.
_FIRST_LOAD_GUESS_S: Final = 5.0
# How often a worker's memory is looked at.
_LOOK_S: Final = 0.5
# A fresh worker serves for at least this many times the time it took to load; loading costs a core.
_LEAST_LOADS: Final = 2.0
# After a relief that did not load.
_RELIEF_AGAIN_S: Final = 60.0

log = structlog.get_logger(__name__)


class Crew(Protocol):
    """Who is told. Called on the loop; must not raise."""

    def worker_starting(self, ready_at: float) -> None:
        """A worker is being started and expected to be ready at `ready_at` (monotonic seconds)."""

    def worker_ready(self, worker: WorkerProcess, loaded: Loaded) -> None:
        """A worker has loaded and waits for batches."""

    def worker_relieved(self, worker: WorkerProcess) -> asyncio.Future[None]:
        """A worker gets no more batches; the future is done when it has none left."""

    def worker_lost(self, lost: WorkerLost, was_ready: bool, ready_at: float, worker: WorkerProcess) -> None:
        """A worker is gone; the next one is expected to be ready at `ready_at` (monotonic seconds)."""

    def worker_answered(self, header: dict[str, Any], payload: Buffer) -> None:
        """The outcomes of a batch."""


class WorkerSlot:
    """`make` builds the next worker; `earliest` says when the first worker of the whole minion should be ready."""

    def __init__(
        self,
        make: Callable[[OnAnswer], WorkerProcess],
        crew: Crew,
        limit: MemoryLimit,
        earliest: Callable[[], float],
    ) -> None:
        self.restarts = 0
        """Workers replaced so far."""
        self.state = "starting"
        self.ready_at = 0.0
        """When its worker is expected to be ready, or was."""
        self.worker: WorkerProcess | None = None
        self._make = make
        self._crew = crew
        self._limit = limit
        self._earliest = earliest
        self._backoff = Backoff()
        self._load_s = _FIRST_LOAD_GUESS_S
        self._relief: WorkerProcess | None = None
        self._relief_from = 0.0
        self._farewells: set[asyncio.Task[None]] = set()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin."""
        self.ready_at = time.monotonic() + self._load_s
        self._task = asyncio.get_running_loop().create_task(self._run(), name="worker slot")

    def served(self) -> None:
        """The present worker answered a batch: its next end is not part of a crash loop."""
        self._backoff.served()

    async def close(self, *, at_once: bool = False) -> None:
        """Stop its workers and start no other."""
        for task in (self._task, *self._farewells):
            if task is not None:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
        for worker in (self._relief, self.worker):
            if worker is not None:
                if at_once:
                    worker.kill()
                await worker.close()
        self.worker = self._relief = None

    async def _run(self) -> None:
        while True:
            worker = self.worker = self._make(self._crew.worker_answered)
            self.state = "starting"
            self.ready_at = time.monotonic() + self._load_s
            self._crew.worker_starting(self._earliest())
            was_ready = False
            try:
                loaded = await worker.start()
            except WorkerLost as error:
                lost = error
            else:
                was_ready = True
                self._began(worker, loaded)
                worker, lost = await self._serve(worker)
            wait_s = self._backoff.failed(random.random())
            self.state = "failed"
            log.error(
                "worker_lost",
                pid=worker.pid,
                reason=lost.reason,
                problem=lost.problem,
                again_in_s=round(wait_s, 2),
            )
            self.worker = None
            self.restarts += 1
            self.ready_at = time.monotonic() + wait_s + self._load_s
            self._crew.worker_lost(lost, was_ready, self._earliest(), worker)
            await asyncio.sleep(wait_s)

    def _began(self, worker: WorkerProcess, loaded: Loaded) -> None:
        self._load_s = loaded.seconds
        self.state = "ready"
        self.ready_at = time.monotonic()
        self._relief_from = self.ready_at + _LEAST_LOADS * loaded.seconds
        log.info("worker_ready", pid=worker.pid, load_s=round(loaded.seconds, 3))
        resident = own_bytes(worker.pid or 0)
        if not self._limit.warmed_up(resident):
            log.warning("memory_limit_too_low", resident_mb=resident >> 20, next="raise resources.memory_mb")
        self._crew.worker_ready(worker, loaded)

    async def _serve(self, worker: WorkerProcess) -> tuple[WorkerProcess, WorkerLost]:
        """Until a worker ends by itself; which one, and how. On the way it may have been relieved by another."""
        while True:
            ended = asyncio.ensure_future(worker.ended())
            try:
                while not ended.done() and not self._has_grown(worker):
                    await asyncio.wait({ended}, timeout=_LOOK_S)
                fresh = None if ended.done() else await self._relieve(worker, ended)
            except asyncio.CancelledError:
                ended.cancel()
                raise
            if ended.done():
                return worker, ended.result()
            if fresh is None:
                ended.cancel()
            else:
                self._say_farewell(worker, ended)
                worker = fresh

    def _has_grown(self, worker: WorkerProcess) -> bool:
        return time.monotonic() >= self._relief_from and self._limit.is_over(own_bytes(worker.pid or 0))

    async def _relieve(
        self, worker: WorkerProcess, ended: asyncio.Future[WorkerLost]
    ) -> WorkerProcess | None:
        """Load the next worker beside this one; None when there is none or this one ended meanwhile."""
        log.warning("worker_has_grown", pid=worker.pid, limit_mb=int(self._limit.bytes) >> 20)
        fresh = self._relief = self._make(self._crew.worker_answered)
        starting = asyncio.ensure_future(fresh.start())
        try:
            await asyncio.wait(_either(starting, ended), return_when=asyncio.FIRST_COMPLETED)
            if ended.done():
                fresh.kill()
            loaded = await starting
        except WorkerLost as lost:
            self._relief = None
            self._relief_from = time.monotonic() + _RELIEF_AGAIN_S
            if not ended.done():
                log.error("relief_did_not_load", reason=lost.reason, problem=lost.problem)
            return None
        except asyncio.CancelledError:
            starting.cancel()
            raise
        self._relief = None
        if ended.done():
            await fresh.close()
            return None
        self.worker = fresh
        self.restarts += 1
        self._began(fresh, loaded)
        return fresh

    def _say_farewell(self, worker: WorkerProcess, ended: asyncio.Future[WorkerLost]) -> None:
        task = asyncio.get_running_loop().create_task(self._farewell(worker, ended))
        self._farewells.add(task)
        task.add_done_callback(self._farewells.discard)

    async def _farewell(self, worker: WorkerProcess, ended: asyncio.Future[WorkerLost]) -> None:
        """Let a relieved worker finish its batch, then end it."""
        is_idle = self._crew.worker_relieved(worker)
        try:
            await asyncio.wait(_either(is_idle, ended), return_when=asyncio.FIRST_COMPLETED)
            if not is_idle.done():
                self._crew.worker_lost(ended.result(), True, self._earliest(), worker)
        finally:
            ended.cancel()
            await worker.close()


def _either(*futures: asyncio.Future[Any]) -> set[asyncio.Future[Any]]:
    """For `asyncio.wait`, which takes futures of one kind."""
    return set(futures)
