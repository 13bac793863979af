"""Dispatcher: the minion's heart. Admits, queues, hands batches to free workers as late as possible, scatters outcomes.

It joins the pure objects (gate, waiting room, cost curve, batch cap, watchdog, busy time, state) to the running workers.
Policy is theirs; it speaks neither HTTP nor the channel.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from typing import Any

import structlog

from crema.host.channel import Buffer
from minion import verdicts
from minion.admission import Admission
from minion.answers import outcome_of
from minion.batch_cap import BatchCap
from minion.batcher import Batcher
from minion.busy_time import BusyTime
from minion.cost_curve import CostCurve
from minion.gate import Gate
from minion.gpu_memory import read_gpu_memory
from minion.hang_watch import HangWatch
from minion.leftovers import Leftovers
from minion.load_time import LoadTime
from minion.meters import Meters
from minion.request import Done, Item, Request
from minion.scatter import Scatter, split
from minion.splitter import Part
from minion.state import Life, State
from minion.station import Batch, Station, Stations
from minion.waiting_room import WaitingRoom
from minion.watchdog import Watchdog
from minion.worker_process import Loaded, WorkerLost, WorkerProcess

log = structlog.get_logger(__name__)


class Dispatcher:
    """Parts are built by hand in `app`. `served` is told of each worker that gives outcomes, once."""

    def __init__(
        self,
        life: Life,
        gate: Gate,
        batcher: Batcher[Item],
        curve: CostCurve,
        meters: Meters,
        *,
        slo_s: float,
        served: Callable[[WorkerProcess], None],
        watchdog: Watchdog | None = None,
        in_flight: int = 1,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._life = life
        self._gate = gate
        self._room = WaitingRoom(batcher)
        self._curve = curve
        self._meters = meters
        self._slo_s = slo_s
        self._served = served
        self._now = now
        self._busy_time = BusyTime(now())
        self._load_time = LoadTime(now())
        self._loop = asyncio.get_running_loop()
        self._cap = BatchCap(curve.max_size)
        self._watchdog = watchdog or Watchdog()
        self._failures = verdicts.BatchFailures()
        self._stations = Stations(in_flight, curve)
        self._has_window = batcher.max_wait_s > 0
        self._lies_only_full = in_flight < 2
        self._batches = 0
        self._hang_watch = HangWatch(self._stations.running, now)
        self._is_pump_due = False
        self._wait_timer: asyncio.TimerHandle | None = None
        self._admission = asked = Admission(life, gate, self._room, self._stations, meters, now)
        # what is asked for every request is asked there straight
        self.admit, self.refusal, self.load = asked.admit, asked.refusal, asked.load
        self._scatter = Scatter(gate, meters, self.load, now)
        self._leftovers = Leftovers(self._admission, self._room, self._stations, self._scatter, meters, now)

    # -- requests ------------------------------------------------------------------------------------------------------

    def submit(self, request: Request) -> None:
        """The pixels of an admitted request are here: its items wait for a batch."""
        quarantined = self._room.join(request.items, self._now, request.deaths)
        if quarantined:
            self._leftovers.quarantined(quarantined, self._now())
        self._pump_soon()
        self._leftovers.watch()

    def abandon(self, request: Request) -> None:
        """Its caller has gone: what waits is dropped, what runs is thrown away, its places are free."""
        if request.is_abandoned or not request.left:
            return
        request.is_abandoned = True
        for item in request.items:
            if self._room.leave(item):
                self._meters.abandoned.inc()
        for batch in self._stations.lying():
            lying = [item for item in batch.open if item.request is request]
            if lying:
                self._meters.abandoned.inc(len(lying))
                batch.station.skip(batch, lying)
        if not request.items:  # its pixels had not all come
            self._meters.abandoned.inc(request.n)
        request.items = []
        self._scatter.leave(request.left)

    def refresh(self) -> None:
        """Bring the metrics up to date, before they are read."""
        meters = self._meters
        meters.fold()
        meters.pending.set(self._gate.pending)
        meters.places.set(self._gate.places)
        meters.busy_ratio.set(self._busy_time.ratio(self._now()))
        meters.load_ratio.set(self._load_time.ratio(self._now(), self._gate.workers))
        meters.ready.set(1 if self._life.state.is_ready else 0)
        meters.starting.set(1 if self._life.state is State.STARTING else 0)
        gpu_memory = self._stations.gpu_memory()
        if gpu_memory is not None:
            meters.gpu_memory(gpu_memory)

    # -- draining ------------------------------------------------------------------------------------------------------

    async def drain(self) -> None:
        """Admit nothing more and wait until everything admitted is answered."""
        self._gate.is_draining = True
        if self._life.state is not State.DRAINING:
            self._life.move(State.DRAINING)
        if not self._stations:
            self._leftovers.shed()
        await self._scatter.idle()

    def give_up(self) -> None:
        """The time to drain is over: what is still here is sent back, to be tried elsewhere."""
        now = self._now()
        for batch in self._stations.take_back():
            self._scatter.settle(batch.open, outcome_of(self._admission.not_ready(now)), Done(0.0, 0, {}))
        self._leftovers.shed()

    # -- the workers: the `Crew` that their slots tell (minion.worker_slot) ---------------------------------------------

    def worker_starting(self, ready_at: float) -> None:
        """Nothing can run before `ready_at`."""
        self._admission.ready_at = ready_at

    def worker_ready(self, worker: WorkerProcess, loaded: Loaded) -> None:
        """It takes its first batch from what waits; the first of all teaches curve and watchdog what its warm-up took."""
        self._stations.add(worker, overlaps=loaded.overlaps, gpu_memory=loaded.gpu_memory)
        self._gate.workers = max(1, self._stations.count)
        self._curve.seed(loaded.curve)
        self._watchdog.warmed_up(max((seconds for _, seconds in loaded.curve), default=0.0))
        self._meters.load_seconds.observe(loaded.seconds)
        if not self._life.state.is_ready and self._life.state is not State.DRAINING:
            self._life.move(State.READY)
        self._pump_soon()

    def worker_relieved(self, worker: WorkerProcess) -> asyncio.Future[None]:
        """Another worker has taken over: this one gets no more batches. The future: it has none left."""
        self._meters.restarted("leak")
        relieved = self._stations.relieve(worker)
        self._gate.workers = max(1, self._stations.count)
        return relieved

    def worker_lost(
        self, lost: WorkerLost, was_ready: bool, ready_at: float, worker: WorkerProcess | None = None
    ) -> None:
        """What it ran is answered, what lay ready behind that waits again, and what cannot wait is sent back."""
        self._meters.restarted(lost.reason)
        batches = self._stations.remove(worker) if was_ready else []
        self._gate.workers = max(1, self._stations.count)
        self._admission.ready_at = ready_at
        life, now = self._life, self._now()
        if life.state is State.DRAINING:
            ready_at = math.inf  # no other worker will come
        elif not self._stations:
            self._out_of_service(lost.problem, was_ready)
        # what lay ready had not begun: a worker begins a batch once it has answered the one before, unless it overlaps them
        begun = len(batches) if batches and batches[0].station.overlaps else 1
        for batch in reversed(batches[begun:]):
            batch.part.items = batch.open
            self._room.put_back(batch.part)
            self._leftovers.watch()
        # at once: the same content in two batches was in one death
        guilty = self._room.died([item for batch in batches[:begun] for item in batch.open], now)
        for batch in batches[:begun]:
            self._ended(now)
            items, died = batch.open, verdicts.died((0.0 if self._stations else ready_at) - now)
            self._scatter.scatter(
                items,
                [verdicts.quarantined() if item in guilty else died for item in items],
                Done(now - batch.started_at, len(items), {}),
            )
        if not self._stations:
            # what waits stays while the next worker can be expected in time
            self._leftovers.shed(ready_at + self._curve.predict(1), self._slo_s)

    def _out_of_service(self, problem: str, was_ready: bool) -> None:
        life = self._life
        if was_ready:
            life.move(State.STARTING, problem)
        elif life.state is State.STARTING:
            life.move(State.FAILED, problem)
        else:
            life.problem = problem

    def worker_answered(self, header: dict[str, Any], payload: Buffer) -> None:
        """A batch is back: learn what it cost, form the next one, then answer. An answer that makes no sense costs the
        worker."""
        batch = self._stations.find(header["id"])
        if batch is None:
            return
        if "gpu_memory" in header:
            batch.station.gpu_memory = read_gpu_memory(header["gpu_memory"])
        skipped = header.get("skipped")
        if skipped is not None and not self._leave_out(batch, skipped):
            self._broken(batch)
            return
        if header.get("error") is not None:
            self._batch_raised(batch, header)
            return
        items = batch.items
        n = len(items)
        outcomes = split(payload, header.get("sizes"), n)
        if outcomes is None:
            self._broken(batch)
            return
        now = self._now()
        seconds = self._end(batch, header, now)
        if n:
            self._learn(batch, n, seconds, now)
        if not self._room.is_empty or self._wait_timer is not None:
            self._pump()  # the worker is free: it comes before the answers
        if batch.settled:
            given = dict(zip(items, outcomes, strict=True))
            items = batch.open
            outcomes = [given[item] for item in items]
        self._scatter.scatter(items, outcomes, Done(seconds, n, {}))

    def _learn(self, batch: Batch, n: int, seconds: float, now: float) -> None:
        """What a batch of `n` that gave outcomes says about those to come."""
        curve, station = self._curve, batch.station
        curve.learn(n, seconds)
        self._load_time.add(now, n * curve.full_item_s)
        if n >= self._cap.size:
            self._cap.passed(n)
            curve.allow(self._cap.size)
        self._watchdog.learn(seconds)
        self._room.passed(batch.part)
        if not station.has_served:
            station.has_served = True
            self._served(station.worker)

    def _broken(self, batch: Batch) -> None:
        """Its worker's memory or socket is not what it was: only a new worker can be trusted."""
        log.error("worker_answer_broken", items=len(batch.items))
        batch.station.worker.kill()

    def _leave_out(self, batch: Batch, skipped: Any) -> bool:
        """The worker did not run these items of a batch that had lain there. False when it cannot mean that."""
        items = batch.items
        if type(skipped) is not list or not all(type(i) is int and 0 <= i < len(items) for i in skipped):
            return False
        left_out = {items[index] for index in skipped}
        self._leftovers.expired([item for item in items if item in left_out - batch.settled], self._now())
        batch.part.items = [item for item in items if item not in left_out]
        return True

    def _batch_raised(self, batch: Batch, header: dict[str, Any]) -> None:
        """A batch failed as a whole: it is split, unless it is clear whose error that is."""
        if batch.station.is_ending and batch.station.relieved is None:
            return  # its worker is being killed, and its loss answers this batch too
        error = header["error"]
        items, trouble, now = batch.items, error.get("trouble"), self._now()
        self._failures.log(items, error, now)
        if trouble == "cuda":
            # nothing that this process runs from now on can succeed; its loss answers the batch
            batch.station.end("cuda", f"the device failed: {error['message']}")
            return
        n = len(items)
        if n > 1 and (batch.part.split is None or trouble == "memory"):
            self._meters.batch_splits.inc()
        seconds = self._end(batch, header, now)
        if trouble == "memory":
            self._cap.ran_out(n)
            self._curve.allow(self._cap.size)
            at_fault = self._room.too_large(batch.part)
        else:
            at_fault = self._room.raised(batch.part, now)
        # what nobody waits for does not run again
        for item in [each for each in items if each.request.is_abandoned or each in batch.settled]:
            if item in at_fault:
                at_fault.remove(item)
            else:
                self._room.leave(item)
        self._pump()
        self._scatter.settle(at_fault, self._failures.outcome(error), Done(seconds, n, {}))

    def _end(self, batch: Batch, header: dict[str, Any], now: float) -> float:
        """A batch came back; what it cost, in seconds."""
        seconds = self._stations.ended(batch, now, header.get("seconds", 0.0), header.get("waited", 0.0))
        following = batch.station.batches
        if not following:
            self._ended(now)
        elif following[0].until == math.inf:
            self._begin(following[0], now)
        items = batch.part.items
        if items:
            self._meters.batch_size.observe(len(items))
            self._meters.batch_seconds.observe(seconds)
            started_at = batch.started_at
            self._meters.queue_wait_seconds.observe_all([started_at - item.queued_at for item in items])
        return seconds

    def _ended(self, now: float) -> None:
        if not self._stations.is_running:
            self._busy_time.end(now)
            self._life.end()

    # -- batches -------------------------------------------------------------------------------------------------------

    def _pump_soon(self) -> None:
        """Form a batch at the end of this turn of the loop: whatever else has arrived by then goes along."""
        if not self._is_pump_due and (self._stations.is_one_free or self._may_be_due_early()):
            self._is_pump_due = True
            self._loop.call_soon(self._pump)

    def _may_be_due_early(self) -> bool:
        """Whether what has just come changes when a batch is handed over to a worker that is not free."""
        if self._lies_only_full and len(self._room) < self._curve.batch_limit:
            return False
        now = self._now()
        is_full = self._is_full(now)
        if self._wait_timer is not None and not self._has_window and not is_full:
            return False
        waiting = self._may_lie()
        return waiting > 0 and self._stations.room(now, waiting, is_full=is_full) is not None

    def _is_full(self, now: float) -> bool:
        # only for a worker that runs two batches at once does it matter
        return self._stations.overlaps and self._room.is_full(
            now, self._curve.batch_limit, self._curve.bulk_limit
        )

    def _may_lie(self) -> int:
        """How many of the items that wait may be handed over before a worker is free: all or, when it has to be seen
        first how something ends, none."""
        is_unproven = self._cap.is_trying and self._curve.batch_limit >= self._cap.size
        return 0 if is_unproven or self._room.has_parts else len(self._room)

    def _pump(self) -> None:
        self._is_pump_due = False
        if self._wait_timer is not None:
            self._wait_timer.cancel()
            self._wait_timer = None
        now = self._now()
        while not self._room.is_empty:
            room = self._stations.room(now, self._may_lie(), is_full=self._is_full(now))
            if room is None:
                return
            limit = self._curve.batch_limit
            station, due_at = room
            if self._has_window:
                due_at = max(due_at, self._room.due_at(now, limit) or now)
            # the loop's timers tick in milliseconds and round up: what is due within the next tick is due now
            if due_at > now + 0.001:
                self._wait_timer = self._loop.call_later(int((due_at - now) * 1000) / 1000, self._pump)
                return
            bulk_limit = self._curve.bulk_limit if self._room.has_bulk else None
            found = self._room.next(now, limit, bulk_limit, is_early=bool(station.batches))
            if found.part is not None:
                self._hand_over(station, found.part, now)
            if found.expired:
                self._leftovers.expired(found.expired, now)
            if found.quarantined:
                self._leftovers.quarantined(found.quarantined, now)

    def _hand_over(self, station: Station, part: Part[Item], now: float) -> None:
        self._batches += 1
        batch = Batch(self._batches, part, station, now)
        if not station.batches:
            if not self._stations.is_running:
                self._busy_time.begin(now)
                self._life.begin()
            self._begin(batch, now)
        station.hand_over(batch)

    def _begin(self, batch: Batch, now: float) -> None:
        """From now on its worker runs it."""
        items = batch.part.items
        for item in items:
            item.request.started_at = now
        batch.until = now + self._watchdog.bound_s(self._curve.predict(len(items)))
        self._hang_watch.began(batch)
