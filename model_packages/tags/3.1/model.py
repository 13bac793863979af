"""Tags for a photo: a small residual network with one confidence per tag.

A plain class: it needs numpy, torch and safetensors, and nothing of the server it runs in.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

WIDTHS = (32, 64, 96, 160)


class Step(nn.Module):
    """Convolution and batch norm; `fold` makes them one convolution for inference."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.conv: nn.Module = nn.Conv2d(
            inputs, outputs, kernel, stride, (kernel - 1) // 2 if kernel % 2 else 2, bias=False
        )
        self.norm: nn.Module = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x))

    def fold(self) -> None:
        self.conv, self.norm = fuse_conv_bn_eval(self.conv, self.norm), nn.Identity()


class Stage(nn.Module):
    """Halve the picture, then refine it once with a shortcut."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.down = Step(inputs, outputs, 3, 2)
        self.first = Step(outputs, outputs, 3, 1)
        self.second = Step(outputs, outputs, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.down(x))
        return functional.relu(x + self.second(functional.relu(self.first(x))))


class Backbone(nn.Module):
    """float [n, 3, 224, 224] in -1..1 → features of 14 x 14 ([n, 96, ...]) and of 7 x 7 ([n, 160, ...])."""

    def __init__(self) -> None:
        super().__init__()
        stem, low, middle, high = WIDTHS
        self.stem = Step(3, stem, 8, 4)
        self.low, self.middle, self.high = Stage(stem, low), Stage(low, middle), Stage(middle, high)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        middle = self.middle(self.low(functional.relu(self.stem(x))))
        return middle, self.high(middle)


class TagNet(nn.Module):
    """One logit per tag from the mean and the peak of both feature maps: peaks find small things."""

    def __init__(self, tags: int) -> None:
        super().__init__()
        self.backbone = Backbone()
        self.drop = nn.Dropout(0.1)
        self.head = nn.Linear(2 * (WIDTHS[2] + WIDTHS[3]), tags)

    def forward(self, x: Tensor) -> Tensor:
        pooled = [
            pool(m) for m in self.backbone(x) for pool in (lambda m: m.mean((2, 3)), lambda m: m.amax((2, 3)))
        ]
        return self.head(self.drop(torch.cat(pooled, 1)))


def to_input(pixels: Tensor) -> Tensor:
    """uint8 [n, h, w, 3] → float [n, 3, h, w] in -1..1, on the device the pixels are on."""
    return pixels.permute(0, 3, 1, 2).float().div_(127.5).sub_(1.0)


class Tagger:
    """The entry point."""

    def load(self, ctx: Any) -> None:
        """Read the weights and the tag names that are stored beside them. Raises OSError when the file is missing."""
        self.device = torch.device(ctx.device)
        if self.device.type == "cpu":
            torch.set_num_threads(1)  # a replica on a CPU is one core; more replicas use more
        with safe_open(str(ctx.path("weights/tags.safetensors")), framework="pt") as file:
            self.names: list[str] = json.loads(file.metadata()["tags"])
            weights = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a dict
        net = TagNet(len(self.names))
        net.load_state_dict(weights)
        net.eval()
        for part in net.modules():
            if isinstance(part, Step):
                part.fold()
        self.net = net.to(self.device, memory_format=torch.channels_last)

    def predict(self, batch: np.ndarray, params: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """uint8 [n, 224, 224, 3] and n parameter sets → n times {"tags": [{"name", "confidence"}]}, surest first."""
        with torch.inference_mode():
            pixels = torch.from_numpy(batch if batch.flags.writeable else batch.copy()).to(self.device)
            rows = torch.sigmoid(self.net(to_input(pixels))).cpu().tolist()
        return [self._answer(row, wanted) for row, wanted in zip(rows, params, strict=True)]

    def _answer(self, confidences: list[float], wanted: dict[str, Any]) -> dict[str, Any]:
        lowest = float(wanted.get("min_confidence", 0.25))
        ranked = sorted(zip(self.names, confidences, strict=True), key=lambda pair: (-pair[1], pair[0]))
        kept = [{"name": name, "confidence": value} for name, value in ranked if value >= lowest]
        return {"tags": kept[: int(wanted.get("max_tags", 30))]}
