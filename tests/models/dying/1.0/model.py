"""Dying: the first byte of an item chooses how the process ends."""

from __future__ import annotations

import ctypes
import os
import time
from typing import Any

import numpy as np

Batch = np.ndarray[Any, np.dtype[np.uint8]]
Params = list[dict[str, Any]]


class Dying:
    """255 exits with status 3, 254 touches memory that is not there, 253 sleeps a second first."""

    def load(self, ctx: Any) -> None:
        pass

    def predict(self, batch: Batch, params: Params) -> list[int]:
        first: list[int] = batch[:, 0].tolist()
        if 255 in first:
            os._exit(3)
        if 254 in first:
            ctypes.string_at(0)
        if 253 in first:
            time.sleep(1.0)
        return first
