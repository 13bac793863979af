"""One decode process seen from the host: start it, hand it one image at a time or a few quick ones together, watch its budget,
kill it, reap it.

It decides nothing about which image comes next or whether a process is replaced; the pool does.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, Protocol

from crema.host.channel import Buffer
from crema.host.turns import take_long_turns, take_usual_turns
from crema.names import OptionalFormat
from crema.session import niceness, set_niceness
from preprocessor.decoder_answer import Answer, read_answers
from preprocessor.link import HEAVY_NICENESS, MAX_MESSAGE_BYTES, READY, pack_request
from preprocessor.order import Order
from preprocessor.tray import Tray, make_tray_memory

START_TIMEOUT_S: Final = 10.0
# An image that was not expected to be heavy, and has taken so much CPU time, is.
GIVES_WAY_AFTER_S: Final = 0.05
# Quick images that were handed over together, and have taken so much CPU time, wait for one that is not quick.
OVERDUE_S: Final = 0.01
# They wait no longer than this either for a process that does nothing at all.
STILL_S: Final = 0.25
# Each begins at such an address.
_ALIGNED: Final = 64
_ROOT: Final = str(Path(__file__).resolve().parent.parent)


class DecoderState(StrEnum):
    """Where a decode process is in its life."""

    STARTING = "starting"  # importing; not yet heard from
    READY = "ready"  # takes an image
    BUSY = "busy"  # decodes
    GONE = "gone"  # killed, dead or closed


@dataclass(frozen=True, slots=True)
class Limits:
    """What one image may cost. `cpu_s` of CPU time; `memory_mb` of address space above what the process starts with.

    `stall_s` bounds the wall clock of a decoder that uses no CPU: it is stopped or the machine is out of memory.
    `abandoned_s` is the CPU time that a decode nobody waits for any more may still use. To replace a process costs
    about as much, so killing sooner would waste more than it saves.
    """

    cpu_s: float = 2.5
    memory_mb: int = 900
    stall_s: float = 10.0
    abandoned_s: float = 0.5


class Owner(Protocol):
    """Whoever started the process is told these three things, on the event loop."""

    def decoder_ready(self, decoder: DecoderProcess) -> None:
        """It said hello and is idle."""

    def decoder_answered(self, decoder: DecoderProcess, answers: list[tuple[Answer, Buffer]]) -> None:
        """What was handed over is done, in that order, each with its pixels; the process is idle again."""

    def decoder_overdue(self, decoder: DecoderProcess) -> None:
        """Of several images the one in hand, `decoder.in_hand`, makes the others wait."""

    def decoder_gone(self, decoder: DecoderProcess, reason: str) -> None:
        """It ended: `budget` (killed by us over its budget), `cpu` (by the kernel), `died`, `start` (never ready) or
        `closed` (as asked). Called exactly once."""


class DecoderProcess:
    """A spawned process at the other end of a socket pair, with a tray for its images. Construct, then `start()`."""

    def __init__(
        self,
        owner: Owner,
        limits: Limits,
        *,
        formats: Sequence[OptionalFormat] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.state = DecoderState.STARTING
        self.served = 0
        self._owner = owner
        self._limits = limits
        self._formats = formats
        self._clock = clock
        self._process: subprocess.Popen[bytes] | None = None
        self._link: socket.socket | None = None
        self._tray: Tray | None = None
        self._places: list[tuple[int, int]] = []
        """Of each image that was handed over: where it lies on the tray, and how many bytes of pixels it has."""
        self._noted = 0
        self._is_asked = False
        """Whether the request for them has gone out."""
        self._gives_way = False
        self._budget_timer: asyncio.TimerHandle | None = None
        self._overdue_timer: asyncio.TimerHandle | None = None
        self._began_cpu_s = self._allowed_cpu_s = 0.0
        self._stalls_at = 0.0
        self._ends_because: str | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def pid(self) -> int | None:
        """Process id, once started."""
        return None if self._process is None else self._process.pid

    @property
    def is_working(self) -> bool:
        """Whether it can take an image, now or when it has finished the one in hand."""
        return self.state is DecoderState.READY or self.state is DecoderState.BUSY

    def start(self, *, is_urgent: bool = True) -> None:
        """Spawn the process (a few milliseconds) and begin to listen to it. Where it is not urgent it gives way to what others
        want to do until it has its first image. Raises OSError when the system has no room."""
        tray_fd = make_tray_memory()
        # messages are kept apart by the kernel, so nothing that a decoder sends can be taken for the middle of something
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            with theirs:
                ours.setblocking(False)
                command = [sys.executable, "-P", "-s", "-m", "preprocessor.decoder"]
                command += ["--fd", str(theirs.fileno()), "--tray-fd", str(tray_fd)]
                command += ["--parent-pid", str(os.getpid())]
                command += ["--memory-mb", str(self._limits.memory_mb), "--cpu-s", str(self._limits.cpu_s)]
                command += ["--formats", ",".join(self._formats)]
                # its own session: a Ctrl-C at the terminal is for the host, which then closes its decoders in order
                self._process = subprocess.Popen(
                    command,
                    pass_fds=[theirs.fileno(), tray_fd],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    env=_environment(),
                    cwd="/",
                    start_new_session=True,
                )
        except OSError:
            ours.close()
            os.close(tray_fd)
            raise
        if not is_urgent:
            self._give_way(True)
        self._link, self._tray = ours, Tray(tray_fd)
        loop = asyncio.get_running_loop()
        loop.add_reader(ours, self._readable)
        self._stalls_at = self._clock() + START_TIMEOUT_S
        self._budget_timer = loop.call_later(START_TIMEOUT_S, self._end, "start")

    @property
    def in_hand(self) -> int:
        """Which of several images that were handed over it says it is at, or was when it ended. It may lie."""
        if self._tray is not None:
            self._noted = self._tray.noted
        return min(self._noted, len(self._places) - 1)

    def run_all(self, images: Sequence[tuple[Order, Buffer]]) -> None:
        """Hand over several small and quick images, to be answered together. The process must be idle."""
        self._begin(is_heavy=False)
        tray = self._tray
        assert tray is not None
        tray.note(0)
        self._places, asked, begin = [], [], 0
        for order, image in images:
            tray.put_at(begin, image)
            self._places.append((begin, order.nbytes))
            asked.append((begin, len(image), order.packed))
            begin += -(-max(len(image), order.nbytes) // _ALIGNED) * _ALIGNED
        self._overdue_timer = asyncio.get_running_loop().call_later(OVERDUE_S, self._look_if_overdue)
        self._ask(pack_request(False, asked))

    def run(self, order: Order, image: Buffer, is_heavy: bool = False) -> None:
        """Hand over one image. The process must be idle. A heavy one runs behind what others want to do."""
        self._begin(is_heavy=is_heavy)
        self._places = [(0, order.nbytes)]
        self._lay(image, pack_request(is_heavy, [(0, len(image), order.packed)]))

    def _begin(self, *, is_heavy: bool) -> None:
        assert self.state is DecoderState.READY and self._tray is not None and self._link is not None
        self.state = DecoderState.BUSY
        self._is_asked = False
        self._began_cpu_s = self._cpu_s()
        self._allowed_cpu_s = self._began_cpu_s + self._limits.cpu_s
        self._stalls_at = self._clock() + self._limits.stall_s
        if self._budget_timer is None:
            self._watch_budget(min(GIVES_WAY_AFTER_S, self._limits.cpu_s))
        if is_heavy != self._gives_way:
            self._give_way(is_heavy)

    def _lay(self, image: Buffer, request: bytes, begin: int = 0) -> None:
        """Lay the image on the tray, a piece at each turn of the loop, and then ask for it."""
        if self._link is None or self._tray is None:
            return  # it ended meanwhile
        end = self._tray.put(image, begin)
        if end < len(image):
            asyncio.get_running_loop().call_soon(self._lay, image, request, end)
            return
        self._ask(request)

    def _ask(self, request: bytes) -> None:
        if self._link is None:
            return
        self._is_asked = True
        try:  # noqa: SIM105 - once per image, and `suppress` costs as much as three calls
            self._link.send(request)
        except OSError:
            pass  # the process is dead, which the closing socket tells

    def _give_way(self, gives_way: bool) -> None:
        """Let its session have less of the cores, and others cut in, or all as usual again. Where that may not be changed so soon
        after the last time, the next image tries again."""
        pid = self.pid
        assert pid is not None
        (take_long_turns if gives_way else take_usual_turns)(pid)
        set_niceness(HEAVY_NICENESS if gives_way else 0, pid)
        of_session = niceness(pid)
        self._gives_way = gives_way if of_session is None else of_session == HEAVY_NICENESS

    def abandon(self) -> None:
        """Nobody waits for the image in hand any more: it may finish soon, or the process is killed."""
        if self.state is DecoderState.BUSY:
            self._allowed_cpu_s = min(self._allowed_cpu_s, self._cpu_s() + self._limits.abandoned_s)
            self._watch_budget(self._limits.abandoned_s)

    def close(self) -> None:
        """End it in order; it has nothing to lose, so it is not waited for."""
        self._end("closed")

    @property
    def is_reaped(self) -> bool:
        """Whether nothing of it is left."""
        return self.state is DecoderState.GONE and not self._tasks

    async def wait(self) -> None:
        """Until the process is reaped."""
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)

    # -- the budget ------------------------------------------------------------------------------------------------

    # One timer outlives many images: it looks at the one that is in hand when it fires, and rests while there is none.

    def _watch_budget(self, seconds: float) -> None:
        if self._budget_timer is not None:
            self._budget_timer.cancel()
        self._budget_timer = asyncio.get_running_loop().call_later(seconds, self._check_budget)

    def _check_budget(self) -> None:
        """Wall time has passed; what counts is CPU time, which passes more slowly on a busy machine."""
        self._budget_timer = None
        if self.state is not DecoderState.BUSY:
            return
        used = self._cpu_s()
        left = self._allowed_cpu_s - used
        if left <= 0 or self._clock() >= self._stalls_at:
            self._end("budget")
            return
        if not self._gives_way:
            if used - self._began_cpu_s >= GIVES_WAY_AFTER_S:
                self._give_way(True)
            else:
                left = min(left, GIVES_WAY_AFTER_S - (used - self._began_cpu_s))
        self._watch_budget(max(0.01, min(left, self._stalls_at - self._clock())))

    def _look_if_overdue(self) -> None:
        """Look whether what should have been quick is not."""
        self._overdue_timer = None
        if self.state is not DecoderState.BUSY:
            return
        still_s = self._clock() - (self._stalls_at - self._limits.stall_s)
        if self._cpu_s() - self._began_cpu_s >= OVERDUE_S or still_s >= STILL_S:
            self._owner.decoder_overdue(self)
        else:
            self._overdue_timer = asyncio.get_running_loop().call_later(OVERDUE_S, self._look_if_overdue)

    def _cpu_s(self) -> float:
        """CPU seconds of the process so far (infinite once it is gone), by its CPU-time clock."""
        assert self._process is not None
        try:
            # the clock id that clock_getcpuclockid(3) computes
            return time.clock_gettime((~self._process.pid << 3) | 2)
        except OSError:
            return float("inf")

    # -- the end ---------------------------------------------------------------------------------------------------

    def _end(self, reason: str) -> None:
        if self._ends_because is not None:
            return
        self._ends_because = reason
        for timer in (self._budget_timer, self._overdue_timer):
            if timer is not None:
                timer.cancel()
        assert self._process is not None
        self._process.kill()
        self._stop_listening()
        self.state = DecoderState.GONE
        self._spawn_task(self._reap())
        self._owner.decoder_gone(self, reason)

    async def _reap(self) -> None:
        assert self._process is not None
        await asyncio.get_running_loop().run_in_executor(None, self._process.wait)

    async def _find_out(self, was_starting: bool) -> None:
        """The socket closed by itself: learn from the exit status why."""
        assert self._process is not None
        # if it still lives it is of no use without its socket; if it is dead this does not change how it died
        self._process.kill()
        await self._reap()
        self._end(
            "cpu" if self._process.returncode == -signal.SIGXCPU else "start" if was_starting else "died"
        )

    def _spawn_task(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # -- what it says ----------------------------------------------------------------------------------------------

    def _readable(self) -> None:
        assert self._link is not None and self._tray is not None
        try:
            message = self._link.recv(MAX_MESSAGE_BYTES)
        except BlockingIOError:
            return
        except OSError:
            message = b""
        if (
            self.state is DecoderState.BUSY
            and self._is_asked
            and (answers := read_answers(message, len(self._places))) is not None
        ):
            given: list[tuple[Answer, Buffer]] = [
                (answer, self._tray.take(nbytes, begin) if answer["status"] == 200 else b"")
                for answer, (begin, nbytes) in zip(answers, self._places, strict=True)
            ]
            self.state = DecoderState.READY
            self.served += len(given)
            if self._overdue_timer is not None:
                self._overdue_timer.cancel()
                self._overdue_timer = None
            self._owner.decoder_answered(self, given)
        elif self.state is DecoderState.STARTING and message == READY:
            assert self._budget_timer is not None
            self._budget_timer.cancel()
            self._budget_timer = None
            self.state = DecoderState.READY
            self._owner.decoder_ready(self)
        else:
            # it is dead, or what it says makes no sense, which is the end of it, too
            self._stop_listening()
            was_starting, self.state = self.state is DecoderState.STARTING, DecoderState.GONE
            self._spawn_task(self._find_out(was_starting))

    def _stop_listening(self) -> None:
        if self._link is not None and self._tray is not None:
            self._noted = self._tray.noted
            asyncio.get_running_loop().remove_reader(self._link)
            self._link.close()
            self._tray.close()
            self._link = self._tray = None


def _environment() -> dict[str, str]:
    """No secrets and no settings of ours: a decoder reads strangers' bytes."""
    kept = {name: os.environ[name] for name in ("LD_LIBRARY_PATH", "PATH") if name in os.environ}
    return {**kept, "PYTHONPATH": _ROOT, "LC_ALL": "C.UTF-8"}
