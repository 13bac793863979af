"""WrongLength: the first byte of an item chooses what is wrong with the batch."""

from __future__ import annotations

from typing import Any

import numpy as np

Batch = np.ndarray[Any, np.dtype[np.uint8]]
Params = list[dict[str, Any]]


class WrongLength:
    """255 loses an output, 254 returns a generator, 253 an array, 252 nothing."""

    def load(self, ctx: Any) -> None:
        pass

    def predict(self, batch: Batch, params: Params) -> Any:
        first = batch[:, 0].tolist()
        if 255 in first:
            return first[1:]
        if 254 in first:
            return (byte for byte in first)
        if 253 in first:
            return batch[:, 0]
        return None if 252 in first else first
