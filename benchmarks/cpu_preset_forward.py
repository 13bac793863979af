"""Networks run plainly and with the CPU preset, in a package's own virtualenv: what `cpu_preset.py` compares.

    PYTHON cpu_preset_forward.py PACKAGE PIXELS.npy ROUNDS      (PYTHONPATH: a folder with crema's light ring)

Prints JSON: for each network and way its milliseconds of CPU per batch, by batch size; the highest class of every photo; the
largest difference of a confidence from the plain way's.
"""

import itertools
import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from crema.torch_model import TorchModel, has_bf16

BATCHES = (1, 8)
SCALE = {"mean": [0.5] * 3, "std": [0.5] * 3}


def tags(package):
    """The package's network with its trained weights, batch norm beside the convolutions."""
    sys.path.insert(0, str(package))
    import model
    from safetensors import safe_open

    with safe_open(str(package / "weights/tags.safetensors"), framework="pt") as file:
        names = json.loads(file.metadata()["tags"])
        weights = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a dict
    net = model.TagNet(len(names))
    net.load_state_dict(weights)
    return net.eval()


class Convolution(nn.Module):
    """Convolution and batch norm."""

    def __init__(self, inputs, outputs, kernel, stride):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x):
        return self.norm(self.conv(x))


class Block(nn.Module):
    """Two convolutions beside a shortcut."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.first = Convolution(inputs, outputs, 3, stride)
        self.second = Convolution(outputs, outputs, 3, 1)
        self.shortcut = nn.Identity() if stride == 1 else Convolution(inputs, outputs, 1, stride)

    def forward(self, x):
        return functional.relu(self.shortcut(x) + self.second(functional.relu(self.first(x))))


def residual(pixels):
    """A residual network of 0.59 GMAC, untrained; its batch norms have seen photos, so that numbers stay in range."""
    torch.manual_seed(0)
    layers, inputs = [Convolution(3, 32, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1)], 32
    for width, blocks, stride in ((32, 3, 1), (64, 3, 2), (128, 2, 2), (256, 2, 2)):
        for place in range(blocks):
            layers.append(Block(inputs, width, stride if place == 0 else 1))
            inputs = width
    net = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(256, 100))
    for part in net.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.momentum = None  # the plain mean over what it sees
    with torch.no_grad():
        net.train()(floats(pixels[:8]))
    return net.eval()


def floats(batch):
    return torch.from_numpy(batch).permute(0, 3, 1, 2).contiguous().float().div(127.5).sub(1.0)


def ways_of(make):
    """name → a function of a batch (uint8 [n, h, w, 3]) that gives logits; each with a network of its own."""
    net = make()
    ways = {
        # what one writes first: floats in the order of the channels, gradients on
        "plain": lambda batch: net(floats(batch)).detach().numpy(),
        "inference_mode": TorchModel(make(), "cpu", channels_last=False, fold=False, **SCALE),
        "channels_last": TorchModel(make(), "cpu", fold=False, **SCALE),
        "preset": TorchModel(make(), "cpu", **SCALE),
    }
    if has_bf16():
        ways["bf16, not folded"] = TorchModel(make(), "cpu", fold=False, bf16=True, **SCALE)
        ways["bf16"] = TorchModel(make(), "cpu", bf16=True, **SCALE)
    return ways


def report_of(ways, pixels, rounds):
    times = {name: {n: [] for n in BATCHES} for name in ways}
    for round_, n in itertools.product(range(rounds + 1), BATCHES):
        batch = pixels[:n].copy()
        for name, way in ways.items():
            start = time.process_time()
            for _ in range(8 // n):
                way(batch)
            took = (time.process_time() - start) / (8 // n)
            if round_:  # the first round pays for what is set up lazily
                times[name][n].append(took * 1e3)
    logits = {
        name: np.concatenate([way(pixels[i : i + 8].copy()) for i in range(0, len(pixels), 8)])
        for name, way in ways.items()
    }
    sure = {name: 1 / (1 + np.exp(-found.astype(np.float64))) for name, found in logits.items()}
    return {
        name: {
            "ms": times[name],
            "top": logits[name].argmax(1).tolist(),
            "off": float(np.abs(sure[name] - sure["plain"]).max()),
        }
        for name in ways
    }


def main(package, pixels, rounds):
    torch.set_num_threads(1)
    networks = {"tags@3.1": lambda: tags(package), "residual, 0.59 GMAC": lambda: residual(pixels)}
    print(json.dumps({name: report_of(ways_of(make), pixels, rounds) for name, make in networks.items()}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), np.load(sys.argv[2]), int(sys.argv[3]))
