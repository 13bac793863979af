"""ClusterCpu: what the processes of a cluster have used of CPU time, from the kernel or from their metrics.

On this machine it asks the kernel about every process that the supervisor shows, workers and decoders included. Of a cluster
elsewhere it reads `process_cpu_seconds_total` on the operations listeners it is told.
"""

from __future__ import annotations

import http.client
import os
import re
import urllib.error
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any, Final

METRIC: Final = "process_cpu_seconds_total"
_PATIENCE_S: Final = 2.0
_MAX_BYTES: Final = 16 << 20
_LINE = re.compile(rf"^{METRIC}(?:\{{[^}}]*\}})? (\S+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class CpuSample:
    """CPU seconds so far, by tier, at a moment of `time.monotonic()`."""

    at: float
    seconds: dict[str, float]

    def since(self, before: CpuSample) -> dict[str, float]:
        """CPU seconds by tier between the two."""
        return {tier: max(0.0, used - before.seconds.get(tier, 0.0)) for tier, used in self.seconds.items()}


class ClusterCpu(ABC):
    """Where the CPU time of a cluster can be read."""

    source = ""
    """Where the figures come from."""
    missing = ""
    """Why there are none, or what they leave out."""

    @abstractmethod
    def sample(self) -> CpuSample | None:
        """Now; None when it cannot be read. May take up to two seconds for each listener."""


class NoCpu(ClusterCpu):
    """Nothing is known; `missing` says why and how it could be."""

    def __init__(self, missing: str) -> None:
        self.missing = missing

    def sample(self) -> CpuSample | None:
        """None."""
        return None


@dataclass
class LocalCpu(ClusterCpu):
    """All processes of the cluster that runs on this machine. `status` gives the supervisor's document, or raises OSError."""

    status: Callable[[], dict[str, Any]]
    cpu_s: Callable[[int], float | None] = field(default=lambda pid: cpu_seconds(pid))
    source = "the kernel, of every process of the cluster on this machine"

    def __post_init__(self) -> None:
        self._last: dict[tuple[str, int], float] = {}

    def sample(self) -> CpuSample | None:
        """Processes that have ended since the first look still count with what they had used at the last one."""
        try:
            processes = self.status()["processes"]
        except OSError:
            processes = []
        for process in processes:
            if process["pid"] is not None:
                # a minion's host and its worker are one model's cost
                self._last.setdefault((process.get("model") or process["tier"], process["pid"]), 0.0)
        for tier, pid in self._last:
            used = self.cpu_s(pid)
            if used is not None:
                self._last[tier, pid] = max(used, self._last[tier, pid])
        seconds: dict[str, float] = {}
        for (tier, _), used in self._last.items():
            seconds[tier] = seconds.get(tier, 0.0) + used
        return CpuSample(monotonic(), seconds) if seconds else None


class MetricsCpu(ClusterCpu):
    """The tiers at `urls`, by their metrics. `key` opens them where they ask for one."""

    def __init__(self, urls: Sequence[str], key: str | None = None) -> None:
        self._urls = list(urls)
        self._key = key
        self.source = f"{METRIC} of {', '.join(self._urls)}"

    def sample(self) -> CpuSample | None:
        """A listener that does not answer is left out, and `missing` names it."""
        seconds, failed = {}, []
        for url in self._urls:
            found = self._read(url)
            if found is None:
                failed.append(url)
            else:
                seconds[url] = found
        if failed:
            self.missing = (
                f"{', '.join(failed)} did not answer with {METRIC}; name an operations listener of crema"
            )
        return CpuSample(monotonic(), seconds) if seconds else None

    def _read(self, url: str) -> float | None:
        request = urllib.request.Request(f"{url.rstrip('/')}/metrics")
        if self._key is not None:
            request.add_header("Authorization", f"Bearer {self._key}")
        try:
            with urllib.request.urlopen(request, timeout=_PATIENCE_S) as response:
                text = response.read(_MAX_BYTES).decode("utf-8", "replace")
        except (OSError, ValueError, http.client.HTTPException):
            return None
        values = _LINE.findall(text)
        return sum(map(float, values)) if values else None


def cpu_seconds(pid: int) -> float | None:
    """User and system time of all threads of a process so far, as the kernel counts it (in hundredths); None: it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
