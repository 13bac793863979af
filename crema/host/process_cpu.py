"""ProcessCpu: the CPU time of a tier's processes and of all that they have started, as a metric every scraper knows.

A minion's host tells its worker's time with its own, a preprocessor its decoders': what a tier costs is one figure.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

_OWN, _CHILDREN = slice(11, 13), slice(13, 15)


class ProcessCpu(Collector):
    """`process_cpu_seconds_total` of the processes that `pids` names at each scrape."""

    def __init__(self, pids: Callable[[], Iterable[int]] = lambda: (os.getpid(),)) -> None:
        self._pids = pids

    def collect(self) -> Iterator[CounterMetricFamily]:
        """One figure, to a hundredth of a second."""
        yield CounterMetricFamily(
            "process_cpu_seconds",
            "CPU seconds of this tier's process and of those that it has started",
            value=sum(map(tree_cpu_s, self._pids())),
        )


def tree_cpu_s(pid: int) -> float:
    """Of a process, its descendants, and those of them that have ended and were waited for. 0 when it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        children = [
            int(child)
            for task in Path(f"/proc/{pid}/task").iterdir()
            for child in (task / "children").read_text().split()
        ]
    except OSError:
        return 0.0
    ticks = sum(map(int, (*fields[_OWN], *fields[_CHILDREN])))
    return ticks / os.sysconf("SC_CLK_TCK") + sum(map(tree_cpu_s, children))
