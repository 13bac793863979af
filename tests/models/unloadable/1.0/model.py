"""Unloadable: raises in load, with something on standard output before it."""

from __future__ import annotations

from typing import Any

import numpy as np

Batch = np.ndarray[Any, np.dtype[np.uint8]]
Params = list[dict[str, Any]]


class Unloadable:
    """Looks for weights that are not there."""

    def load(self, ctx: Any) -> None:
        print("looking for weights")
        ctx.path("weights/nowhere.safetensors")

    def predict(self, batch: Batch, params: Params) -> list[int]:
        raise AssertionError("never loaded")
