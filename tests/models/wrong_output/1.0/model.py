"""WrongOutput: the first byte of an item chooses what is wrong with its score."""

from __future__ import annotations

from typing import Any

import numpy as np

Batch = np.ndarray[Any, np.dtype[np.uint8]]
Params = list[dict[str, Any]]

WRONG: dict[int, Any] = {
    255: {"score": float("nan")},
    254: {"score": float("inf")},
    253: {"score": np.float32(0.5)},
    252: {"score": 1.5},
    251: {"score": "0.5"},
    250: {"points": 0.5},
    249: 0.5,
    248: {"score": np.float64(0.5)},
    247: {"score": 0.5, "more": 1},
    246: {"score": True},
}


class WrongOutput:
    """The first byte in thousandths as a score, unless it is one of WRONG."""

    def load(self, ctx: Any) -> None:
        pass

    def predict(self, batch: Batch, params: Params) -> list[Any]:
        return [WRONG.get(byte, {"score": byte / 1000}) for byte in batch[:, 0].tolist()]
