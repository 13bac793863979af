"""Station: a worker that is ready, and the batch that it was handed and has not answered; and all of a minion's stations.

They hand over and remember. Which batch comes next, and what becomes of its items, is the dispatcher's business.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
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

    __slots__ = ("batch", "is_ending", "relieved", "worker")

    def __init__(self, worker: WorkerProcess) -> None:
        self.worker = worker
        self.batch: Batch | None = None
        self.is_ending = False
        """Whether it gets no further batch: it is being killed or relieved."""
        self.relieved: asyncio.Future[None] | None = None
        """For whom waits until a worker that was relieved has no batch left."""

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


class Stations:
    """Every worker that is ready, in the order in which they became so."""

    def __init__(self) -> None:
        self._stations: list[Station] = []

    def __len__(self) -> int:
        return len(self._stations)

    def add(self, worker: WorkerProcess) -> None:
        """A worker is ready."""
        self._stations.append(Station(worker))

    def remove(self, worker: WorkerProcess | None) -> Batch | None:
        """A worker is gone (None: the only one); the batch that it had."""
        station = self._of(worker)
        if station is None:
            return None
        self._stations.remove(station)
        return station.batch

    def relieve(self, worker: WorkerProcess) -> asyncio.Future[None]:
        """Give a worker no more batches; the future is done when it has none left."""
        relieved: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        station = self._of(worker)
        if station is None:
            relieved.set_result(None)
        else:
            station.is_ending, station.relieved = True, relieved
            self._let_go(station)
        return relieved

    def ended(self, batch: Batch) -> None:
        """A batch came back."""
        batch.station.batch = None
        self._let_go(batch.station)

    def running(self) -> list[Batch]:
        """The batches at workers."""
        return [station.batch for station in self._stations if station.batch is not None]

    def free(self) -> Station | None:
        """The first that takes a batch now."""
        return next((station for station in self._stations if station.is_free), None)

    def free_at(self, predict: Callable[[int], float]) -> float | None:
        """When one should be free, in monotonic seconds; None when one is, or when there is none."""
        running = self.running()
        if not running or self.free() is not None:
            return None
        return min(batch.started_at + predict(len(batch.items)) for batch in running)

    def shared(self, waiting: int) -> int:
        """How many of the items that wait seem to go before a new one when several workers take them."""
        return waiting // max(1, len(self._stations))

    def _of(self, worker: WorkerProcess | None) -> Station | None:
        return next((each for each in self._stations if worker is None or each.worker is worker), None)

    def _let_go(self, station: Station) -> None:
        if station.relieved is not None and station.batch is None and station in self._stations:
            self._stations.remove(station)
            station.relieved.set_result(None)
