"""Parrot: answers with the params it was given, through postprocess."""

from __future__ import annotations

from typing import Any

import numpy as np

Batch = np.ndarray[Any, np.dtype[np.uint8]]
Params = list[dict[str, Any]]


class Parrot:
    """`predict` counts the batch, `postprocess` makes the answer of each item; 255 makes it raise, 254 reject."""

    def load(self, ctx: Any) -> None:
        self.device = ctx.device

    def predict(self, batch: Batch, params: Params) -> Batch:
        return batch[:, :1]

    def postprocess(self, output: Any, params: dict[str, Any]) -> Any:
        if output[0] == 255:
            raise KeyError("no such thing")
        if output[0] == 254:
            return ValueError("not this one")
        return {"params": params, "device": self.device}
