"""Failing: the first byte of an item chooses how it fails."""

from __future__ import annotations

from typing import Any

import numpy as np

Batch = np.ndarray[Any, np.dtype[np.uint8]]
Params = list[dict[str, Any]]

RAISE, REJECT, EXIT = 255, 254, 253


class Failing:
    """255 raises for the whole batch, 254 puts an exception into the item's place, 253 calls sys.exit."""

    def load(self, ctx: Any) -> None:
        pass

    def predict(self, batch: Batch, params: Params) -> list[Any]:
        first = batch[:, 0].tolist()
        if RAISE in first:
            raise RuntimeError("told to raise; /a/path/that/callers/must/not/see")
        if EXIT in first:
            raise SystemExit(3)
        return [ValueError("too dark to see anything") if byte == REJECT else byte for byte in first]
