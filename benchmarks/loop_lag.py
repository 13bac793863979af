"""P13: how late a minion's host answers, with the model idle and with the model saturating its core.

    .venv/bin/python -m benchmarks.loop_lag [--rounds 5] [--seconds 4]

Seen from outside, as every peer sees it: a small request on an open channel that the host answers by itself, without the
worker (it asks for a shape that the model does not take), sent every 5 ms whatever became of the one before. The time until its answer is
the time until the host's loop came round, plus the system's own. The model holds its interpreter for half a second per batch.
Host and worker are kept on different cores where there are two, as a machine with more of them would; this program shares the host's.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import time
from typing import Any, Final

import uvloop

from benchmarks.measuring import cpu_seconds, machine, spread, verdict
from crema.host.channel import Buffer
from tests.cluster.running_minion import RunningMinion, running_minion

MOST_MS: Final = 3.0
TIMES_IDLE: Final = 3.0
EVERY_S: Final = 0.005
ITEM: Final[dict[str, Any]] = {"shape": [128], "dtype": "uint8"}
WRONG: Final[dict[str, Any]] = {"shape": [127], "dtype": "uint8"}


def p99(figures: list[float]) -> float:
    """The 99th percentile."""
    return sorted(figures)[min(len(figures) - 1, int(0.99 * len(figures)))]


async def probe(minion: RunningMinion, seconds: float) -> list[float]:
    """Milliseconds until the host answered, one figure per probe."""
    loop, late, waiting, done = asyncio.get_running_loop(), list[float](), 0, asyncio.Event()

    def send() -> None:
        nonlocal waiting
        waiting += 1
        sent_at = time.perf_counter()  # the loop's own clock ticks in milliseconds

        def on_answer(header: dict[str, Any] | None, payload: Buffer, error: Exception | None) -> None:
            nonlocal waiting
            waiting -= 1
            assert header is not None, error
            assert header["status"] == 400
            late.append((time.perf_counter() - sent_at) * 1000)
            if not waiting:
                done.set()

        minion.channel.submit({"kind": "infer", "items": [WRONG]}, (bytes(127),), on_answer)

    began = loop.time()
    for number in range(int(seconds / EVERY_S)):
        due = began + number * EVERY_S
        await asyncio.sleep(max(0.0, due - loop.time()))
        send()
    while waiting:
        done.clear()
        await done.wait()
    return late


async def saturated(minion: RunningMinion, seconds: float) -> list[float]:
    """The same while a batch always runs and the next one always waits."""

    async def keep_busy() -> None:
        while True:
            await minion.channel.call({"kind": "infer", "items": [ITEM] * 8}, bytes(8 * 128))

    callers = [asyncio.ensure_future(keep_busy()) for _ in range(8)]
    try:
        await minion.until("busy")
        worker = await minion.worker_pid()
        before = cpu_seconds(worker)
        late = await probe(minion, seconds)
        if cpu_seconds(worker) - before < 0.5 * seconds:
            raise SystemExit("the model did not saturate its core: this machine is too busy to measure on")
        return late
    finally:
        for caller in callers:
            caller.cancel()
        await asyncio.gather(*callers, return_exceptions=True)


async def measure(rounds: int, seconds: float) -> bool:
    """Idle and saturated in turn."""
    cores = sorted(os.sched_getaffinity(0))
    idle, busy = list[float](), list[float]()
    async with running_minion("interpreter_hog", "--log-level", "warning") as minion:
        if len(cores) > 1:
            os.sched_setaffinity(await minion.worker_pid(), cores[1:])
            for pid in (minion.process.pid, os.getpid()):
                os.sched_setaffinity(pid, cores[:1])
        for _ in range(rounds):
            idle.append(p99(await probe(minion, seconds)))
            busy.append(p99(await saturated(minion, seconds)))
            await minion.until("ready")
    os.sched_setaffinity(0, cores)
    print(f"P13 p99 of the host's own answers, a batch takes 500 ms; {machine()}")
    print(f"      idle {spread(idle)} ms, saturated {spread(busy)} ms")
    limit = max(MOST_MS, TIMES_IDLE * statistics.median(idle))
    return verdict(
        "P13 p99 of the loop's lag beside a model that holds its interpreter",
        limit,
        statistics.median(busy),
        " ms",
    )


def main() -> bool:
    """Parse, measure, print goal, figure, verdict."""
    parser = argparse.ArgumentParser(description="How late the host answers beside a busy model.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0)
    args = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(measure(args.rounds, args.seconds))


if __name__ == "__main__":
    raise SystemExit(not main())
