"""Brisk: 4 ms and 1 ms per item, like a small network on a quick device; a first byte of 255 raises."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

Batch = np.ndarray[Any, np.dtype[np.uint8]]
Params = list[dict[str, Any]]


class Brisk:
    """The number in bytes 8 to 15 of each item (little-endian) where there is one, else its first byte."""

    def load(self, ctx: Any) -> None:
        pass

    def predict(self, batch: Batch, params: Params) -> list[int]:
        time.sleep(0.004 + 0.001 * len(batch))
        first: list[int] = batch[:, 0].tolist()
        if 255 in first:
            raise ValueError("told to raise")
        numbers: list[int] = batch[:, 8:16].copy().view("<u8")[:, 0].tolist()
        return [number or byte for byte, number in zip(first, numbers, strict=True)]
