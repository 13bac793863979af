"""WorkerProcess: one worker from its start to its end, with the model's own Python, joined by a socket pair.

It starts the process, hands it the model and batches, and tells how it ended. It starts nothing twice: replacing a
worker is the keeper's business.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgpack

from crema import wire
from crema.host.channel import LOCAL_BUFFER_BYTES, Buffer, Channel
from crema.host.channel_lost import ChannelLost
from crema.host.headers import encode_header
from minion.arena import Arena
from minion.gpu_memory import GpuMemory, read_gpu_memory
from minion.worker_environment import make_scratch, remove_scratch, worker_environment
from minion.worker_output import WorkerOutput

_LOAD_ID: Final = 0
# Below this a batch is sent as one object: copying costs less than many parts do.
_JOIN_BYTES: Final = 32 * 1024
# After the process is gone: for answers that are still in the socket.
_LAST_WORDS_S: Final = 0.25
_CLOSE_GRACE_S: Final = 2.0
# For a worker that hangs to write down where.
_DUMP_S: Final = 0.15


@dataclass(frozen=True, slots=True)
class WorkerPlan:
    """What a worker is started with. `python` is the interpreter of the model's virtualenv; its scratch folder is made
    in `run_folder`; `load_s` bounds loading."""

    python: Path
    package_dir: Path
    card: dict[str, Any]
    light_ring: Path
    run_folder: Path
    device: str
    warmup: Path | None
    load_s: float
    workers: int = 1
    """How many share the machine's cores."""
    arena: Arena | None = None
    """The memory that they share with the host."""
    user: int | None = None
    """Whom they run as; None: as the host does."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A worker that is ready: seconds from its start to the end of its warm-up, and the (n, seconds) it measured."""

    seconds: float
    curve: tuple[tuple[int, float], ...]
    overlaps: bool = False
    """Whether it runs two batches at once."""
    gpu_memory: GpuMemory | None = None


class WorkerLost(Exception):
    """The worker did not load or is gone. `reason` is one closed word; the text is the problem, first line first."""

    def __init__(self, reason: str, problem: str) -> None:
        super().__init__(problem)
        self.reason = reason
        self.problem = problem


OnAnswer = Callable[[dict[str, Any], Buffer], None]


