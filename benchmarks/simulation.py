"""The simulator beside a real cluster: the same calls at the same moments, simulated and live, at 0.5, 0.9 and 2 times
what the narrowest model can do. Goals: p50, p99 and goodput within 15 %, the share of 429 within 3 points.

    .venv/bin/python -m benchmarks.simulation [--seconds 10] [--loads 0.5,0.9,2]

A real coordinator, a real preprocessor and minions whose model sleeps, all on the cores of this machine, and so they are in
the simulation (`one_machine`). What the simulator is fed is measured before, on the same processes (`benchmarks.calibration`).
Two clusters: one model that takes 20 ms per batch of 8; and one call to two models that take 40 ms, the second with two
replicas, where both have to answer.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import uvloop
import yaml

from benchmarks.calibration import calibrated
from benchmarks.live_calls import SLO_MS, LiveCalls, Measured, Setup
from benchmarks.measuring import machine, verdict
from benchmarks.process_work import Processes, children, used
from loadtest.arrivals import poisson
from loadtest.figures import Figures
from loadtest.simulator.cluster import simulate
from loadtest.simulator.result import Result
from loadtest.simulator.scenario import read_scenario
from tests.cluster.small_cluster import small_cluster

SETUPS: Final = (
    Setup("one model", (("alone", 1),), 0.020),
    Setup("two models", (("first", 1), ("second", 2)), 0.040),
)


def simulated(
    folder: Path, calibration: dict[str, Any], moments: Sequence[float], seconds: float, sent_before: int
) -> Result:
    """The same calls in virtual time, after so many others to the same decoder."""
    one_machine = {**calibration["one_machine"], "decoder_served": sent_before}
    (folder / "calls.txt").write_text("".join(f"{at!r}\n" for at in moments))
    timing = {"seconds": seconds, "warm_up_s": 1.0, "traffic": {"file": "calls.txt"}}
    scenario = {**calibration, **timing, "one_machine": one_machine}
    path = folder / "scenario.yaml"
    path.write_text(yaml.safe_dump(scenario))
    return simulate(read_scenario(path))


def compare(name: str, real: Measured, counted_s: float, told: Result) -> bool:
    """Both sides, and the verdicts."""
    there: Figures = real.outcomes.figures(counted_s)
    here = told.figures
    rows = [
        ("p50 ms", (there.percentiles_s[50.0] or 0) * 1000, (here.percentiles_s[50.0] or 0) * 1000),
        ("p99 ms", (there.percentiles_s[99.0] or 0) * 1000, (here.percentiles_s[99.0] or 0) * 1000),
        ("goodput /s", there.goodput_per_s, here.goodput_per_s),
    ]
    met = True
    for what, measured, figure in rows:
        print(f"      {name:18} {what:12} live {measured:8.1f}   simulated {figure:8.1f}")
        off = 100 * abs(figure - measured) / measured if measured else 100.0
        met &= verdict(f"{name} {what}: off by", 15.0, off, " %")
    refused = (there.share("refused") or 0.0) * 100, (here.share("refused") or 0.0) * 100
    print(f"      {name:18} {'429 %':12} live {refused[0]:8.2f}   simulated {refused[1]:8.2f}")
    met &= verdict(f"{name} share of 429: off by", 3.0, abs(refused[0] - refused[1]), " points")
    failed = (there.share("failed", "lost") or 0.0) * 100
    print(f"      {name:18} live: {failed:.2f} % failed, sent {real.late_ms:.1f} ms late (p99)")
    return met


async def one_setup(setup: Setup, loads: Sequence[float], seconds: float, seed: int) -> bool:
    """Calibrate, then every load, live and simulated."""
    print(f"== {setup.name}: {setup.capacity:g} calls/s")
    met = True
    with tempfile.TemporaryDirectory() as folder:
        async with small_cluster(Path(folder)) as cluster:
            routes: dict[str, dict[str, list[str]]] = {}
            hosts: list[int] = []
            for name, replicas in setup.models:
                started = [await cluster.minion(name, sleep_s=setup.sleep_s) for _ in range(replicas)]
                hosts += [each.process.pid for each in started]
                routes[name] = {"1.0": [each.address for each in started]}
            cluster.route(routes)
            for name, replicas in setup.models:
                await cluster.until_routed(name, "1.0", replicas)
            start_ms = used(children(cluster.preprocessor.process.pid)).cpu_s * 1000
            # those that were just connected start slowly
            await asyncio.sleep(10.5)
            processes = Processes(
                cluster.coordinator.process.pid, cluster.preprocessor.process.pid, tuple(hosts)
            )
            calls = LiveCalls(cluster, setup)
            calibration = await calibrated(calls, processes, start_ms)
            print("      fed: " + json.dumps({**calibration["network"], **calibration["one_machine"]}))
            print(
                f"      fed: decode {calibration['photos'][0]['decode_ms']} ms, "
                + ", ".join(
                    f"{name} {model['curve']} ±{model['scatter']:.1%}"
                    for name, model in calibration["models"].items()
                )
            )
            for load in loads:
                moments = list(poisson(load * setup.capacity, seconds + 1.0, seed))
                real = await calls.least_disturbed(moments)
                told = simulated(Path(folder), calibration, moments, seconds + 1.0, real.sent_before)
                met &= compare(f"{load:g}x", real, seconds, told)
    return met


def main() -> bool:
    """Parse, measure, print goal, figure, verdict."""
    parser = argparse.ArgumentParser(description="Simulated beside measured.")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--loads", default="0.5,0.9,2")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--setups", default="one model,two models")
    args = parser.parse_args()
    loads = [float(load) for load in args.loads.split(",")]
    print(f"simulated and live, SLO {SLO_MS:g} ms, {args.seconds:g} s per load; {machine()}")
    met = True
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        for setup in SETUPS:
            if setup.name in args.setups:
                met &= runner.run(one_setup(setup, loads, args.seconds, args.seed))
    return met


if __name__ == "__main__":
    raise SystemExit(not main())
