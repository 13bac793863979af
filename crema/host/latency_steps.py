"""Latency steps: times counted in steps that grow by a tenth, so that a 99th percentile of any size is known to a tenth.

What counts (a coordinator) and what judges (a release's canary) share these steps and nothing else.
"""

from __future__ import annotations

import math
from typing import Final

GROWTH: Final = 1.1
LEAST_MS: Final = 0.1

_PER_STEP: Final = 1 / math.log(GROWTH)


def step_of(ms: float) -> int:
    """The step that a time falls into: the first whose upper end is not below it."""
    return max(0, math.ceil(math.log(ms / LEAST_MS) * _PER_STEP)) if ms > LEAST_MS else 0


def upper_ms(step: int) -> float:
    """The upper end of a step, in milliseconds."""
    return LEAST_MS * GROWTH**step
