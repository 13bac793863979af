"""The decode pool: a fixed number of killable processes, a queue in front, and one answer for every image handed in.

It refuses nothing (the gate does) and understands no image (the processes do). What it promises: a process that is
killed or crashes costs the image it had in hand and is replaced at once; work that nobody waits for any more is
dropped before it is decoded; a process is replaced after so many images without losing one.
"""

from __future__ import annotations

import asyncio
import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

import structlog

from crema.errors import CremaError
from crema.host.channel import Buffer
from crema.names import Lane, OptionalFormat
from preprocessor.cost import DecodeCost
from preprocessor.decoder_answer import Answer
from preprocessor.decoder_process import DecoderProcess, DecoderState, Limits
from preprocessor.gate import Ahead
from preprocessor.order import Order
from preprocessor.queue_ahead import ahead_of, heavy_places
from preprocessor.waiting import Waiting

RECYCLE_AFTER: Final = 5000
RESTART_FIRST_S: Final = 0.1
RESTART_MOST_S: Final = 5.0
# Quick images are handed over together, so many at most: what it costs to wake a process, and to be cold when it wakes, is more
# than what they need. Quick are thumbnails: a JPEG of 300x300, a PNG of 110x110 (`preprocessor.cost` says what work is).
TOGETHER: Final = 8
QUICK_WORK: Final = 0.35
QUICK_BYTES: Final = 256 * 1024

log = structlog.get_logger(__name__)

OnDone = Callable[["Job"], None]


@dataclass(slots=True, eq=False)
class Job:
    """One image on its way through the pool. Either `answer` (header) and `pixels`, or `error`, once `on_done` is called.

    `work` is what the image is expected to cost (`preprocessor.cost`); `deadline` is on the pool's clock, None for no
    deadline: when it passes, the caller is answered 504 whatever the decoder does.
    """

    image: Buffer
    order: Order
    work: float
    deadline: float | None
    on_done: OnDone
    request_id: str = ""
    traceparent: str | None = None
    lane: Lane = "interactive"
    queued_at: float = 0.0
    started_at: float | None = None
    is_heavy: bool = False  # said by the pool when it comes
    is_quick: bool = False  # the same; quick ones may be decoded together
    answer: Answer | None = None
    pixels: Buffer = b""
    error: CremaError | None = None
    is_over: bool = field(default=False)  # settled or abandoned: nobody waits any more


class Watcher(Protocol):
    """Who counts what happens in the pool."""

    def decoder_replaced(self, reason: str) -> None:
        """A process ended and another takes its place."""

    def job_dropped(self, reason: str) -> None:
        """Admitted work was dropped before it was decoded: `expired` or `abandoned`."""


def cores() -> int:
    """Cores this process may use, by its affinity and its container's quota: what `workers: auto` means."""
    allowed = len(os.sched_getaffinity(0))
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
        allowed = min(allowed, math.ceil(int(quota) / int(period)))
    except (OSError, ValueError):
        pass  # no quota (the file then says "max"), or no such file
    return max(1, allowed)


