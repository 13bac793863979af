"""Station: a worker that is ready, and the batches that it was handed and has not answered.

It hands over and remembers. Which batch comes next, and what becomes of its items, is the dispatcher's business.
"""

from __future__ import annotations

import contextlib
from typing import Any

from crema.host.channel import ChannelLost
from minion.request import Item
from minion.splitter import Part
from minion.worker_process import WorkerProcess


class Batch:
    """What a worker is doing: since when (monotonic seconds), and until when it may."""

    __slots__ = ("id", "part", "started_at", "station", "until")

    def __init__(
        self, batch_id: int, part: Part[Item], station: Station, started_at: float, until: float
    ) -> None:
        self.id = batch_id
        self.part = part
        self.station = station
        self.started_at = started_at
        self.until = until

    @property
    def items(self) -> list[Item]:
        """In the order in which the worker has them."""
        return self.part.items


class Station:
    """One worker and its batch."""

    __slots__ = ("batch", "is_ending", "worker")

    def __init__(self, worker: WorkerProcess) -> None:
        self.worker = worker
        self.batch: Batch | None = None
        self.is_ending = False
        """Whether it gets no further batch: it is being killed or relieved."""

    @property
    def is_free(self) -> bool:
        """Whether a batch can be handed over."""
        return self.batch is None and not self.is_ending

    def hand_over(self, batch: Batch) -> None:
        """Send a batch."""
        self.batch = batch
        params: list[dict[str, Any]] | None = None
        if any(item.params is not None for item in batch.items):
            params = [item.params or {} for item in batch.items]
        # a channel that is lost means that the worker has just died: its loss comes next and answers these items
        with contextlib.suppress(ChannelLost):
            self.worker.run(batch.id, [item.pixels for item in batch.items], params)

    def end(self, reason: str, problem: str) -> None:
        """Have the worker killed; its loss will be told with this reason."""
        self.is_ending = True
        self.worker.end(reason, problem)
