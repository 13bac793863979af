"""ClusterCpu: what the processes of a cluster have used of CPU time, from the kernel or from their metrics.

On this machine it asks the kernel about every process that the supervisor shows, workers and decoders included. Of a cluster
elsewhere it reads `process_cpu_seconds_total` on the listeners that it is told of.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
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
        return _by_tier(self._last)


def _by_tier(used_s: Mapping[tuple[str, Any], float]) -> CpuSample | None:
    """What all processes of each tier have used until now; None where none is known."""
    seconds: dict[str, float] = {}
    for (tier, _), used in used_s.items():
        seconds[tier] = seconds.get(tier, 0.0) + used
    return CpuSample(monotonic(), seconds) if seconds else None


class MetricsCpu(ClusterCpu):
    """The tiers by their metrics: those whose operations listeners are named, and those that a coordinator's tells of (`/sd`).

    `key` opens the named ones where they ask for one; it is shown to no other.
    """

    def __init__(self, urls: Sequence[str], key: str | None = None) -> None:
        self._urls = [url.rstrip("/") for url in urls]
        self._key = key
        self._last: dict[tuple[str, str], float] = {}
        self.source = f"{METRIC} of {', '.join(self._urls)} and of the tiers that they tell of"

    def sample(self) -> CpuSample | None:
        """A replica that has gone since the first look still counts with what it had used at the last one; a listener that has
        never answered is left out, and `missing` names it."""
        failed = []
        for tier, url in self._targets():
            text = self._ask(f"{url}/metrics", url in self._urls)
            values = _LINE.findall(text or "")
            if values:
                self._last[tier, url] = max(sum(map(float, values)), self._last.get((tier, url), 0.0))
            elif (tier, url) not in self._last:
                failed.append(url)
        if failed:
            self.missing = f"{', '.join(failed)} did not answer with {METRIC}; name operations listeners that this machine reaches"
        return _by_tier(self._last)

    def _targets(self) -> list[tuple[str, str]]:
        """(tier or model, where it answers), each address once."""
        found: dict[str, str] = {}
        for url in self._urls:
            for tier, told in _told(self._ask(f"{url}/sd", True)):
                found.setdefault(told, tier)
            found.setdefault(url, url)
        return [(tier, url) for url, tier in found.items()]

    def _ask(self, url: str, shows_key: bool) -> str | None:
        try:
            request = urllib.request.Request(url)
            if self._key is not None and shows_key:
                request.add_header("Authorization", f"Bearer {self._key}")
            with urllib.request.urlopen(request, timeout=_PATIENCE_S) as response:
                answered: bytes = response.read(_MAX_BYTES)
        except (OSError, ValueError, http.client.HTTPException):
            return None
        return answered.decode("utf-8", "replace")


def _told(text: str | None) -> list[tuple[str, str]]:
    """(tier or model, URL) of every target of a service discovery; nothing of what is none."""
    try:
        groups = json.loads(text or "")
        return [
            (str(group["labels"].get("model") or group["labels"]["tier"]), f"http://{target}")
            for group in groups
            for target in group["targets"]
        ]
    except (ValueError, TypeError, KeyError, AttributeError):
        return []


def cpu_seconds(pid: int) -> float | None:
    """User and system time of all threads of a process so far, as the kernel counts it (in hundredths); None: it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
