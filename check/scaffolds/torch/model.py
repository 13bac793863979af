"""Words for the colours of a photo, with torch: a linear layer over the mean colour, one confidence per word.

A plain class: it works in a notebook and under plain pytest.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

NAMES = ("warm", "cold", "bright", "dark", "green")


class Model:
    """The entry point."""

    def load(self, ctx: Any) -> None:
        """Once per process. `ctx.path(...)` is a file of the package, `ctx.device` "cpu" or "cuda:0", `ctx.log` a logger."""
        self.device = torch.device(ctx.device)
        if self.device.type == "cpu":
            torch.set_num_threads(1)  # a replica on a CPU is one core; more replicas use more
        weights = load_file(str(ctx.path("weights/model.safetensors")), device=str(self.device))
        self.weight, self.bias = weights["weight"], weights["bias"]

    def predict(self, batch: np.ndarray, params: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """uint8 [n, 64, 64, 3] and n parameter sets → n outputs, in order."""
        with torch.inference_mode():
            pixels = torch.from_numpy(batch if batch.flags.writeable else batch.copy()).to(self.device)
            colours = pixels.float().mean((1, 2)) / 255
            rows = torch.sigmoid(colours @ self.weight + self.bias).cpu()
        return [self._answer(row, wanted) for row, wanted in zip(rows.tolist(), params, strict=True)]

    def _answer(self, confidences: list[float], wanted: dict[str, Any]) -> dict[str, Any]:
        ranked = sorted(zip(NAMES, confidences, strict=True), key=lambda pair: -pair[1])
        lowest = wanted["min_confidence"]
        return {"tags": [{"name": name, "confidence": value} for name, value in ranked if value >= lowest]}
