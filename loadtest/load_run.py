"""LoadRun: a scenario sent by one or several senders at once, watched while it runs, and what it came to.

It starts the senders as processes of their own, so that showing progress takes nothing from sending, and leaves none behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import os
import resource
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import monotonic
from typing import Any, Final

from loadtest.cluster_cpu import ClusterCpu, CpuSample
from loadtest.figures import KINDS, Kind, Latencies
from loadtest.phase import Phase
from loadtest.photo_stock import PhotoFiles
from loadtest.scenario import Scenario
from loadtest.sender import Orders
from loadtest.tally import Tally

# What one process sends without being the bottleneck itself, with a margin (benchmarks/loadtest_rate.py).
CALLS_PER_PROCESS: Final = 1500.0
BYTES_PER_PROCESS: Final = 150e6
MAX_PROCESSES: Final = 64
DEFAULT_CONNECTIONS: Final = 1000
DEFAULT_GIVE_UP_S: Final = 30.0

# All senders begin at one moment, which has to lie ahead when the last one hears of it.
_START_IN_S: Final = 0.3
_MOST_BINS: Final = 240
_RECENT_S: Final = 3
_LINE_BYTES: Final = 256 << 20
_ROOT: Final = Path(__file__).resolve().parent.parent


class RunError(Exception):
    """A run could not be sent; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How a scenario is sent: to whom, by whom."""

    url: str
    key: str | None = None
    processes: int | None = None
    """None: as many as it takes, at most one per core."""
    connections: int = DEFAULT_CONNECTIONS
    """Most that all senders open together."""
    give_up_s: float = DEFAULT_GIVE_UP_S


@dataclass(slots=True)
class Live:
    """How a run is going: since it began, and within the last three seconds."""

    elapsed_s: float
    phase: Phase | None
    """None: between two, or waiting for the last answers."""
    sent: int
    counts: dict[Kind, int]
    recent_sent_per_s: float
    recent: Latencies
    lag: Latencies
    in_flight: int
    cpu_share: float
    """Of one core, the busiest sender."""


@dataclass(frozen=True, slots=True)
class LoadRun:
    """What a run came to: a tally for each phase, and what the senders and the cluster used for it."""

    scenario: Scenario
    settings: Settings
    tallies: list[Tally]
    processes: int
    connections: int
    """Most that each sender opened."""
    cpu_shares: list[list[float]]
    """Of each sender, second by second, of one core."""
    cpu_s: float
    """Of all senders, from start to end."""
    cpu: list[tuple[CpuSample, CpuSample] | None]
    """Of the cluster, at the beginning and the end of each phase; None where it could not be read."""
    cpu_source: str
    cpu_missing: str
    """Why there is none, or what is not in it; empty when all is."""
    is_cut_short: bool = False


def processes_for(phases: Sequence[Phase], mean_photo_bytes: float) -> int:
    """How many senders the highest rate takes, at most one per core."""
    rate = max(phase.highest_rate for phase in phases)
    wanted = math.ceil(max(rate / CALLS_PER_PROCESS, rate * mean_photo_bytes / BYTES_PER_PROCESS))
    return max(1, min(wanted, len(os.sched_getaffinity(0)), MAX_PROCESSES))


def mean_bytes(photos: Sequence[PhotoFiles]) -> float:
    """Of a call's photo."""
    weights = sum(kind.weight for kind in photos)
    return sum(
        kind.weight / weights * sum(Path(path).stat().st_size for path in kind.paths) / len(kind.paths)
        for kind in photos
    )