class WorkerProcess:
    """One worker. `on_answer(header, payload)` is called on the loop for every batch; it must not raise."""

    def __init__(self, plan: WorkerPlan, on_answer: OnAnswer) -> None:
        self.pid: int | None = None
        self._plan = plan
        self._on_answer = on_answer
        self._channel = Channel(self, "minion", frozenset({"worker"}))
        self._process: subprocess.Popen[bytes] | None = None
        self._output: WorkerOutput | None = None
        self._scratch: Path | None = None
        self._loaded: asyncio.Future[dict[str, Any] | None] | None = None
        """The answer to `load`; None when the channel ended without one."""
        self._channel_closed = asyncio.Event()
        self._exited = asyncio.Event()
        self._ended_for: tuple[str, str] | None = None
        """Reason and problem when it was we who ended it."""

    # -- its life ------------------------------------------------------------------------------------------------------

    async def start(self) -> Loaded:
        """Start the process and load the model.

        Raises WorkerLost, with the process gone, when it does not load within `load_s`.
        """
        loop = asyncio.get_running_loop()
        self._loaded = loop.create_future()
        started = time.monotonic()
        try:
            await self._spawn(loop)
        except OSError as error:
            raise WorkerLost("load_failed", f"the worker could not be started: {error}") from None
        try:
            async with asyncio.timeout(self._plan.load_s):
                answer = await self._loaded
        except TimeoutError:
            self.kill()
            raise await self._lost(
                "load_timeout",
                f"the model did not load within {self._plan.load_s:g} s; make it quicker or raise load_s in model.yaml",
            ) from None
        if answer is None:
            raise await self._lost("load_failed", "the worker ended while it loaded the model")
        failure = answer.get("error")
        if failure is not None:
            self.kill()
            raise await self._lost("load_failed", f"load: {failure.get('message')}", failure.get("traceback"))
        return Loaded(
            time.monotonic() - started,
            tuple((n, seconds) for n, seconds in answer["curve"]),
            answer.get("overlaps") is True,
            read_gpu_memory(answer.get("gpu_memory")),
        )

    async def ended(self) -> WorkerLost:
        """Wait until the process is gone; how it ended."""
        await self._exited.wait()
        return await self._lost(*(self._ended_for or ("crashed", "the worker died")))

    def end(self, reason: str, problem: str) -> None:
        """Kill the process; its end will be told with this reason and problem, and where its threads were if it can say."""
        if self.pid is None or self._exited.is_set() or self._ended_for is not None:
            return
        self._ended_for = (reason, problem)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(self.pid, signal.SIGUSR1)
        asyncio.get_running_loop().call_later(_DUMP_S, self.kill)

    def kill(self) -> None:
        """End the process, and what it started, now."""
        # once it is reaped its pid may be somebody else's
        if self.pid is not None and not self._exited.is_set():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)

    async def close(self) -> None:
        """Let the model say farewell, kill what is left after two seconds, and wait until it is gone."""
        if self._process is None:
            return
        with contextlib.suppress(ChannelLost):
            self._channel.send({"v": wire.WIRE_VERSION, "kind": "close", "id": _LOAD_ID})
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._exited.wait(), _CLOSE_GRACE_S)
        self.kill()
        await self._exited.wait()
        await self._clean_up()

    def run(
        self,
        batch_id: int,
        pixels: Sequence[Buffer],
        params: list[dict[str, Any]] | None,
        until: list[float | None] | None = None,
        at: list[int | None] | None = None,
    ) -> None:
        """Hand a batch over: one buffer of pixels per item, uncopied, and the items' params unless all are defaults.

        `at`: where each item lies in the plan's arena (None: it does not): its pixels need not be sent. They must stay
        there until the batch is answered.
        `until` goes with a batch that lies behind another: the items' deadlines in monotonic seconds (None: no deadline).
        Host and worker share the machine's monotonic clock. Raises ChannelLost when the worker is gone.
        """
        frames = b""
        if params is not None:
            packed = msgpack.packb(params)
            frames = (
                encode_header({"v": wire.WIRE_VERSION, "kind": "params", "id": batch_id}, len(packed))
                + packed
            )
        header: dict[str, Any] = {"v": wire.WIRE_VERSION, "kind": "run", "id": batch_id, "n": len(pixels)}
        if until is not None:
            header["until"] = until
        if at is not None:
            header["at"] = at
            pixels = [each for each, offset in zip(pixels, at, strict=True) if offset is None]
        size = sum(map(len, pixels))
        frames += encode_header(header, size)
        if not size:
            self._channel.write(frames)
        elif size <= _JOIN_BYTES:
            self._channel.write(b"".join((frames, *pixels)))
        else:
            self._channel.send_packed(frames, *pixels)

    def skip(self, batch_id: int, indexes: list[int]) -> None:
        """Items of a batch that lies behind another need not run any more. Raises ChannelLost when the worker is gone."""
        self._channel.send({"v": wire.WIRE_VERSION, "kind": "skip", "id": batch_id, "items": indexes})

    # -- starting and ending -------------------------------------------------------------------------------------------

    async def _spawn(self, loop: asyncio.AbstractEventLoop) -> None:
        self._scratch = make_scratch(self._plan.run_folder, self._plan.user)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        # ours is the channel's to tune
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, LOCAL_BUFFER_BYTES)
        output, pipe = os.pipe()
        try:
            self._process = _start_process(self._plan, self._scratch, theirs.fileno(), pipe)
        except OSError:
            ours.close()
            os.close(output)
            await self._clean_up()
            raise
        finally:
            theirs.close()
            os.close(pipe)
        self.pid = self._process.pid
        self._output = WorkerOutput(output, self.pid)
        self._output.start()
        watch = os.pidfd_open(self.pid)
        loop.add_reader(watch, self._process_exited, loop, watch)
        ours.setblocking(False)
        await loop.create_unix_connection(lambda: self._channel, sock=ours)

    def _process_exited(self, loop: asyncio.AbstractEventLoop, watch: int) -> None:
        loop.remove_reader(watch)
        os.close(watch)
        # a process that the model started and left behind is in the same session; while the dead leader is not reaped,
        # its pid names that session and nothing else
        self.kill()
        assert self._process is not None
        self._process.wait()
        self._exited.set()

    async def _lost(self, reason: str, problem: str, trace: str | None = None) -> WorkerLost:
        """Wait for the end, clean up, and put together what is known about why."""
        await self._exited.wait()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._channel_closed.wait(), _LAST_WORDS_S)
        await self._clean_up()
        if reason == "crashed" or (reason == "load_failed" and trace is None):
            problem = f"{problem}: {self._how_it_ended()}"
        parts = [problem]
        if trace:
            parts.append(trace.rstrip())
        elif self._output is not None and self._output.tail:
            parts.append("its last output:\n" + "\n".join(self._output.tail))
        return WorkerLost(reason, "\n".join(parts))

    async def _clean_up(self) -> None:
        self._channel.abort(ChannelLost("the worker is gone"))
        if self._output is not None:
            self._output.close()
        if self._scratch is not None:
            scratch, self._scratch = self._scratch, None
            await asyncio.get_running_loop().run_in_executor(None, remove_scratch, scratch)

    def _how_it_ended(self) -> str:
        status = self._process.returncode if self._process is not None else None
        if status is None:
            return "it never started"
        if status >= 0:
            return f"it exited with status {status}"
        try:
            name = signal.Signals(-status).name
        except ValueError:
            name = f"signal {-status}"
        return f"it was killed by {name}"

    # -- the Receiver's side -------------------------------------------------------------------------------------------

    def channel_opened(self, channel: Channel) -> None:
        plan = self._plan
        header: dict[str, Any] = {
            "v": wire.WIRE_VERSION,
            "kind": "load",
            "id": _LOAD_ID,
            "package": str(plan.package_dir),
            "device": plan.device,
        }
        if plan.warmup is not None:
            header["warmup"] = str(plan.warmup)
        # the card as payload: a JSON Schema in it may be larger and deeper than a header
        channel.send(header, msgpack.packb(plan.card))

    def header_received(self, channel: Channel, header: dict[str, Any], payload_bytes: int) -> bool:
        return True

    def frame_received(self, channel: Channel, header: dict[str, Any], payload: Buffer) -> None:
        if header["id"] != _LOAD_ID:
            self._on_answer(header, payload)
        elif self._loaded is not None and not self._loaded.done():
            self._loaded.set_result(header)

    def channel_closed(self, channel: Channel, error: Exception | None) -> None:
        self._channel_closed.set()
        if self._loaded is not None and not self._loaded.done():
            self._loaded.set_result(None)
        # without its channel a worker is of no use, whatever it still does
        if not self._exited.is_set():
            self.kill()


def _start_process(plan: WorkerPlan, scratch: Path, channel: int, output: int) -> subprocess.Popen[bytes]:
    """Start the interpreter, from the main thread: the kernel ties the worker's life to the thread that starts it."""
    command = [str(plan.python), "-m", "crema.worker", "--fd", str(channel), "--parent-pid", str(os.getpid())]
    inherited = [channel]
    if plan.arena is not None:
        command += ["--pixels-fd", str(plan.arena.descriptor)]
        inherited.append(plan.arena.descriptor)
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        pass_fds=inherited,
        cwd=scratch,
        env=worker_environment(os.environ, plan.light_ring, scratch, plan.workers, plan.user),
        start_new_session=True,
        user=plan.user,
        group=plan.user,
        extra_groups=None if plan.user is None else [],
    )
