"""SlowLoading: sleeps in load for longer than load_s allows."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

Batch = np.ndarray[Any, np.dtype[np.uint8]]
Params = list[dict[str, Any]]


class SlowLoading:
    """Would be ready after ten minutes."""

    def load(self, ctx: Any) -> None:
        time.sleep(600)

    def predict(self, batch: Batch, params: Params) -> list[int]:
        raise AssertionError("never loaded")
