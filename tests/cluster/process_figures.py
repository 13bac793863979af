"""What the kernel says of a process: memory, CPU time, open descriptors."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Iterable
from pathlib import Path


def rss_mb(pid: int) -> float:
    """Resident memory now."""
    return _kilobytes(pid, "VmRSS") / 1024


def peak_rss_mb(pid: int) -> float:
    """The most resident memory so far."""
    return _kilobytes(pid, "VmHWM") / 1024


def cpu_s(pid: int) -> float:
    """CPU time so far, of all threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def descriptors(pid: int) -> int:
    """How many are open."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def children(pid: int) -> list[int]:
    """The processes that it has started."""
    return [
        int(child)
        for task in Path(f"/proc/{pid}/task").iterdir()
        for child in (task / "children").read_text().split()
    ]


class PeakMemory:
    """`with PeakMemory(pids) as peak:` looks ten times a second; `peak.mb` is the most that one of them held.

    `pids` is asked anew each time, because processes are replaced.
    """

    def __init__(self, pids: Callable[[], Iterable[int]]) -> None:
        self.mb = 0.0
        self._pids = pids
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(0.1):
            for pid in self._pids():
                try:
                    self.mb = max(self.mb, peak_rss_mb(pid))
                except OSError:
                    continue


def _kilobytes(pid: int, name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    if found is None:
        raise OSError(f"process {pid} has no {name}: it ends")
    return int(found[1])