class Pool:
    """`workers` decode processes. Construct, `start()`, `submit` jobs, `close()`. All on one event loop."""

    def __init__(
        self,
        workers: int,
        watcher: Watcher,
        *,
        limits: Limits | None = None,
        formats: Sequence[OptionalFormat] = (),
        recycle_after: int = RECYCLE_AFTER,
        on_busy: Callable[[int], None] = lambda busy: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.cost = DecodeCost()
        self.last_failure: str | None = None
        """Why the latest process did not start, until one does."""
        self._workers = workers
        self._watcher = watcher
        self._limits = limits or Limits()
        self._formats = formats
        self._recycle_after = recycle_after
        self._on_busy = on_busy
        self._clock = clock
        self._decoders: list[DecoderProcess] = []
        self._leaving: set[DecoderProcess] = set()
        self._retiring: set[DecoderProcess] = set()
        self._ended: list[DecoderProcess] = []
        self._running: dict[DecoderProcess, list[Job | None]] = {}
        """What each process was handed; None in place of what was taken back from it."""
        self._waiting: Waiting[Job] = Waiting()
        self._failed_starts = 0
        self._restarts: set[asyncio.TimerHandle] = set()
        self._is_closed = False
        self._deadline_timer: asyncio.TimerHandle | None = None
        self._looks_at = math.inf
        self._busy_told = 0

    # -- what it is doing ------------------------------------------------------------------------------------------

    @property
    def workers(self) -> int:
        """How many processes it keeps."""
        return self._workers

    @property
    def is_ready(self) -> bool:
        """Whether at least one process can take an image, now or when it has finished the one in hand."""
        return any(decoder.is_working for decoder in self._decoders)

    @property
    def decoders(self) -> list[dict[str, Any]]:
        """`{pid, state}` of every live process, for whoever lists processes."""
        return [
            {"pid": decoder.pid, "state": str(decoder.state)}
            for decoder in self._decoders
            if decoder.pid is not None
        ]

    def ahead(self, lane: Lane, work: float = 0.0) -> Ahead:
        """What stands before an image of `lane` that came now, of so much work where that is known."""
        if not self._running and self._waiting.is_empty:
            return Ahead()
        now, cost = self._clock(), self.cost
        running = [
            (sum(job.work for job in jobs), jobs[0].started_at or now, jobs[0].is_heavy)
            for jobs in map(_present, self._running.values())
        ]
        workers = max(1, self._working())
        return ahead_of(self._waiting, running, workers, cost, now, lane, is_heavy=work > cost.light_work)

    def expected_wait_ms(self, lane: Lane) -> float:
        """When an image of `lane` that came now would begin to be decoded, in milliseconds from now."""
        return self.ahead(lane).wait_ms

    # -- life ------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Spawn all processes; `is_ready` tells when the first can work."""
        for _ in range(self._workers):
            self._spawn()

    async def close(self) -> None:
        """Kill and reap every process. What is still waiting or running is answered `not_ready`."""
        self._is_closed = True
        for handle in self._restarts:
            handle.cancel()
        self._restarts.clear()
        if self._deadline_timer is not None:
            self._deadline_timer.cancel()
        stopping = CremaError(
            "not_ready", "the preprocessor is stopping; send the image again", retry_after_ms=1000
        )
        for job in [*self._waiting, *self._in_hand()]:
            self._settle(job, error=stopping)
        self._waiting.clear()
        for decoder in list(self._decoders):
            decoder.close()
        await asyncio.gather(*(decoder.wait() for decoder in self._ended))

    # -- jobs ------------------------------------------------------------------------------------------------------

    def submit(self, job: Job) -> None:
        """Queue a job; `job.on_done` is called once, later, unless `abandon` comes first."""
        job.queued_at = self._clock()
        if job.deadline is not None and job.deadline < self._looks_at:
            self._look_at(job.deadline)
        self.cost.came(job.work)
        job.is_heavy = job.work > self.cost.light_work
        job.is_quick = job.work <= QUICK_WORK and max(len(job.image), job.order.nbytes) <= QUICK_BYTES
        self._waiting.join(job)
        self._dispatch()

    def abandon(self, job: Job) -> None:
        """The caller left: `on_done` is not called. A decode that has begun may run on for a moment."""
        if job.is_over:
            return
        self._end(job)
        self._watcher.job_dropped("abandoned")
        self._let_go(job)

    def _look_at(self, moment: float) -> None:
        """One timer for all deadlines, at the earliest of those that were there when it was set."""
        if self._deadline_timer is not None:
            self._deadline_timer.cancel()
        self._looks_at = moment
        delay = max(0.0, moment - self._clock())
        self._deadline_timer = asyncio.get_running_loop().call_later(delay, self._look)

    def _look(self) -> None:
        """Answer those whose deadline has passed."""
        now = self._clock()
        jobs = [job for job in (*self._waiting, *self._in_hand()) if not job.is_over]
        self._deadline_timer, self._looks_at = None, math.inf
        for job in jobs:
            if job.deadline is not None and job.deadline <= now:
                self._expire(job)
        left = [job.deadline for job in jobs if job.deadline is not None and not job.is_over]
        if left and min(left) < self._looks_at:
            self._look_at(min(left))

    def _expire(self, job: Job, is_waiting: bool = True) -> None:
        if job.is_over:
            return
        job.error = CremaError(
            "deadline_exceeded", "the deadline passed before the image was decoded; allow more time"
        )
        self._end(job)
        if job.started_at is None:
            self._watcher.job_dropped("expired")
        if is_waiting:
            self._let_go(job)
        job.on_done(job)

    def _let_go(self, job: Job) -> None:
        """Nobody waits for the job: leave its image out of memory if it waits, bound its decoder if it runs."""
        if job.started_at is None:
            self._waiting.leave(job)
            return
        for decoder, jobs in self._running.items():
            if job in jobs:
                if all(each.is_over for each in _present(jobs)):
                    decoder.abandon()
                return

    def _settle(self, job: Job, error: CremaError | None = None) -> None:
        if not job.is_over:
            job.error = error
            self._end(job)
            job.on_done(job)

    def _end(self, job: Job) -> None:
        job.is_over = True
        job.image = b""

    def _dispatch(self) -> None:
        """Give what waits to whoever is idle, interactive first; what has expired is answered instead.

        Heavy images get half of the processes at most: they must not make everybody else wait for them.
        """
        for decoder in () if self._waiting.is_empty else self._decoders:
            if decoder.state is not DecoderState.READY:
                continue
            job, expired = self._waiting.take(self._clock(), heavy=self._may_take_heavy())
            for late in expired:
                self._expire(late, is_waiting=False)
            if job is None:
                break
            jobs = [job, *self._others_for(job)]
            now = self._clock()
            for each in jobs:
                each.started_at = now
            self._running[decoder] = [*jobs]
            if len(jobs) > 1:
                decoder.run_all([(each.order, each.image) for each in jobs])
            else:
                decoder.run(job.order, job.image, job.is_heavy)
                job.image = b""
        self._tell_busy()

    def _others_for(self, first: Job) -> list[Job]:
        """What is handed over together with it: a fair share of the quick ones behind it."""
        others: list[Job] = []
        if not first.is_quick or self._waiting.is_empty:
            return others
        idle = sum(decoder.state is DecoderState.READY for decoder in self._decoders)
        most = min(TOGETHER, math.ceil((1 + len(self._waiting)) / max(1, idle)))
        while len(others) + 1 < most:
            job, expired = self._waiting.take(self._clock(), beside=first)
            for late in expired:
                self._expire(late, is_waiting=False)
            if job is None:
                break
            others.append(job)
        return others

    def _in_hand(self) -> list[Job]:
        """All that the processes have."""
        return [job for jobs in self._running.values() for job in _present(jobs)]

    def _tell_busy(self) -> None:
        if len(self._running) != self._busy_told:
            self._busy_told = len(self._running)
            self._on_busy(self._busy_told)

    def _may_take_heavy(self) -> bool:
        """Whether a heavy image may be decoded now.

        While a process starts that replaces a lost one, a heavy image does not take the last of the others: those behind
        it would wait for both.
        """
        working = self._working()
        if working < 2 and working < min(self._workers, len(self._decoders)):
            return False
        return sum(jobs[0].is_heavy for jobs in map(_present, self._running.values())) < heavy_places(working)

    def _working(self) -> int:
        return sum(decoder.is_working for decoder in self._decoders)

    # -- processes -------------------------------------------------------------------------------------------------

    def _spawn(self) -> None:
        if self._is_closed:
            return
        decoder = DecoderProcess(self, self._limits, formats=self._formats, clock=self._clock)
        try:
            decoder.start(is_urgent=not self.is_ready)
        except OSError as error:
            self._respawn_later(f"a decode process cannot be started: {error}")
            return
        self._decoders.append(decoder)

    def _respawn_later(self, failure: str) -> None:
        """A process that does not even start is tried again, ever more slowly: the machine lacks something."""
        log.error("decoder_not_started", problem=failure)
        self.last_failure = failure
        delay = min(RESTART_MOST_S, RESTART_FIRST_S * 2.0 ** min(self._failed_starts, 10))
        self._failed_starts += 1
        loop = asyncio.get_running_loop()

        def again() -> None:
            self._restarts.discard(handle)
            self._spawn()

        handle = loop.call_later(delay, again)
        self._restarts.add(handle)

    def decoder_ready(self, decoder: DecoderProcess) -> None:
        """A new process is idle. If it replaces one that has served enough, that one may go now."""
        self._failed_starts = 0
        self.last_failure = None
        old = next(iter(self._retiring), None)
        if old is not None:
            self._retiring.discard(old)
            self._leaving.add(old)
            if old.state is DecoderState.READY:
                self._retire(old)
        self._dispatch()

    def decoder_answered(self, decoder: DecoderProcess, answers: list[tuple[Answer, Buffer]]) -> None:
        """Images are done, well or not."""
        jobs = self._running.pop(decoder)
        here = _present(jobs)
        if len(here) == len(jobs) and all(answer["status"] == 200 for answer, _ in answers):
            started_at = here[0].started_at
            assert started_at is not None
            self.cost.observe(sum(job.work for job in here), (self._clock() - started_at) * 1000)
        if decoder in self._leaving:
            self._retire(decoder)
        elif decoder.served >= self._recycle_after and decoder not in self._retiring:
            # the successor starts while this one works on: no image waits for the change
            self._retiring.add(decoder)
            self._spawn()
        self._dispatch()
        for job, (answer, pixels) in zip(jobs, answers, strict=True):
            if job is None:
                continue
            if answer["status"] == 200:
                job.answer, job.pixels = answer, pixels
                self._settle(job)
            else:
                self._settle(job, error=CremaError.from_wire(answer["error"]))

    def decoder_overdue(self, decoder: DecoderProcess) -> None:
        """One image of several takes longer than all of them should: the others need not wait for it."""
        jobs = self._running[decoder]
        self._running[decoder] = self._without(jobs, decoder.in_hand)
        self._dispatch()

    def _without(self, jobs: list[Job | None], guilty: int) -> list[Job | None]:
        """All but one of them wait again, in front, each to be decoded alone. What is left."""
        for index in range(len(jobs) - 1, -1, -1):
            job = jobs[index]
            if job is None or index == guilty:
                continue
            jobs[index] = None
            if not job.is_over:
                job.is_quick, job.started_at = False, None
                self._waiting.put_back(job)
        return jobs

    def decoder_gone(self, decoder: DecoderProcess, reason: str) -> None:
        """A process ended. The image that it had in hand, if any, is answered; its place is filled."""
        jobs = self._running.pop(decoder, None)
        if jobs is not None and len(jobs) > 1:
            jobs = self._without(jobs, decoder.in_hand)
        job = None if jobs is None else next(iter(_present(jobs)), None)
        if decoder in self._decoders:
            self._decoders.remove(decoder)
        # a successor is on its way already, or here
        was_replaced = decoder in self._retiring or decoder in self._leaving
        self._retiring.discard(decoder)
        self._leaving.discard(decoder)
        self._ended = [one for one in self._ended if not one.is_reaped] + [decoder]
        if self._is_closed or reason == "closed":
            return
        self._tell_busy()
        asked = {} if job is None else {"request_id": job.request_id, "traceparent": job.traceparent}
        log.warning("decoder_gone", reason=reason, pid=decoder.pid, **asked)
        self._watcher.decoder_replaced(reason)
        if reason == "start":
            self._respawn_later(
                "a decode process ended before it was ready; its own words are on standard error"
            )
        elif not was_replaced:
            self._spawn()
        # one fewer may be about to start, for which a heavy image waits
        self._dispatch()
        if job is not None:
            self._settle(job, error=self._cause(reason))

    def _retire(self, decoder: DecoderProcess) -> None:
        self._leaving.discard(decoder)
        self._decoders.remove(decoder)
        decoder.close()
        self._watcher.decoder_replaced("recycled")

    def _cause(self, reason: str) -> CremaError:
        if reason in ("budget", "cpu"):
            message = (
                f"decoding took more than {self._limits.cpu_s:g} s of CPU time and was stopped;"
                " send the image smaller, or as a baseline JPEG"
            )
            return CremaError("decode_timeout", message)
        return CremaError(
            "undecodable_image",
            "the decoder ended while it read this image; open the file in a viewer and save it again",
        )


def _present(jobs: list[Job | None]) -> list[Job]:
    return [job for job in jobs if job is not None]
