"""Ahead: sleeps through its batches, with a second one in flight."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

Batch = np.ndarray[Any, np.dtype[np.uint8]]
Params = list[dict[str, Any]]


class Ahead:
    """The first byte of each item, 20 ms later; a batch with 255 raises."""

    def load(self, ctx: Any) -> None:
        pass

    def predict(self, batch: Batch, params: Params) -> list[int]:
        time.sleep(0.020)
        if (batch[:, 0] == 255).any():
            raise RuntimeError("told to raise")
        result: list[int] = batch[:, 0].tolist()
        return result
