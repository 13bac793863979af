"""How many calls a second one sender of `crema loadtest` sends on one core, before it is the bottleneck itself.

    .venv/bin/python -m benchmarks.loadtest_rate [--seconds 5] [--rates 1500,2000,2500,3000,4000]

Against a bare aiohttp server in another process that reads the photo and answers with three models' parts. Each rate is a
run of its own, open loop, Poisson. A rate is reached when what was due was sent, its p99 at most 10 ms late, with at most
90 % of a core. That needs a quiet machine; CPU per call is the sender's alone and does not, so what it allows stands beside it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvloop
from aiohttp import web

from benchmarks.fanout import keep_apart
from benchmarks.measuring import machine, verdict
from loadtest.bottleneck import CPU_BOUND, LAG_BOUND_S
from loadtest.cluster_cpu import NoCpu
from loadtest.load_run import LoadRun, Settings, mean_bytes, run_load
from loadtest.photo_stock import PhotoFiles, prepare
from loadtest.scenario import PhaseConfig, PhotoConfig, ScenarioConfig, resolve

GOAL_PER_S = 1500.0
SIZES = ((64, 48), (640, 480))
_PART = {
    "status": "ok",
    "model": "tags",
    "version": "3.1",
    "output": {"tags": [{"name": "beach", "confidence": 0.982}] * 10},
    "timing": {"queue_ms": 3.1, "inference_ms": 41.2, "total_ms": 47.9, "batch_size": 8},
}
ANSWER = json.dumps(
    {
        "id": "req_01jd3z8k7qw9x2",
        "status": "ok",
        "image": {"format": "jpeg", "width": 4000, "height": 3000, "bytes": 1259340},
        "results": {name: {**_PART, "model": name} for name in ("tags", "aesthetics", "captions")},
        "timing": {"preprocess_ms": 18.4, "total_ms": 94.6},
    }
).encode()


async def serve() -> None:
    """The bare server: says its port, and ends with its parent's pipe."""

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        await request.read()
        return web.Response(body=ANSWER, content_type="application/json")

    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await runner.cleanup()


@contextmanager
def bare_server() -> Iterator[tuple[int, str]]:
    """(its pid, its URL)."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.loadtest_rate", "--serve"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None and process.stdin is not None
        yield process.pid, f"http://127.0.0.1:{int(process.stdout.readline())}"
        process.stdin.close()
        process.wait(5)
    finally:
        process.kill()
        process.wait()


async def at_rate(url: str, photos: list[PhotoFiles], rate: float, seconds: float) -> LoadRun:
    """One run with one sender."""
    plan = resolve(ScenarioConfig(warmup_s=1.0, phases=(PhaseConfig(seconds=seconds, rate=rate),)), Path())
    return await run_load(plan, Settings(url, processes=1), photos, NoCpu(""))


def show(rate: float, run: LoadRun) -> tuple[bool, float]:
    """One line; whether the sender kept up, and its CPU seconds per call."""
    tally = run.tallies[-1]
    lag_s, seconds = tally.lag.percentile_s(99) or 0.0, run.scenario.seconds
    call_s = run.cpu_s / sum(each.lag.count for each in run.tallies)
    share, outcomes = run.cpu_s / seconds, tally.outcomes
    keeps_up = lag_s <= LAG_BOUND_S and share <= CPU_BOUND and outcomes.counts["ok"] == outcomes.offered
    print(
        f"  {rate:6.0f}/s  CPU {call_s * 1e6:4.0f} us a call  sent late p99 {lag_s * 1000:7.1f} ms"
        f"  p50 {(outcomes.answered.percentile_s(50) or 0) * 1000:7.1f} ms  {'kept up' if keeps_up else 'fell behind'}"
    )
    return keeps_up, call_s


def main() -> bool:
    """Parse, measure, print goal, figure, verdict."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rates", default="1500,2000,2500,3000,4000")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        uvloop.run(serve())
        return True
    print(f"One sender of crema loadtest against a bare aiohttp server; {machine()}")
    met = []
    for width, height in SIZES:
        photo = PhotoConfig(draw=(width, height))
        plan = resolve(ScenarioConfig(photos=(photo,), phases=(PhaseConfig(seconds=1.0, rate=1.0),)), Path())
        with tempfile.TemporaryDirectory() as folder, bare_server() as (pid, url):
            photos = prepare(plan.photos, Path(folder), 1, lambda text: None)
            keep_apart([os.getpid()], [pid])  # the sender is our child, and stays where we are
            print(f"photos of {width}x{height}, {mean_bytes(photos) / 1000:.0f} kB on average:")
            rates = [float(rate) for rate in args.rates.split(",")]
            shown = [show(rate, asyncio.run(at_rate(url, photos, rate, args.seconds))) for rate in rates]
        reached = max(
            (rate for rate, (keeps_up, _) in zip(rates, shown, strict=True) if keeps_up), default=0.0
        )
        name = f"photos of {width}x{height}, calls a second of one sender"
        # at the lowest rate: it has the least chance to be helped by calls that come together
        met.append(verdict(f"{name} by its CPU", GOAL_PER_S, CPU_BOUND / shown[0][1], "/s", at_least=True))
        met.append(verdict(f"{name}, seen", GOAL_PER_S, reached, "/s", at_least=True))
    return all(met)


if __name__ == "__main__":
    raise SystemExit(0 if main() else 1)
