"""Sleepy: 20 ms per batch, whatever its size: 400 items a second."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

Batch = np.ndarray[Any, np.dtype[np.uint8]]
Params = list[dict[str, Any]]


class Sleepy:
    """The number in bytes 8 to 15 of each item (little-endian) where there is one, else its first byte, 20 ms later.

    A first byte of 255 takes a second.
    """

    def load(self, ctx: Any) -> None:
        pass

    def predict(self, batch: Batch, params: Params) -> list[int]:
        time.sleep(1.0 if (batch[:, 0] == 255).any() else 0.020)
        numbers: list[int] = batch[:, 8:16].copy().view("<u8")[:, 0].tolist()
        return [number or byte for number, byte in zip(numbers, batch[:, 0].tolist(), strict=True)]
