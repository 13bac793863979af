"""Makes the binary parts of what `crema new` writes: weights and examples. Run it after changing the scaffolds' model.

uv run --no-project --with numpy --with onnx --with pillow --with safetensors python scripts/draw_scaffolds.py
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper
from PIL import Image
from safetensors.numpy import save_file

SCAFFOLDS = Path(__file__).resolve().parent.parent / "check" / "scaffolds"
NAMES = ("warm", "cold", "bright", "dark", "green")
# red, green, blue of the mean colour (0 to 1) → one logit per name
WEIGHT = np.array([[9, -9, 5, -5, -8], [0, 0, 5, -5, 12], [-9, 9, 5, -5, -8]], np.float32)
BIAS = np.array([-1.5, -1.5, -7.5, 3.5, -0.8], np.float32)


def draw(top: tuple[int, int, int], bottom: tuple[int, int, int]) -> np.ndarray:
    """A sky over a ground, 64 by 64: the size of the model's input, so that no resize changes them."""
    share = np.linspace(0, 1, 64)[:, None, None] ** 2
    picture = np.array(top) * (1 - share) + np.array(bottom) * share
    return np.broadcast_to(picture, (64, 64, 3)).round().astype(np.uint8)


def graph() -> onnx.ModelProto:
    """Mean colour, a linear layer, a sigmoid."""
    nodes = [
        helper.make_node("Cast", ["pixels"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["floats"], ["means"], axes=[1, 2], keepdims=0),
        helper.make_node("Div", ["means", "white"], ["colours"]),
        helper.make_node("Gemm", ["colours", "weight", "bias"], ["logits"]),
        helper.make_node("Sigmoid", ["logits"], ["confidences"]),
    ]
    constants = {"white": np.float32(255).reshape(1), "weight": WEIGHT, "bias": BIAS}
    made = helper.make_graph(
        nodes,
        "colours",
        [helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["n", 64, 64, 3])],
        [helper.make_tensor_value_info("confidences", TensorProto.FLOAT, ["n", len(NAMES)])],
        [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 13)], producer_name="")
    model.ir_version = 8
    onnx.checker.check_model(model)
    return model


def main() -> None:
    """Write everything."""
    for kind in ("numpy", "torch", "onnx"):
        (SCAFFOLDS / kind / "weights").mkdir(exist_ok=True)
    for kind in ("numpy", "torch"):
        save_file({"weight": WEIGHT, "bias": BIAS}, SCAFFOLDS / kind / "weights" / "model.safetensors")
    onnx.save(graph(), SCAFFOLDS / "onnx" / "weights" / "model.onnx")
    pictures = {
        "sunset": draw((250, 190, 90), (200, 70, 20)),
        "forest": draw((110, 190, 120), (20, 90, 30)),
        "night": draw((10, 15, 60), (5, 5, 15)),
    }
    for name, pixels in pictures.items():
        Image.fromarray(pixels).save(SCAFFOLDS / "shared" / "examples" / f"{name}.png", optimize=True)
        confidences = 1 / (1 + np.exp(-(pixels.mean((0, 1)) / 255 @ WEIGHT + BIAS)))
        ranked = sorted(zip(NAMES, confidences.tolist(), strict=True), key=lambda pair: -pair[1])
        kept = [{"name": tag, "confidence": round(value, 6)} for tag, value in ranked if value >= 0.5]
        text = json.dumps({"tags": kept}, indent=2) + "\n"
        (SCAFFOLDS / "shared" / "examples" / f"{name}.json").write_text(text)


if __name__ == "__main__":
    main()
