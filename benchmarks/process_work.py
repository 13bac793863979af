"""What processes need of the CPU: for each message they work off, and more when they have to wake up for it.

Both are told apart by two loads: calm, where almost every message wakes somebody up, and bursts, where one wake-up serves many.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Used:
    """CPU seconds of some processes, and how often they were given a core."""

    cpu_s: float = 0.0
    times: int = 0

    def __sub__(self, before: Used) -> Used:
        return Used(self.cpu_s - before.cpu_s, self.times - before.times)


def used(pids: Iterable[int]) -> Used:
    """By all threads of processes so far (schedstat); those that have ended are left out."""
    nanoseconds, times = 0, 0
    for pid in pids:
        for path in Path(f"/proc/{pid}/task").glob("*/schedstat"):
            ran, _, turns = path.read_text().split()
            nanoseconds, times = nanoseconds + int(ran), times + int(turns)
    return Used(nanoseconds / 1e9, times)


def children(pid: int) -> list[int]:
    """Of all threads of a process."""
    return [
        int(each)
        for path in Path(f"/proc/{pid}/task").glob("*/children")
        for each in path.read_text().split()
    ]


@dataclass(frozen=True)
class Processes:
    """The processes of a small cluster, and this one, which calls it, by what they are."""

    coordinator: int
    preprocessor: int
    hosts: tuple[int, ...]

    def used(self) -> dict[str, Used]:
        """By kind of process, so far."""
        return {
            "caller": used([os.getpid()]),
            "coordinator": used([self.coordinator]),
            "preprocessor": used([self.preprocessor]),
            "decoder": used(children(self.preprocessor)),
            "host": used(self.hosts),
            "worker": used(pid for host in self.hosts for pid in children(host)),
        }


def work(calm: Used, calm_messages: float, bursts: Used, bursts_messages: float) -> tuple[float, float]:
    """(CPU seconds of a message, of a wake-up) that make up what was used under both loads; neither is below nothing."""
    most_wake_s = calm.cpu_s / max(calm.times, 1)
    uneven = calm_messages * bursts.times - bursts_messages * calm.times
    wake_s = most_wake_s
    # where bursts wake as often as calm does, nothing tells the two apart
    if abs(uneven) > 0.1 * calm_messages * calm.times:
        wake_s = (calm_messages * bursts.cpu_s - bursts_messages * calm.cpu_s) / uneven
    wake_s = min(max(wake_s, 0.0), most_wake_s)
    return max(0.0, calm.cpu_s - wake_s * calm.times) / calm_messages, wake_s


def told(setting: Mapping[str, tuple[float, float]]) -> dict[str, dict[str, float]]:
    """As a scenario says it, in milliseconds."""
    return {
        name: {"message_ms": round(message_s * 1000, 4), "wake_ms": round(wake_s * 1000, 4)}
        for name, (message_s, wake_s) in setting.items()
    }
