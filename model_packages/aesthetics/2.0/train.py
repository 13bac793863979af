"""Trains the aesthetics model and writes it as ONNX: `python model_packages/aesthetics/2.0/train.py --data DIR --out DIR`.

Needs torch and onnx (training only; the served package has neither). DIR is what `python -m model_packages.scenes.dataset`
wrote. Writes `aesthetics.onnx`: uint8 pixels in, score and the five faults out; scaling is inside the graph.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

FAULTS = ("blur", "noise", "exposure", "tilt", "composition")
# What each fault can take from a score of 1 at its worst; the definition of quality these scenes are scored by.
COSTS = (0.75, 0.55, 0.7, 0.45, 0.35)
KEPT_BACK = 600


def step(inputs: int, outputs: int, kernel: int, stride: int) -> nn.Sequential:
    padding = (kernel - 1) // 2 if kernel % 2 else 2
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False), nn.BatchNorm2d(outputs)
    )


class Stage(nn.Module):
    """Halve the picture, then refine it once with a shortcut."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.down, self.first, self.second = (
            step(inputs, outputs, 3, 2),
            step(outputs, outputs, 3, 1),
            step(outputs, outputs, 3, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.down(x))
        return functional.relu(x + self.second(functional.relu(self.first(x))))


class FaultNet(nn.Module):
    """uint8 [n, 224, 224, 3] → score [n] and faults [n, 5], all 0 to 1.

    Grain and softness are read from pooled features, position and tilt from a small map that keeps where things are.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = step(3, 32, 8, 4)
        self.low, self.middle, self.high = Stage(32, 48), Stage(48, 80), Stage(80, 128)
        self.where = nn.Conv2d(128, 12, 1)
        self.mix = nn.Linear(2 * (48 + 80 + 128) + 12 * 49, 128)
        self.faults = nn.Linear(128, len(FAULTS))
        self.register_buffer("costs", torch.tensor(COSTS))

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        x = pixels.permute(0, 3, 1, 2).float() / 127.5 - 1.0
        low = self.low(functional.relu(self.stem(x)))
        middle = self.middle(low)
        high = self.high(middle)
        pooled = [pool for m in (low, middle, high) for pool in (m.mean((2, 3)), m.amax((2, 3)))]
        where = functional.relu(self.where(high)).flatten(1)
        faults = torch.sigmoid(self.faults(functional.relu(self.mix(torch.cat([*pooled, where], 1))))).float()
        return torch.prod(1.0 - faults * self.costs, 1), faults


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's, without ties."""
    return float(np.corrcoef(np.argsort(np.argsort(a)), np.argsort(np.argsort(b)))[0, 1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.manual_seed(20)
    torch.set_num_threads(options.threads)
    shuffler = np.random.default_rng(20)
    images = np.load(options.data / "images.npy", mmap_mode="r")
    truths = json.loads((options.data / "truth.json").read_text())
    faults = np.array([[t["losses"][f] for f in FAULTS] for t in truths], np.float32)
    quality = np.array([t["quality"] for t in truths], np.float32)
    count = len(truths) - KEPT_BACK
    net = FaultNet().to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(net.parameters(), lr=2e-3, weight_decay=0.02)
    steps, done, started = options.epochs * (count // options.batch), 0, time.monotonic()
    for epoch in range(options.epochs):
        net.train()
        order, losses = shuffler.permutation(count), []
        for first in range(0, count - options.batch + 1, options.batch):
            chosen = np.sort(order[first : first + options.batch])
            x = torch.from_numpy(images[chosen])
            if shuffler.random() < 0.5:
                x = x.flip(2)  # a mirrored picture is as good
            for group in optimiser.param_groups:
                group["lr"] = 2e-3 * min(1.0, (done + 1) / 200) * 0.5 * (1 + math.cos(math.pi * done / steps))
            with torch.autocast("cpu", torch.bfloat16):
                score, found = net(x)
            loss = functional.mse_loss(found.float(), torch.from_numpy(faults[chosen])) + functional.mse_loss(
                score.float(), torch.from_numpy(quality[chosen])
            )
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(loss.item())
            done += 1
            if done % 50 == 0:
                print(
                    f"step {done}/{steps} loss {np.mean(losses[-50:]):.4f} {time.monotonic() - started:.0f}s",
                    flush=True,
                )
        net.eval()
        with torch.inference_mode():
            seen = [net(torch.from_numpy(images[a : a + 50])) for a in range(count, len(truths), 50)]
        scores, found_all = torch.cat([s for s, _ in seen]).numpy(), torch.cat([f for _, f in seen]).numpy()
        each = {
            f: round(rank_correlation(faults[count:, k], found_all[:, k]), 3) for k, f in enumerate(FAULTS)
        }
        print(
            f"epoch {epoch + 1} Spearman {rank_correlation(quality[count:], scores):.4f} {each}", flush=True
        )
    options.out.mkdir(parents=True, exist_ok=True)
    export(net, options.out / "aesthetics.onnx")


def export(net: FaultNet, path: Path) -> None:
    """The trained network as one self-contained ONNX file with a free batch size."""
    net.eval().to(memory_format=torch.contiguous_format)
    torch.onnx.export(
        net,
        (torch.zeros(2, 224, 224, 3, dtype=torch.uint8),),
        str(path),
        input_names=["pixels"],
        output_names=["score", "faults"],
        dynamic_axes={"pixels": {0: "n"}, "score": {0: "n"}, "faults": {0: "n"}},
        opset_version=17,
        dynamo=False,
    )


if __name__ == "__main__":
    main()
