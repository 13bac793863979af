"""Pair: one of two workers; every batch takes a moment and tells which process it ran in."""

from __future__ import annotations

import os
import time
from typing import Any

import numpy as np

Batch = np.ndarray[Any, np.dtype[np.uint8]]
Params = list[dict[str, Any]]


class Pair:
    """The pid of the worker and how many threads it was told to use; 255 ends the process."""

    def load(self, ctx: Any) -> None:
        pass

    def predict(self, batch: Batch, params: Params) -> list[dict[str, int]]:
        if 255 in batch[:, 0]:
            os._exit(3)
        time.sleep(0.1)
        threads = int(os.environ.get("OMP_NUM_THREADS", "0"))
        return [{"pid": os.getpid(), "threads": threads} for _ in batch]
