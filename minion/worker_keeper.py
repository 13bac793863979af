"""WorkerKeeper: there is a worker, or the next one is on its way. Starts, replaces with back-off, stops.

It tells its `Crew` when a worker is ready and when one is gone. What becomes of the items is not its business.
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
from minion.worker_process import Loaded, OnAnswer, WorkerLost, WorkerProcess

# Expected time to load before the model has ever loaded.
_FIRST_LOAD_GUESS_S: Final = 5.0

log = structlog.get_logger(__name__)


class Crew(Protocol):
    """Who is told. Called on the loop; must not raise."""

    def worker_starting(self, ready_at: float) -> None:
        """A worker is being started and expected to be ready at `ready_at` (monotonic seconds)."""

    def worker_ready(self, worker: WorkerProcess, loaded: Loaded) -> None:
        """A worker has loaded and waits for batches."""

    def worker_lost(self, lost: WorkerLost, was_ready: bool, ready_at: float) -> None:
        """The worker is gone; the next one is expected to be ready at `ready_at` (monotonic seconds)."""

    def worker_answered(self, header: dict[str, Any], payload: Buffer) -> None:
        """The outcomes of a batch."""


class WorkerKeeper:
    """Keeps one worker alive. `make` builds the next one; `run()` works until it is cancelled or `close()` is called."""

    def __init__(self, make: Callable[[OnAnswer], WorkerProcess], crew: Crew) -> None:
        self.restarts = 0
        """Workers replaced so far."""
        self.state = "starting"
        self._make = make
        self._crew = crew
        self._backoff = Backoff()
        self._worker: WorkerProcess | None = None
        self._load_s = _FIRST_LOAD_GUESS_S
        self._task: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """The present worker's pid."""
        return self._worker.pid if self._worker is not None else None

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name="worker keeper")

    def served(self) -> None:
        """The present worker answered a batch: its next end is not part of a crash loop."""
        self._backoff.served()

    async def close(self, *, at_once: bool = False) -> None:
        """Stop the worker and start no other."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        if self._worker is not None:
            if at_once:
                self._worker.kill()
            await self._worker.close()
            self._worker = None

    async def _run(self) -> None:
        while True:
            worker = self._worker = self._make(self._crew.worker_answered)
            self.state = "starting"
            self._crew.worker_starting(time.monotonic() + self._load_s)
            was_ready = False
            try:
                loaded = await worker.start()
            except WorkerLost as error:
                lost = error
            else:
                was_ready = True
                self._load_s = loaded.seconds
                self.state = "ready"
                log.info("worker_ready", pid=worker.pid, load_s=round(loaded.seconds, 3))
                self._crew.worker_ready(worker, loaded)
                lost = await worker.ended()
            wait_s = self._backoff.failed(random.random())
            self.state = "failed"
            log.error(
                "worker_lost",
                pid=worker.pid,
                reason=lost.reason,
                problem=lost.problem,
                again_in_s=round(wait_s, 2),
            )
            self._worker = None
            self.restarts += 1
            self._crew.worker_lost(lost, was_ready, time.monotonic() + wait_s + self._load_s)
            await asyncio.sleep(wait_s)
