"""Dispatcher: the minion's heart. Admits, queues, hands batches to free workers as late as possible, scatters outcomes.

It joins the pure objects (gate, waiting room, cost curve, batch cap, watchdog, busy time, state) to the running workers.
Policy is theirs; it speaks neither HTTP nor the channel.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from typing import Any, Final

import structlog

from crema.errors import CremaError
from crema.host.channel import Buffer
from minion import verdicts
from minion.answers import outcome_of
from minion.batch_cap import BatchCap
from minion.batcher import Batcher
from minion.busy_time import BusyTime
from minion.cost_curve import CostCurve
from minion.gate import Gate
from minion.gpu_memory import read_gpu_memory
from minion.hang_watch import HangWatch
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

# How soon an item whose deadline passes while no batch is formed gets its answer.
_SWEEP_S: Final = 0.1
log = structlog.get_logger(__name__)


class Dispatcher:
    """Parts are built by hand in `app`. `served` is told who gave outcomes, after every batch that did."""

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
        self._ready_at = now()
        self._batches = 0
        self._hang_watch = HangWatch(self._stations.running, now)
        self._is_pump_due = False
        self._wait_timer: asyncio.TimerHandle | None = None
        self._sweeper: asyncio.TimerHandle | None = None
        self._scatter = Scatter(gate, meters, self.load, now)

    # -- requests ------------------------------------------------------------------------------------------------------

    def admit(self, request: Request) -> CremaError | None:
        """Take the request's places, or say why not. Decided on the header alone: its pixels may not have come yet."""
        error = self.refusal(
            request.arrived_at, request.n, request.lane, request.deadline - request.arrived_at
        )
        if error is None:
            self._scatter.entered()
        return error

    def refusal(
        self, now: float, n: int, lane: Any, remaining_s: float, *, is_probe: bool = False
    ) -> CremaError | None:
        """Why `n` items may not come in, or None with their places taken (given back at once when `is_probe`)."""
        if not self._life.state.is_ready:
            if self._life.state is State.DRAINING:
                self._meters.refused("draining", lane, n)
            return self._not_ready(now)
        refusal = self._gate.enter(
            now,
            n,
            lane,
            remaining_s,
            ahead=self._room.ahead(lane),
            waiting=len(self._room),
            free_at=self._stations.free_at(now),
        )
        if refusal is None:
            if is_probe:
                self._gate.take_back(n, lane)
            else:
                self._meters.accepted(lane, n)
            return None
        self._meters.refused(refusal.reason, lane, n)
        return CremaError(
            "overloaded", refusal.message, retry_after_ms=max(1.0, refusal.retry_after_s * 1000)
        )

    def submit(self, request: Request) -> None:
        """The pixels of an admitted request are here: its items wait for a batch."""
        quarantined = self._room.join(request.items, self._now)
        if quarantined:
            self._quarantine(quarantined, self._now())
        self._pump_soon()
        self._sweep_soon()

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

    def load(self) -> dict[str, Any]:
        """What every answer says of this replica: places taken, places in all, and the predicted wait of a new item."""
        now = self._now()
        free_at = self._stations.free_at(now)
        if not self._stations:
            free_at = max(free_at or 0.0, self._ready_at)
        wait_s = self._gate.wait_s(now, self._room.ahead("interactive"), free_at)
        return {
            "pending": self._gate.pending,
            "places": self._gate.places,
            "expected_wait_ms": round(wait_s * 1000, 3),
        }

    def refresh(self) -> None:
        """Bring the gauges up to date."""
        meters = self._meters
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
            self._shed(self._room.drop_hopeless(math.inf, 0.0))
        await self._scatter.idle.wait()

    def give_up(self) -> None:
        """The time to drain is over: what is still here is sent back, to be tried elsewhere."""
        now = self._now()
        for batch in self._stations.take_back():
            self._scatter.settle(batch.open, outcome_of(self._not_ready(now)), Done(0.0, 0, {}))
        self._shed(self._room.drop_hopeless(math.inf, 0.0))

    # -- the worker (see WorkerKeeper) ---------------------------------------------------------------------------------

    def worker_starting(self, ready_at: float) -> None:
        self._ready_at = ready_at

    def worker_ready(self, worker: WorkerProcess, loaded: Loaded) -> None:
        self._stations.add(worker, overlaps=loaded.overlaps, gpu_memory=loaded.gpu_memory)
        self._gate.workers = max(1, self._stations.count)
        self._curve.seed(loaded.curve)
        self._watchdog.warmed_up(max((seconds for _, seconds in loaded.curve), default=0.0))
        self._meters.load_seconds.observe(loaded.seconds)
        if not self._life.state.is_ready:
            self._move(State.READY)
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
        self._meters.restarted(lost.reason)
        batches = self._stations.remove(worker) if was_ready else []
        self._gate.workers = max(1, self._stations.count)
        self._ready_at = ready_at
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
            self._sweep_soon()
        for batch in batches[:begun]:
            self._ended(now)
            items = batch.open
            self._room.died(items, now)
            self._scatter.settle(
                items,
                verdicts.died((0.0 if self._stations else ready_at) - now),
                Done(now - batch.started_at, len(items), {}),
            )
        if not self._stations:
            # what waits stays while the next worker can be expected in time
            self._shed(self._room.drop_hopeless(ready_at + self._curve.predict(1), self._slo_s))

    def _out_of_service(self, problem: str, was_ready: bool) -> None:
        life = self._life
        if was_ready:
            life.move(State.STARTING, problem)
        elif life.state is State.STARTING:
            life.move(State.FAILED, problem)
        else:
            life.problem = problem

    def worker_answered(self, header: dict[str, Any], payload: Buffer) -> None:
        batch = self._stations.find(header["id"])
        if batch is None:
            return
        if "gpu_memory" in header:
            batch.station.gpu_memory = read_gpu_memory(header["gpu_memory"])
        skipped = header.get("skipped")
        if skipped is not None and not self._leave_out(batch, skipped):
            self._broken(batch)
            return
        error = header.get("error")
        if error is not None:
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
            self._curve.learn(n, seconds)
            self._load_time.add(now, n * self._curve.full_item_s)
            self._cap.passed(n)
            self._curve.allow(self._cap.size)
            self._watchdog.learn(seconds)
            self._room.passed(batch.part)
            self._served(batch.station.worker)
        self._pump()  # the worker is free: it comes before the answers
        if batch.settled:
            given = dict(zip(items, outcomes, strict=True))
            items = batch.open
            outcomes = [given[item] for item in items]
        self._scatter.scatter(items, outcomes, Done(seconds, n, {}))

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
        self._expire([item for item in items if item in left_out - batch.settled], self._now())
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
        for item in items:
            # it does not run again for nobody
            if (item.request.is_abandoned or item in batch.settled) and item in at_fault:
                at_fault.remove(item)
            elif item.request.is_abandoned or item in batch.settled:
                self._room.leave(item)
        self._pump()
        self._scatter.settle(at_fault, self._failures.outcome(error), Done(seconds, n, {}))

    def _end(self, batch: Batch, header: dict[str, Any], now: float) -> float:
        """A batch came back; what it cost, in seconds."""
        seconds = self._stations.ended(batch, now, header.get("seconds", 0.0), header.get("waited", 0.0))
        for following in self._stations.running():
            if following.until == math.inf:
                self._begin(following, now)
        self._ended(now)
        if batch.items:
            self._meters.batch_size.observe(len(batch.items))
            self._meters.batch_seconds.observe(seconds)
            observe, started_at = self._meters.queue_wait_seconds.observe, batch.started_at
            for item in batch.items:
                observe(started_at - item.queued_at)
        return seconds

    def _ended(self, now: float) -> None:
        if not self._stations.running():
            self._busy_time.end(now)
            if self._life.state is State.BUSY:
                self._move(State.READY)

    # -- batches -------------------------------------------------------------------------------------------------------

    def _pump_soon(self) -> None:
        """Form a batch at the end of this turn of the loop: whatever else has arrived by then goes along."""
        if not self._is_pump_due and (self._stations.is_one_free or self._may_be_due_early()):
            self._is_pump_due = True
            self._loop.call_soon(self._pump)

    def _may_be_due_early(self) -> bool:
        """Whether what has just come changes when a batch is handed over to a worker that is not free."""
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
        while (room := self._stations.room(now, self._may_lie(), is_full=self._is_full(now))) is not None:
            limit = self._curve.batch_limit
            due_at = self._room.due_at(now, limit)
            if due_at is None:
                return
            station, room_at = room
            due_at = max(due_at, room_at)
            # the loop's timers tick in milliseconds and round up: what is due within the next tick is due now
            if due_at > now + 0.001:
                self._wait_timer = self._loop.call_later(int((due_at - now) * 1000) / 1000, self._pump)
                return
            found = self._room.next(now, limit, self._curve.bulk_limit, is_early=bool(station.batches))
            if found.part is not None:
                self._hand_over(station, found.part, now)
            if found.expired:
                self._expire(found.expired, now)
            if found.quarantined:
                self._quarantine(found.quarantined, now)

    def _hand_over(self, station: Station, part: Part[Item], now: float) -> None:
        self._batches += 1
        if not self._stations.running():
            self._busy_time.begin(now)
        if self._life.state is State.READY:
            self._move(State.BUSY)
        batch = Batch(self._batches, part, station, now)
        if not station.batches:
            self._begin(batch, now)
        station.hand_over(batch)

    def _begin(self, batch: Batch, now: float) -> None:
        """From now on its worker runs it."""
        for item in batch.items:
            item.request.started_at = now
        batch.until = now + self._watchdog.bound_s(self._curve.predict(len(batch.items)))
        self._hang_watch.began(batch)

    # -- what does not run ---------------------------------------------------------------------------------------------

    def _sweep(self) -> None:
        """Answer what expired while no batch was formed."""
        now = self._now()
        self._sweeper = None
        expired = self._room.drop_expired(now)
        if expired:
            self._expire(expired, now)
        lying = self._stations.lying()
        for batch in lying:
            # their worker sees the same clock and leaves them out
            expired = [item for item in batch.open if item.deadline <= now]
            batch.settled.update(expired)
            self._expire(expired, now)
        if lying or len(self._room):
            self._sweep_soon()

    def _sweep_soon(self) -> None:
        if self._sweeper is None:
            self._sweeper = self._loop.call_later(_SWEEP_S, self._sweep)

    def _expire(self, items: list[Item], now: float) -> None:
        self._meters.expired.inc(len(items))
        for item in items:
            item.request.started_at = now
            self._scatter.settle([item], verdicts.expired(now - item.queued_at), Done(0.0, 0, {}))

    def _quarantine(self, items: list[Item], now: float) -> None:
        self._meters.quarantined.inc(len(items))
        for item in items:
            item.request.started_at = now
        self._scatter.settle(items, verdicts.quarantined(), Done(0.0, 0, {}))

    def _shed(self, items: list[Item]) -> None:
        """Items that the next worker would be too late for."""
        now = self._now()
        for item in items:
            item.request.started_at = now
        if items:
            self._scatter.settle(items, outcome_of(self._not_ready(now)), Done(0.0, 0, {}))

    # -- small parts ---------------------------------------------------------------------------------------------------

    def _move(self, to: State) -> None:
        if self._life.state is not State.DRAINING:
            self._life.move(to)

    def _not_ready(self, now: float) -> CremaError:
        return verdicts.not_ready(self._life.state, self._ready_at - now)
