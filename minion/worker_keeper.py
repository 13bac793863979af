"""WorkerKeeper: a minion's workers, one slot each. How a slot is kept filled is minion.worker_slot's business."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from minion.memory_limit import MemoryLimit
from minion.worker_process import OnAnswer, WorkerProcess
from minion.worker_slot import Crew, WorkerSlot


class WorkerKeeper:
    """Keeps `count` workers alive that share one crew's queue. `make` builds a worker; `limit` a slot's memory limit."""

    def __init__(
        self,
        make: Callable[[OnAnswer], WorkerProcess],
        crew: Crew,
        count: int = 1,
        limit: Callable[[], MemoryLimit] = MemoryLimit,
    ) -> None:
        self._slots = [WorkerSlot(make, crew, limit(), self._earliest) for _ in range(count)]

    @property
    def restarts(self) -> int:
        """Workers replaced so far."""
        return sum(slot.restarts for slot in self._slots)

    @property
    def workers(self) -> list[dict[str, object]]:
        """`pid` and `state` of every worker that there is."""
        return [
            {"pid": slot.worker.pid, "state": slot.state}
            for slot in self._slots
            if slot.worker is not None and slot.worker.pid is not None
        ]

    def start(self) -> None:
        """Begin."""
        for slot in self._slots:
            slot.start()

    def served(self, worker: WorkerProcess) -> None:
        """A worker answered a batch: its next end is not part of a crash loop."""
        for slot in self._slots:
            if slot.worker is worker:
                slot.served()

    async def close(self, *, at_once: bool = False) -> None:
        """Stop the workers and start no other."""
        await asyncio.gather(*(slot.close(at_once=at_once) for slot in self._slots))

    def _earliest(self) -> float:
        return min(slot.ready_at for slot in self._slots)