def allowed_connections(wanted: int) -> int:
    """At most `wanted`, as far as this machine lets one process open so many; the limit is raised as far as it goes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + 100
    if soft < needed:
        with contextlib.suppress(ValueError, OSError):
            soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return max(1, min(wanted, soft - 100))


async def run_load(
    scenario: Scenario,
    settings: Settings,
    photos: Sequence[PhotoFiles],
    cpu: ClusterCpu,
    *,
    watch: Callable[[Live], None] = lambda live: None,
    stopping: asyncio.Event | None = None,
) -> LoadRun:
    """Send `scenario`; `watch` is told about every second how it goes. When `stopping` is set, no more is sent and what was
    is counted. Raises RunError."""
    processes = settings.processes or processes_for(scenario.phases, mean_bytes(photos))
    connections = allowed_connections(max(1, settings.connections // processes))
    orders = Orders(
        url=settings.url,
        key=settings.key,
        phases=scenario.phases,
        photos=tuple(photos),
        seed=scenario.seed,
        slo_s=scenario.slo_s,
        bin_s=float(max(1, math.ceil(scenario.seconds / _MOST_BINS))),
        connections=connections,
        give_up_s=settings.give_up_s,
        senders=processes,
    )
    async with contextlib.AsyncExitStack() as stack:
        senders = [
            await stack.enter_async_context(_sender(replace(orders, number=number)))
            for number in range(processes)
        ]
        await asyncio.gather(*(sender.until_ready() for sender in senders))
        started = monotonic() + _START_IN_S
        for sender in senders:
            sender.start(started)
        sampling = asyncio.create_task(_sampled(cpu, scenario.phases, started))
        watching = asyncio.create_task(_watched(scenario, senders, started, watch))
        stop = asyncio.create_task(_stopped(senders, stopping))
        is_whole = False
        try:
            await asyncio.gather(*(sender.until_ended() for sender in senders))
            is_whole = stopping is None or not stopping.is_set()
        finally:
            for task in (watching, stop) if is_whole else (watching, stop, sampling):
                task.cancel()
            await asyncio.wait([sampling, watching, stop])
    samples: list[tuple[CpuSample, CpuSample] | None] = [None] * len(scenario.phases)
    if not sampling.cancelled():
        samples = sampling.result()
    tallies = [Tally(scenario.slo_s, orders.bin_s) for _ in scenario.phases]
    for sender in senders:
        for tally, own in zip(tallies, sender.tallies, strict=True):
            tally.merge(own)
    return LoadRun(
        scenario,
        settings,
        tallies,
        processes,
        connections,
        [sender.cpu_shares for sender in senders],
        sum(sender.cpu_s for sender in senders),
        samples,
        cpu.source,
        cpu.missing,
        is_cut_short=not is_whole,
    )


async def _stopped(senders: Sequence[_Sender], stopping: asyncio.Event | None) -> None:
    if stopping is not None:
        await stopping.wait()
        for sender in senders:
            sender.stop()


async def _sampled(
    cpu: ClusterCpu, phases: Sequence[Phase], started: float
) -> list[tuple[CpuSample, CpuSample] | None]:
    """What the cluster had used at the beginning and the end of each phase."""
    samples: list[tuple[CpuSample, CpuSample] | None] = []
    for phase in phases:
        await asyncio.sleep(max(0.0, started + phase.begins_s - monotonic()))
        before = await asyncio.to_thread(cpu.sample)
        await asyncio.sleep(max(0.0, started + phase.ends_s - monotonic()))
        after = await asyncio.to_thread(cpu.sample)
        samples.append(None if before is None or after is None else (before, after))
    return samples


async def _watched(
    scenario: Scenario, senders: Sequence[_Sender], started: float, watch: Callable[[Live], None]
) -> None:
    sent, counts = 0, dict.fromkeys(KINDS, 0)
    # several seconds, because the senders tell theirs when it suits them: some of ours hear of two, some of none
    window: deque[tuple[float, list[dict[str, Any]]]] = deque(maxlen=_RECENT_S)
    looked_at = started
    while True:
        await asyncio.sleep(1.0)
        now, heard = monotonic(), [each for sender in senders for each in sender.heard()]
        window.append((now - looked_at, heard))
        looked_at = now
        for progress in heard:
            sent += progress["sent"]
            for kind in KINDS:
                counts[kind] += progress["counts"][kind]
        recent, lag, recent_sent = Latencies(), Latencies(), 0
        for progress in (each for _, told in window for each in told):
            recent_sent += progress["sent"]
            recent.merge(Latencies.read(progress["answered"]))
            lag.merge(Latencies.read(progress["lag"]))
        elapsed_s = now - started
        phase = next((each for each in scenario.phases if each.begins_s <= elapsed_s < each.ends_s), None)
        last = [sender.last for sender in senders if sender.last is not None]
        watch(
            Live(
                elapsed_s=elapsed_s,
                phase=phase,
                sent=sent,
                counts=dict(counts),
                recent_sent_per_s=recent_sent / sum(seconds for seconds, _ in window),
                recent=recent,
                lag=lag,
                in_flight=sum(each["in_flight"] for each in last),
                cpu_share=max((each["cpu_share"] for each in last), default=0.0),
            )
        )


# -- a sender's process ------------------------------------------------------------------------------------------------


@dataclass
class _Sender:
    """What a process says."""

    process: asyncio.subprocess.Process
    tallies: list[Tally] = field(default_factory=list)
    cpu_shares: list[float] = field(default_factory=list)
    cpu_s: float = 0.0
    last: dict[str, Any] | None = None
    _heard: list[dict[str, Any]] = field(default_factory=list)

    async def until_ready(self) -> None:
        """Until its photos are in memory."""
        await self._line()

    def start(self, started: float) -> None:
        """When to begin, on the clock that all processes of a machine share."""
        self._write({"start": started})

    def stop(self) -> None:
        """No more calls."""
        self._write({"stop": True})

    async def until_ended(self) -> None:
        """Until it has told what it counted."""
        while not self.tallies:
            said = await self._line()
            if "progress" in said:
                self.last = said["progress"]
                self._heard.append(said["progress"])
            elif "tallies" in said:
                self.tallies = [Tally.read(document) for document in said["tallies"]]
                self.cpu_shares = said["cpu_shares"]
                self.cpu_s = said["cpu_s"]

    def heard(self) -> list[dict[str, Any]]:
        """What it has told of its progress since this was asked last."""
        heard, self._heard = self._heard, []
        return heard

    def _write(self, document: dict[str, Any]) -> None:
        assert self.process.stdin is not None
        with contextlib.suppress(ConnectionError):
            self.process.stdin.write(json.dumps(document).encode() + b"\n")

    async def _line(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = await self.process.stdout.readline()
        if not line:
            code = await self.process.wait()
            raise RunError(
                f"a sender ended with exit code {code} before its work was done\n"
                "  what it said stands above; with too little memory, send fewer or smaller photos"
            )
        said: dict[str, Any] = json.loads(line)
        if "error" in said:
            raise RunError(str(said["error"]))
        return said


@contextlib.asynccontextmanager
async def _sender(orders: Orders) -> AsyncIterator[_Sender]:
    # in a session of its own, so that Ctrl-C is for us alone and the sender still says what it has counted
    process = await asyncio.create_subprocess_exec(
        # -P: what happens to lie in the working directory is not what is meant
        sys.executable, "-P", "-m", "loadtest.sender_process",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=_LINE_BYTES, start_new_session=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")]))},
    )  # fmt: skip
    sender = _Sender(process)
    try:
        sender._write(orders.document())
        yield sender
    finally:
        assert process.stdin is not None
        process.stdin.close()
        if process.returncode is None:
            try:
                async with asyncio.timeout(2.0 if sender.tallies else 0.1):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()
