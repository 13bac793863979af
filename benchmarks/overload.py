"""W3: a model that sleeps 20 ms per batch of 8 (400/s), under 0.5x to 10x of that, open loop, with nothing tuned.

    .venv/bin/python -m benchmarks.overload [--seconds 10] [--loads 0.5,1,2,4,10] [--seed 1]

One real minion (host and worker), called through its channel. Arrivals are Poisson, clients send no deadline; latency
counts from the moment a call was due. Goodput: right answers within 500 ms that came while the load was on, as a share
of capacity (B/t(B) = 400/s) times the seconds. Beside each live figure stands what the same arrivals give in virtual time
with the very same policies and a host that costs nothing: what is missing between the two is the host's.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import time
from dataclasses import dataclass, field
from typing import Any

import uvloop

from benchmarks.measuring import cpu_seconds, machine, verdict
from crema.host.channel import Buffer
from loadtest.arrivals import poisson
from loadtest.one_minion import SLEEPY, Arrival, OneMinion
from tests.cluster.running_minion import RunningMinion, running_minion

CAPACITY = SLEEPY.capacity
SLO_S = SLEEPY.slo_s
PROBE_WITHIN_S = 0.1
PATIENCE_S = 5.0

# (load, least goodput) of the issue and of the comparison with other servers; 0.5x is held to what was offered
LEAST_GOODPUT = {1.0: 0.95, 2.0: 0.95, 4.0: 0.95, 10.0: 0.90}


@dataclass
class Run:
    """What one load gave."""

    load: float
    seconds: float
    due: list[float]
    answers: list[tuple[float, float, bool]] = field(default_factory=list)
    """Of every 200: when it came (from the start), its latency, whether it was right."""
    batches: float = 0.0
    """How many ran while the load was on."""
    batched: int = 0
    """Items in them."""
    refusals: list[float] = field(default_factory=list)
    """Latency of every 429."""
    others: list[str] = field(default_factory=list)
    recovery_s: float = math.nan
    host_cpu_s: float = 0.0

    @property
    def goodput(self) -> float:
        """Share of the capacity."""
        good = sum(right and took <= SLO_S and at <= self.seconds for at, took, right in self.answers)
        return good / (CAPACITY * self.seconds)

    @property
    def late_share(self) -> float:
        """Share of the accepted calls."""
        return sum(took > SLO_S for _, took, _ in self.answers) / max(1, len(self.answers))

    @property
    def simulated(self) -> float:
        """Goodput of the same arrivals in virtual time, with a host that costs nothing."""
        minion = OneMinion(SLEEPY)
        minion.curve.seed(SLEEPY.points())
        return minion.run(Arrival(at) for at in self.due).goodput(0, self.seconds) / CAPACITY


def p99(figures: list[float]) -> float:
    """The 99th percentile; 0 of nothing."""
    return sorted(figures)[min(len(figures) - 1, int(0.99 * len(figures)))] if figures else 0.0


async def send_all(minion: RunningMinion, run: Run) -> None:
    """Send every call when it is due, whatever became of the others; return when all have ended."""
    loop, left, done = asyncio.get_running_loop(), len(run.due), asyncio.Event()
    started = loop.time()

    def send(due: float, value: int) -> None:
        def on_answer(header: dict[str, Any] | None, payload: Buffer, error: Exception | None) -> None:
            nonlocal left
            left -= 1
            if not left:
                done.set()
            now = loop.time() - started
            if header is None:
                run.others.append(repr(error))
            elif header["status"] == 429:
                run.refusals.append(now - due)
            elif header["status"] == 200:
                run.answers.append((now, now - due, header["outcomes"] == [{"ok": value}]))
                if now <= run.seconds:
                    run.batched += 1
                    run.batches += 1 / header["timing"]["batch_size"]
            else:
                run.others.append(str(header["status"]))

        item = {"shape": [128], "dtype": "uint8"}
        minion.channel.submit({"kind": "infer", "items": [item]}, (bytes([value]) + bytes(127),), on_answer)

    for number, due in enumerate(run.due):
        ahead = started + due - loop.time()
        if ahead > 0:
            await asyncio.sleep(ahead)
        send(due, number % 200)
    await asyncio.sleep(max(0.0, started + run.seconds - loop.time()))
    run.recovery_s = await recovery(minion)
    async with asyncio.timeout(PATIENCE_S):
        await done.wait()


async def recovery(minion: RunningMinion) -> float:
    """Seconds until three probes in a row were answered within 100 ms."""
    began, in_a_row = time.monotonic(), 0
    while in_a_row < 3 and time.monotonic() < began + PATIENCE_S:
        sent = time.monotonic()
        header, _ = await minion.infer(1)
        quick = header["status"] == 200 and time.monotonic() - sent <= PROBE_WITHIN_S
        in_a_row = in_a_row + 1 if quick else 0
        if header["status"] != 200:
            await asyncio.sleep(0.02)
    return time.monotonic() - began


async def at_load(minion: RunningMinion, load: float, seconds: float, seed: int) -> Run:
    """One load."""
    run = Run(load, seconds, list(poisson(load * CAPACITY, seconds, seed)))
    cpu_s = cpu_seconds(minion.process.pid)
    await send_all(minion, run)
    run.host_cpu_s = cpu_seconds(minion.process.pid) - cpu_s
    return run


def show(run: Run) -> None:
    """One line of the table."""
    between_ms = (run.seconds / run.batches - 0.020) * 1000 if run.load > 1 and run.batches else math.nan
    print(
        f"{run.load:5g}x {run.goodput:8.3f} {run.simulated:9.3f} {run.late_share:6.3%} {p99([t for _, t, _ in run.answers]) * 1000:8.0f}"
        f" {p99(run.refusals) * 1000:8.1f} {run.recovery_s * 1000:9.0f} {run.batched / max(1, run.batches):6.2f} {between_ms:8.2f}"
        f" {run.host_cpu_s / run.seconds:8.2f} {len(run.others):6d}"
    )


def judge(run: Run) -> bool:
    """Goals, figures, verdicts of one load."""
    name = f"W3 {run.load:g}x"
    if run.load in LEAST_GOODPUT:
        met = verdict(f"{name} goodput", LEAST_GOODPUT[run.load], run.goodput, at_least=True)
    else:
        offered = len(run.due) / (CAPACITY * run.seconds)
        met = verdict(
            f"{name} goodput of what was offered", 0.95, run.goodput / min(1.0, offered), at_least=True
        )
    met &= verdict(f"{name} late share", 0.01, run.late_share)
    met &= verdict(f"{name} p99 of accepted", 500, p99([took for _, took, _ in run.answers]) * 1000, " ms")
    if run.refusals:
        met &= verdict(f"{name} p99 of a 429", 10, p99(run.refusals) * 1000, " ms")
    met &= verdict(f"{name} back to normal after", 1.0, run.recovery_s, " s")
    return met and not run.others


async def measure(loads: list[float], seconds: float, seed: int) -> bool:
    """All loads, one after the other, on one minion as it starts."""
    print(f"W3 20 ms per batch of 8, {seconds:g} s per load, seed {seed}; {machine()}")
    print("  load  goodput  in virt.   late  p99 ms   429 p99  normal ms  batch  between  host CPU others")
    runs = []
    async with running_minion("sleepy", "--log-level", "warning") as minion:
        for load in loads:
            runs.append(await at_load(minion, load, seconds, seed))
            show(runs[-1])
    print("  between: ms from batch to batch beyond the model's 20; host CPU: cores")
    met = [judge(run) for run in runs]  # all of them, whatever the first one says
    return all(met)


def main() -> bool:
    """Parse, measure, print goal, figure, verdict."""
    parser = argparse.ArgumentParser(description="Goodput of one minion from half to ten times its capacity.")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--loads", default="0.5,1,2,4,10")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    loads = [float(load) for load in args.loads.split(",")]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(measure(loads, args.seconds, args.seed))


if __name__ == "__main__":
    raise SystemExit(not main())
