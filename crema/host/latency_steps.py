"""Latency steps: times counted in steps that grow by a tenth, so that a 99th percentile of any size is known to a tenth.

What counts (a coordinator) and what judges (a release's canary) share these steps and nothing else.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Final

GROWTH: Final = 1.1
LEAST_MS: Final = 0.1
# The last one ends after five hours.
MOST_STEPS: Final = 200

_UPPER_MS: Final = [LEAST_MS * GROWTH**step for step in range(MOST_STEPS)]


def step_of(ms: float) -> int:
    """The step that a time falls into: the first whose upper end is not below it."""
    return bisect_left(_UPPER_MS, ms)


def upper_ms(step: int) -> float:
    """The upper end of a step, in milliseconds."""
    return LEAST_MS * GROWTH**step
