"""Calibration: what the simulator is fed of a small cluster, measured on its processes under two loads that are not judged.

At 0.4 times the capacity: t(n), a decode, the hops. At 1.5 times besides: how much less of the CPU a message needs when it
finds its process awake.
"""

from __future__ import annotations

import os
import statistics
from dataclasses import dataclass
from typing import Any, Final

from benchmarks.live_calls import DEADLINE_MS, SIZE, SLO_MS, LiveCalls, Measured, photo
from benchmarks.process_work import Processes, Used, told, work
from loadtest.arrivals import poisson

CALM_LOAD: Final = 0.4
CALM_S: Final = 12.0
CROWD_LOAD: Final = 1.5
CROWD_S: Final = 4.0


@dataclass(frozen=True)
class Load:
    """What processes used under a load of so many calls."""

    calls: int
    measured: Measured
    used: dict[str, Used]

    def messages(self, models: int) -> dict[str, float]:
        """By process: a request and an answer each, with all that a coordinator is told meanwhile."""
        answered = self.measured.outcomes.counts["ok"]
        batches = sum(len(ms) / n for sizes in self.measured.batch_ms.values() for n, ms in sizes.items())
        return {
            "caller": 2 * self.calls,
            "coordinator": (2 + models) * self.calls,
            "preprocessor": 2 * self.calls,
            "decoder": self.calls,
            # what is refused has no outcome to tell of
            "host": models * (self.calls + answered),
            "worker": 2 * batches,
        }


async def loaded(calls: LiveCalls, processes: Processes, times: float, seconds: float) -> Load:
    """`times` of what the narrowest model can do."""
    moments = list(poisson(times * calls.setup.capacity, seconds, seed=1000))
    before = processes.used()
    measured = await calls.send(moments, is_read=True)
    after = processes.used()
    return Load(len(moments), measured, {name: after[name] - before[name] for name in after})


async def calibrated(calls: LiveCalls, processes: Processes, start_ms: float) -> dict[str, Any]:
    """The scenario without its traffic: all that the simulator is fed. `start_ms`: CPU of the start of a decoder."""
    setup = calls.setup
    calm = await loaded(calls, processes, CALM_LOAD, CALM_S)
    crowd = await loaded(calls, processes, CROWD_LOAD, CROWD_S)
    models = len(setup.models)
    few, many = calm.messages(models), crowd.messages(models)
    cpu = {name: work(calm.used[name], few[name], crowd.used[name], many[name]) for name in few}
    # it wakes up for every photo, whatever the load
    decode_ms = calm.used["decoder"].cpu_s / calm.calls * 1000
    cpu["decoder"] = (0.0, 0.0)
    once_ms = {name: (message_s + wake_s) * 1000 for name, (message_s, wake_s) in cpu.items()}
    # the parts of a hop that are somebody's work; what is left is the network's
    preprocessor_ms = 2 * once_ms["preprocessor"] + decode_ms + once_ms["coordinator"]
    minion_ms = 2 * once_ms["host"] + once_ms["coordinator"]
    caller_ms = 2 * once_ms["caller"] + once_ms["coordinator"]
    measured, median = calm.measured, statistics.median
    return {
        "simulate": 1,
        "slo_ms": SLO_MS,
        "call": {"deadline_ms": DEADLINE_MS, "on_error": "fail"},
        "photos": [{"megapixels": 0.003, "kilobytes": len(photo()) / 1024, "decode_ms": round(decode_ms, 3)}],
        "network": {
            "client_ms": round(max(0.0, median(measured.outside_ms) - caller_ms), 3),
            "preprocessor_ms": round(max(0.0, median(measured.preprocess_ms) - preprocessor_ms) / 2, 3),
            "minion_ms": round(max(0.0, median(measured.hop_ms) - minion_ms) / 2, 3),
        },
        "one_machine": {
            "cores": len(os.sched_getaffinity(0)),
            **told(cpu),
            "decoder_start_ms": round(start_ms, 1),
        },
        "preprocessor": {"replicas": 1, "cores": 1},
        "models": {
            name: {
                "replicas": replicas,
                "max_size": SIZE,
                "slo_ms": 2000,
                "scatter": round(scatter(measured.batch_ms[name]), 4),
                "curve": [
                    [n, round(median(ms) - once_ms["worker"], 3)]
                    for n, ms in sorted(measured.batch_ms[name].items())
                    if len(ms) >= 5
                ],
            }
            for name, replicas in setup.models
        },
    }


def scatter(batch_ms: dict[int, list[float]]) -> float:
    """The standard deviation of batches around the median of their size, as a share: that of a bell as wide in its middle,
    so that a few batches that were disturbed do not make all of them scatter."""
    off = [ms / statistics.median(all_ms) - 1 for all_ms in batch_ms.values() for ms in all_ms]
    shares = statistics.quantiles(off, n=100)
    return min(0.2, (shares[83] - shares[15]) / 2)
