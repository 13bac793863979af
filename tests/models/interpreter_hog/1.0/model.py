"""InterpreterHog: a batch is one long call that never lets another thread of its process run."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

Batch = np.ndarray[Any, np.dtype[np.uint8]]
Params = list[dict[str, Any]]


class InterpreterHog:
    """500 ms of pure arithmetic per batch."""

    def load(self, ctx: Any) -> None:
        pass

    def predict(self, batch: Batch, params: Params) -> list[int]:
        until = time.monotonic() + 0.5
        while time.monotonic() < until:
            sum(range(100_000))
        result: list[int] = batch[:, 0].tolist()
        return result
