"""Station: a worker that is ready, and the batches that it was handed and has not answered; and all of a minion's stations.

They hand over and remember. Which batch comes next, and what becomes of its items, is the dispatcher's business.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections import deque
from operator import attrgetter

from crema.host.channel_lost import ChannelLost
from minion.cost_curve import CostCurve
from minion.gpu_memory import GpuMemory
from minion.in_flight import InFlight
from minion.request import Item
from minion.splitter import Part
from minion.worker_process import WorkerProcess

_batches_of = attrgetter("batches")


class Batch:
    """What a worker has: since when it could run it (monotonic seconds), and until when it may (infinite: not begun)."""

    __slots__ = ("id", "part", "settled", "started_at", "station", "until")

    def __init__(self, batch_id: int, part: Part[Item], station: Station, started_at: float) -> None:
        self.id = batch_id
        self.part = part
        self.station = station
        self.started_at = started_at
        self.until = math.inf
        self.settled: set[Item] = set()
        """Those for which nobody waits any more: while they lay at the worker their deadline passed or their caller left."""

    @property
    def items(self) -> list[Item]:
        """In the order in which the worker has them."""
        return self.part.items

    @property
    def open(self) -> list[Item]:
        """Those for which somebody waits."""
        return [item for item in self.items if item not in self.settled] if self.settled else self.items


class Station:
    """One worker and its batches, the one that it runs first."""

    __slots__ = (
        "batches", "gpu_memory", "has_served", "in_flight", "is_ending", "overlaps", "relieved", "worker",
    )  # fmt: skip

    def __init__(self, worker: WorkerProcess, in_flight: InFlight, *, overlaps: bool = False) -> None:
        self.worker = worker
        self.overlaps = overlaps
        """Whether it runs all the batches that it has, and not only the first."""
        self.gpu_memory: GpuMemory | None = None
        """What it last said of its GPU."""
        self.batches: deque[Batch] = deque()
        self.in_flight = in_flight
        self.has_served = False
        """Whether it ever gave outcomes."""
        self.is_ending = False
        """Whether it gets no further batch: it is being killed or relieved."""
        self.relieved: asyncio.Future[None] | None = None
        """For whom waits until a worker that was relieved has no batch left."""

    def room_at(self, now: float, waiting: int, *, is_full: bool) -> float | None:
        """When it should be handed another batch of what waits, `now` or later; None: only once it has answered one."""
        if self.is_ending or (self.batches and not self.batches[-1].part.is_fresh):
            return None  # how a batch ends against which something is known, decides what runs next
        return self.in_flight.room_at(now, waiting, is_full=is_full)

    def hand_over(self, batch: Batch) -> None:
        """Send a batch."""
        items = batch.part.items
        until: list[float | None] | None = None
        if self.batches:
            until = [item.deadline if item.deadline < math.inf else None for item in items]
        self.batches.append(batch)
        self.in_flight.handed(batch.started_at, len(items))
        has_params = lies_there = False
        for item in items:
            has_params = has_params or item.params is not None
            lies_there = lies_there or item.at is not None
        params = [item.params or {} for item in items] if has_params else None
        at = [item.at for item in items] if lies_there else None
        try:
            self.worker.run(batch.id, [item.pixels for item in items], params, until, at)
        except ChannelLost:
            return  # the worker has just died: its loss comes next and answers these items

    def skip(self, batch: Batch, items: list[Item]) -> None:
        """Items of a batch that lies here need not run: their caller has gone."""
        batch.settled.update(items)
        with contextlib.suppress(ChannelLost):
            self.worker.skip(batch.id, [batch.items.index(item) for item in items])

    def end(self, reason: str, problem: str) -> None:
        """Have the worker killed; its loss will be told with this reason."""
        self.is_ending = True
        self.worker.end(reason, problem)


class Stations:
    """Every worker that is ready, in the order in which they became so."""

    def __init__(self, depth: int, curve: CostCurve) -> None:
        self._depth = depth
        self._curve = curve
        self._stations: list[Station] = []
        self.overlaps = False
        """Whether a worker runs two batches at once."""

    def __len__(self) -> int:
        return len(self._stations)

    def add(
        self, worker: WorkerProcess, *, overlaps: bool = False, gpu_memory: GpuMemory | None = None
    ) -> None:
        """A worker is ready; whether it runs two batches at once, and what it says of its GPU."""
        station = Station(worker, InFlight(self._depth, self._curve, overlaps=overlaps), overlaps=overlaps)
        station.gpu_memory = gpu_memory
        self._stations.append(station)
        self.overlaps = self.overlaps or overlaps

    def remove(self, worker: WorkerProcess | None) -> list[Batch]:
        """A worker is gone (None: the only one); the batches that it had, the one that it ran first."""
        station = self._of(worker)
        if station is None:
            return []
        self._forget(station)
        batches = list(station.batches)
        # they hold each other: let go here, or pixels stay until the garbage collector comes
        station.batches.clear()
        return batches

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

    def ended(self, batch: Batch, now: float, busy_s: float, waited_s: float) -> float:
        """A batch came back, and the worker has begun the next one if it had two. Returns the seconds that it cost."""
        station = batch.station
        station.batches.remove(batch)
        cost_s = station.in_flight.ended(now, busy_s, waited_s)
        if station.batches:
            station.batches[0].started_at = now
        elif station.relieved is not None:
            self._let_go(station)
        return cost_s

    def take_back(self) -> list[Batch]:
        """Every batch that is at a worker: nobody waits for its outcomes any more."""
        batches = [batch for station in self._stations for batch in station.batches]
        for station in self._stations:
            station.batches.clear()
            self._let_go(station)
        return batches

    def running(self) -> list[Batch]:
        """The batches that workers run now, one each."""
        return [station.batches[0] for station in self._stations if station.batches]

    @property
    def is_running(self) -> bool:
        """Whether a worker has anything to do."""
        return any(map(_batches_of, self._stations))

    def find(self, batch_id: int) -> Batch | None:
        """The batch of this number that is at a worker."""
        for station in self._stations:
            for batch in station.batches:
                if batch.id == batch_id:
                    return batch
        return None

    def lying(self) -> list[Batch]:
        """The batches that lie ready at workers and have not begun."""
        return [batch for station in self._stations for batch in list(station.batches)[1:]]

    @property
    def is_one_free(self) -> bool:
        """Whether a worker has nothing to do."""
        for station in self._stations:
            if station.batches or station.is_ending:
                continue
            return True
        return False

    def room(self, now: float, waiting: int, *, is_full: bool) -> tuple[Station, float] | None:
        """Who should be handed a batch first of what waits (0: only one that is free), and when (`now` or later); None:
        nobody before one is answered. `is_full`: what waits fills a batch."""
        best: tuple[Station, float] | None = None
        for station in self._stations:
            if station.batches and not waiting:
                continue
            at = station.room_at(now, waiting, is_full=is_full)
            if at is not None and (best is None or at < best[1]):
                best = (station, at)
        return best

    def gpu_memory(self) -> GpuMemory | None:
        """Of the GPU: what all workers reserved, and the newest figures of the whole; None where none told any."""
        told = [station.gpu_memory for station in self._stations if station.gpu_memory is not None]
        if not told:
            return None
        return GpuMemory(sum(each.reserved for each in told), told[-1].used, told[-1].total)

    def free_at(self, now: float) -> float | None:
        """When the first one should have nothing left, in monotonic seconds; None when one has, or when there is none."""
        first: float | None = None
        for station in self._stations:
            if station.is_ending:
                continue
            at = station.in_flight.free_at(now)
            if at is None:
                return None
            if first is None or at < first:
                first = at
        return first

    @property
    def count(self) -> int:
        """How many take batches."""
        return sum(not station.is_ending for station in self._stations)

    def _of(self, worker: WorkerProcess | None) -> Station | None:
        return next((each for each in self._stations if worker is None or each.worker is worker), None)

    def _let_go(self, station: Station) -> None:
        if station.relieved is not None and not station.batches and station in self._stations:
            self._forget(station)
            station.relieved.set_result(None)

    def _forget(self, station: Station) -> None:
        self._stations.remove(station)
        self.overlaps = any(each.overlaps for each in self._stations)
