"""Dispatcher: the minion's heart. Admits, queues, hands batches to the worker as late as possible, scatters outcomes.

It joins the pure objects (gate, batcher, cost curve, busy time, state) to the running worker. Policy is theirs; it
speaks neither HTTP nor the channel.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Callable
from typing import Any, Final

import structlog

from crema.errors import CremaError
from crema.host.channel import Buffer, ChannelLost
from crema.outcomes import error_outcome, model_failed_message
from minion.answers import outcome_of
from minion.batcher import Batcher
from minion.busy_time import BusyTime
from minion.cost_curve import CostCurve
from minion.gate import Gate
from minion.meters import Meters
from minion.request import Done, Item, Request
from minion.scatter import Scatter, split
from minion.state import Life, State
from minion.worker_output import LineBudget
from minion.worker_process import Loaded, WorkerLost, WorkerProcess

# How soon an item whose deadline passes while no batch is formed gets its answer.
_SWEEP_S: Final = 0.1
_NOT_READY_LEAST_S: Final = 0.1
_LOGGED_IDS: Final = 32
_NOT_READY_MOST_S: Final = 60.0

log = structlog.get_logger(__name__)


class _Batch:
    """What the worker is doing."""

    __slots__ = ("id", "items", "started_at")

    def __init__(self, batch_id: int, items: list[Item], started_at: float) -> None:
        self.id = batch_id
        self.items = items
        self.started_at = started_at


class Dispatcher:
    """Parts are built by hand in `app`. `served` is called after every batch that gave outcomes."""

    def __init__(
        self,
        life: Life,
        gate: Gate,
        batcher: Batcher[Item],
        curve: CostCurve,
        meters: Meters,
        *,
        slo_s: float,
        served: Callable[[], None],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._life = life
        self._gate = gate
        self._batcher = batcher
        self._curve = curve
        self._meters = meters
        self._slo_s = slo_s
        self._served = served
        self._now = now
        self._busy_time = BusyTime(now())
        self._loop = asyncio.get_running_loop()
        self._worker: WorkerProcess | None = None
        self._ready_at = now()
        self._batch: _Batch | None = None
        self._batches = 0
        self._is_pump_due = False
        self._wait_timer: asyncio.TimerHandle | None = None
        self._sweeper: asyncio.TimerHandle | None = None
        self._scatter = Scatter(gate, meters, self.load, now)
        self._trace_budget = LineBudget(per_s=1.0, burst=10.0)

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
                self._meters.refused("draining", lane)
            return self._not_ready(now)
        refusal = self._gate.enter(
            now,
            n,
            lane,
            remaining_s,
            ahead=self._batcher.ahead(lane),
            waiting=len(self._batcher),
            free_at=self._free_at(),
        )
        if refusal is None:
            if is_probe:
                self._gate.leave(n)
            return None
        self._meters.refused(refusal.reason, lane)
        return CremaError(
            "overloaded", refusal.message, retry_after_ms=max(1.0, refusal.retry_after_s * 1000)
        )

    def submit(self, request: Request) -> None:
        """The pixels of an admitted request are here: its items wait for a batch."""
        for item in request.items:
            self._batcher.join(item)
        self._pump_soon()
        if self._sweeper is None:
            self._sweeper = self._loop.call_later(_SWEEP_S, self._sweep)

    def abandon(self, request: Request) -> None:
        """Its caller has gone: what waits is dropped, what runs is thrown away, its places are free."""
        if request.is_abandoned or not request.left:
            return
        request.is_abandoned = True
        for item in request.items:
            if self._batcher.leave(item):
                self._meters.abandoned.inc()
        if not request.items:  # its pixels had not all come
            self._meters.abandoned.inc(request.n)
        request.items = []
        self._scatter.leave(request.left)

    def load(self) -> dict[str, Any]:
        """What every answer says of this replica: places taken, places in all, and the predicted wait of a new item."""
        now = self._now()
        free_at = self._free_at()
        if self._worker is None:
            free_at = max(free_at or 0.0, self._ready_at)
        wait_s = self._gate.wait_s(now, self._batcher.ahead("interactive"), free_at)
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
        meters.ready.set(1 if self._life.state.is_ready else 0)

    # -- draining ------------------------------------------------------------------------------------------------------

    async def drain(self) -> None:
        """Admit nothing more and wait until everything admitted is answered."""
        self._gate.is_draining = True
        if self._life.state is not State.DRAINING:
            self._life.move(State.DRAINING)
        if self._worker is None:
            self._shed(self._batcher.drop_hopeless(math.inf, 0.0))
        await self._scatter.idle.wait()

    def give_up(self) -> None:
        """The time to drain is over: what is still here is sent back, to be tried elsewhere."""
        batch, self._batch = self._batch, None
        if batch is not None:
            self._scatter.settle(batch.items, outcome_of(self._not_ready(self._now())), Done(0.0, 0, {}))
        self._shed(self._batcher.drop_hopeless(math.inf, 0.0))

    # -- the worker (see WorkerKeeper) ---------------------------------------------------------------------------------

    def worker_starting(self, ready_at: float) -> None:
        self._ready_at = ready_at

    def worker_ready(self, worker: WorkerProcess, loaded: Loaded) -> None:
        self._worker = worker
        self._curve.seed(loaded.curve)
        self._meters.load_seconds.observe(loaded.seconds)
        if self._life.state is not State.DRAINING:
            self._life.move(State.READY)
        self._pump_soon()

    def worker_lost(self, lost: WorkerLost, was_ready: bool, ready_at: float) -> None:
        self._worker = None
        self._ready_at = ready_at
        self._meters.restarted(lost.reason)
        life = self._life
        if life.state is State.DRAINING:
            ready_at = math.inf  # no other worker will come
        elif was_ready:
            life.move(State.STARTING, lost.problem)
        elif life.state is State.STARTING:
            life.move(State.FAILED, lost.problem)
        else:
            life.problem = lost.problem
        batch, self._batch = self._batch, None
        now = self._now()
        self._busy_time.end(now)
        if batch is not None:
            died = CremaError(
                "not_ready",
                "the worker died while it ran this batch; send the request to another replica",
                retry_after_ms=min(_NOT_READY_MOST_S, max(_NOT_READY_LEAST_S, ready_at - now)) * 1000,
            )
            self._scatter.settle(
                batch.items, outcome_of(died), Done(now - batch.started_at, len(batch.items), {})
            )
        # what waits stays while the next worker can be expected in time
        self._shed(self._batcher.drop_hopeless(ready_at + self._curve.predict(1), self._slo_s))

    def worker_answered(self, header: dict[str, Any], payload: Buffer) -> None:
        batch = self._batch
        if batch is None or header["id"] != batch.id:
            return
        items = batch.items
        error = header.get("error")
        outcomes = None if error is not None else split(payload, header.get("sizes"), len(items))
        if error is None and outcomes is None:
            # its memory or its socket is not what it was: only a new worker can be trusted
            log.error("worker_answer_broken", items=len(items))
            if self._worker is not None:
                self._worker.kill()
            return
        now = self._now()
        self._batch = None
        self._busy_time.end(now)
        seconds = now - batch.started_at
        meters = self._meters
        meters.batch_size.observe(len(items))
        meters.batch_seconds.observe(seconds)
        if outcomes is not None:
            self._curve.learn(len(items), seconds)
            self._served()
        self._move(State.READY)
        self._pump()  # the worker is free: it comes before the answers
        done = Done(seconds, len(items), {})
        if outcomes is not None:
            self._scatter.scatter(items, outcomes, done)
        else:
            self._scatter.settle(items, self._failed(items, header["error"]), done)

    # -- batches -------------------------------------------------------------------------------------------------------

    def _pump_soon(self) -> None:
        """Form a batch at the end of this turn of the loop: whatever else has arrived by then goes along."""
        if not self._is_pump_due and self._batch is None and self._worker is not None:
            self._is_pump_due = True
            self._loop.call_soon(self._pump)

    def _pump(self) -> None:
        self._is_pump_due = False
        if self._wait_timer is not None:
            self._wait_timer.cancel()
            self._wait_timer = None
        if self._batch is not None or self._worker is None:
            return
        now = self._now()
        limit = self._curve.batch_limit
        due_at = self._batcher.due_at(now, limit)
        if due_at is None:
            return
        if due_at > now:
            self._wait_timer = self._loop.call_later(due_at - now, self._pump)
            return
        formed = self._batcher.form(now, limit)
        if formed.batch:
            self._hand_over(self._worker, formed.batch, now)
        if formed.expired:
            self._expire(formed.expired, now)

    def _hand_over(self, worker: WorkerProcess, items: list[Item], now: float) -> None:
        self._batches += 1
        self._batch = _Batch(self._batches, items, now)
        self._busy_time.begin(now)
        self._move(State.BUSY)
        observe = self._meters.queue_wait_seconds.observe
        params: list[dict[str, Any]] | None = None
        for item in items:
            item.request.started_at = now
            observe(now - item.queued_at)
            if item.params is not None:
                params = []
        if params is not None:
            params = [item.params or {} for item in items]
        # a channel that is lost means that the worker has just died: `worker_lost` comes next and answers these items
        with contextlib.suppress(ChannelLost):
            worker.run(self._batches, [item.pixels for item in items], params)

    def _failed(self, items: list[Item], error: dict[str, Any]) -> bytes:
        """The outcome of every item of a batch that failed as a whole; the reason goes to the log."""
        if self._trace_budget.take(self._now()):
            log.error(
                "batch_failed",
                code=error["code"],
                problem=error["message"],
                traceback=error.get("traceback"),
                items=len(items),
                request_ids=[
                    item.request.request_id for item in items if item.request.request_id is not None
                ][:32],
                traceparents=[
                    item.request.traceparent for item in items if item.request.traceparent is not None
                ][:32],
            )
        if error["code"] == "model_failed":
            return error_outcome("model_failed", model_failed_message(error["kind"]))
        return error_outcome(error["code"], error["message"])

    # -- what does not run ---------------------------------------------------------------------------------------------

    def _sweep(self) -> None:
        """Answer what expired while no batch was formed."""
        now = self._now()
        expired = self._batcher.drop_expired(now)
        if expired:
            self._expire(expired, now)
        self._sweeper = self._loop.call_later(_SWEEP_S, self._sweep) if len(self._batcher) else None

    def _expire(self, items: list[Item], now: float) -> None:
        self._meters.expired.inc(len(items))
        for item in items:
            item.request.started_at = now
            waited_ms = (now - item.queued_at) * 1000
            error = CremaError(
                "deadline_exceeded", f"the deadline passed after {waited_ms:.0f} ms of waiting for a batch"
            )
            self._scatter.settle([item], outcome_of(error), Done(0.0, 0, {}))

    def _shed(self, items: list[Item]) -> None:
        """Items that the next worker would be too late for."""
        now = self._now()
        for item in items:
            item.request.started_at = now
        if items:
            self._scatter.settle(items, outcome_of(self._not_ready(now)), Done(0.0, 0, {}))

    # -- small parts ---------------------------------------------------------------------------------------------------

    def _free_at(self) -> float | None:
        batch = self._batch
        return None if batch is None else batch.started_at + self._curve.predict(len(batch.items))

    def _move(self, to: State) -> None:
        if self._life.state is not State.DRAINING:
            self._life.move(to)

    def _not_ready(self, now: float) -> CremaError:
        state = self._life.state
        if state is State.DRAINING:
            return CremaError(
                "not_ready",
                "this minion is shutting down; send the request to another replica",
                retry_after_ms=1000,
            )
        words = (
            "the model did not load and is tried again"
            if state is State.FAILED
            else "the model is being loaded"
        )
        wait_s = min(_NOT_READY_MOST_S, max(_NOT_READY_LEAST_S, self._ready_at - now))
        return CremaError("not_ready", f"{words}; come back later", retry_after_ms=wait_s * 1000)
