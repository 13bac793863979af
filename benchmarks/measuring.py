"""What the benchmarks share: CPU time and page faults of a process, medians, and one way to print a verdict.

Figures are ratios within one run wherever a goal allows it; the machine stands beside them.
"""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path

from crema.compiled import is_compiled


def cpu_seconds(pid: int) -> float:
    """On-CPU time of all threads of a process so far, in seconds, to the nanosecond (schedstat)."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


def minor_faults(pid: int) -> int:
    """Minor page faults of a process so far."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[7])


def machine() -> str:
    """One line that says what this was measured on."""
    model = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    kind = "compiled" if is_compiled() else "interpreted"
    return f"{len(os.sched_getaffinity(0))} cores of {model}, Linux {platform.release()}, Python {platform.python_version()}, {kind}"


def interleaved(sides: Sequence[Callable[[], float]], rounds: int) -> list[list[float]]:
    """Run every side once per round, in turn, so that drift of the machine meets all of them. → figures per side."""
    figures: list[list[float]] = [[] for _ in sides]
    for _ in range(rounds):
        for side, kept in zip(sides, figures, strict=True):
            kept.append(side())
    return figures


def spread(figures: Sequence[float]) -> str:
    """`median (min–max)`."""
    return f"{statistics.median(figures):.3g} ({min(figures):.3g}–{max(figures):.3g})"


def verdict(goal: str, limit: float, figure: float, unit: str = "", *, at_least: bool = False) -> bool:
    """Print goal, figure and verdict on one line; return whether the goal is met."""
    met = figure >= limit if at_least else figure <= limit
    sign = "≥" if at_least else "≤"
    print(f"{'met ' if met else 'MISS'}  {goal}: {figure:.3g}{unit} (goal {sign} {limit:g}{unit})")
    return met
