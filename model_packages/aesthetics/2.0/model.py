"""How good a photo looks, as one number: an ONNX graph that looks for five faults of the camera and the composition.

A plain class: it needs numpy and ONNX Runtime (no torch), and nothing of the server it runs in.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime as ort


class Aesthetics:
    """The entry point."""

    def load(self, ctx: Any) -> None:
        """Read the graph; scaling and normalising are its first operations. Raises when the file is missing or broken."""
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = (
            1  # a replica is one core; more replicas use more
        )
        wanted = ["CPUExecutionProvider"]
        if str(ctx.device).startswith("cuda") and "CUDAExecutionProvider" in ort.get_available_providers():
            wanted.insert(0, "CUDAExecutionProvider")
        self.session = ort.InferenceSession(
            str(ctx.path("weights/aesthetics.onnx")), options, providers=wanted
        )

    def predict(self, batch: np.ndarray, params: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """uint8 [n, 224, 224, 3] → n times {"score": x}, 0 (bad) to 1 (good). There are no parameters."""
        scores = self.session.run(["score"], {"pixels": np.ascontiguousarray(batch)})[0]
        return [{"score": min(1.0, max(0.0, float(score)))} for score in scores]
