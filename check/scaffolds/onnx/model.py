"""Words for the colours of a photo, with ONNX Runtime: a linear layer over the mean colour, one confidence per word.

A plain class: it works in a notebook and under plain pytest.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime as ort

NAMES = ("warm", "cold", "bright", "dark", "green")


class Model:
    """The entry point."""

    def load(self, ctx: Any) -> None:
        """Once per process. `ctx.path(...)` is a file of the package, `ctx.device` "cpu" or "cuda:0", `ctx.log` a logger."""
        options = ort.SessionOptions()
        # a replica on a CPU is one core; more replicas use more
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        wanted = ["CPUExecutionProvider"]
        if str(ctx.device).startswith("cuda") and "CUDAExecutionProvider" in ort.get_available_providers():
            wanted.insert(0, "CUDAExecutionProvider")
        self.session = ort.InferenceSession(str(ctx.path("weights/model.onnx")), options, providers=wanted)

    def predict(self, batch: np.ndarray, params: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """uint8 [n, 64, 64, 3] and n parameter sets → n outputs, in order."""
        (rows,) = self.session.run(["confidences"], {"pixels": np.ascontiguousarray(batch)})
        return [self._answer(row, wanted) for row, wanted in zip(rows.tolist(), params, strict=True)]

    def _answer(self, confidences: list[float], wanted: dict[str, Any]) -> dict[str, Any]:
        ranked = sorted(zip(NAMES, confidences, strict=True), key=lambda pair: -pair[1])
        lowest = wanted["min_confidence"]
        return {"tags": [{"name": name, "confidence": value} for name, value in ranked if value >= lowest]}
