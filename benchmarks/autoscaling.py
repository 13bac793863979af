"""Load steps from 0.5x to 3x of one sleeping minion's capacity and back, on a real cluster that scales itself.

    .venv/bin/python -m benchmarks.autoscaling [--step-s 30] [--svg docs/img/autoscaling.svg]

A toy that sleeps 400 ms per batch of at most 8 (20 photos/s), `replicas: {min: 1, max: 4}`, a control period of 3 s and a
cooldown of 12 s. Open loop, Poisson. Of each step the last third tells whether 429s have ended.
"""

from __future__ import annotations

import argparse
import asyncio
from collections import Counter
from pathlib import Path

from benchmarks.measuring import machine, verdict
from benchmarks.sleepy_cluster import sleepy_cluster
from benchmarks.step_plot import Line, Panel, plot
from tests.cluster.running import RunningCluster
from tests.cluster.stepped_load import SteppedLoad, stepped_load

CAPACITY_PER_S = 20.0
STEPS = (0.5, 1.5, 3.0, 1.5, 0.5)
CLUSTER = """\
default_models: [sleepy]
models: {sleepy: {versions: {"1.0": {replicas: {min: 1, max: 4}}}}}
autoscaling: {period_s: 3, cooldown_s: 12}
"""


async def measure(cluster: RunningCluster, photo: bytes, step_s: float) -> SteppedLoad:
    """All steps, one after the other."""
    async with stepped_load(cluster.url, photo, cluster.status, "sleepy") as load:
        for times in STEPS:
            load.turn(times * CAPACITY_PER_S)
            await asyncio.sleep(step_s)
    return load


def drawn(load: SteppedLoad, step_s: float) -> str:
    """The plot."""
    seconds = step_s * len(STEPS)
    served: Counter[int] = Counter(int(call.at) for call in load.calls if call.status == 200)
    refused: Counter[int] = Counter(int(call.at) for call in load.calls if call.status == 429)
    span = range(int(seconds) + 1)
    seen = [each for each in load.seen if each.at <= seconds]
    return plot(
        "Replicas follow the load: one sleeping minion takes 20 photos/s",
        seconds,
        [(step_s * index, f"{times:g}x") for index, times in enumerate(STEPS)],
        [
            Panel(
                "calls per second",
                90,
                (0, 20, 40, 60, 80),
                [
                    Line("offered", "#b9c6d8", [(t, served[t] + refused[t]) for t in span], is_area=True),
                    Line("answered", "#2b6cb0", [(t, served[t]) for t in span]),
                    Line("refused (429)", "#c53030", [(t, refused[t]) for t in span]),
                ],
            ),
            Panel(
                "replicas",
                5,
                (0, 1, 2, 3, 4),
                [
                    Line("ready", "#9ae6b4", [(each.at, each.ready) for each in seen], is_area=True),
                    Line("running", "#718096", [(each.at, each.running) for each in seen]),
                    Line("wanted", "#276749", [(each.at, each.wanted) for each in seen]),
                ],
            ),
        ],
    )


def main() -> int:
    """→ exit status."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--step-s", type=float, default=30.0)
    parser.add_argument("--svg", type=Path)
    args = parser.parse_args()
    print(machine())
    with sleepy_cluster(0.4, CLUSTER) as (cluster, photo):
        load = asyncio.run(measure(cluster, photo, args.step_s))
    held = []
    for index, times in enumerate(STEPS):
        begun, ended = index * args.step_s, (index + 1) * args.step_s
        statuses = load.statuses(begun, ended)
        late = load.statuses(ended - args.step_s / 3, ended)
        ready = [each.ready for each in load.seen if begun <= each.at < ended]
        print(
            f"{times:g}x: {dict(statuses)}, ready replicas {min(ready)} to {max(ready)}, at the end {ready[-1]}"
        )
        held += [
            verdict(f"{times:g}x: share of 429 in the last third", 0.01, late[429] / late.total()),
            verdict(f"{times:g}x: changes of direction", 1, load.turns(begun, ended)),
        ]
    lost = sum(count for status, count in load.statuses().items() if status not in (200, 429))
    missing = load.sent - len({call.request_id for call in load.calls if call.answered_id == call.request_id})
    drained = max(each.running for each in load.seen) - load.seen[-1].running
    held += [
        verdict("most replicas", 4, max(each.running for each in load.seen)),
        verdict("replicas drained by the end", 1, drained, at_least=True),
        verdict("calls that were neither answered nor refused", 0, lost + missing),
    ]
    if args.svg is not None:
        args.svg.parent.mkdir(parents=True, exist_ok=True)
        args.svg.write_text(drawn(load, args.step_s))
    return 0 if all(held) else 1


if __name__ == "__main__":
    raise SystemExit(main())
