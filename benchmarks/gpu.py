"""How much of a GPU's throughput is left behind a minion: images a second and the GPU's busy share, with in_flight 1 and 2.

    CREMA_PROFILE=pypi .venv/bin/python -m benchmarks.gpu [--seconds 10] [--batch 32] [--width 64] [--device cuda:0]

A residual network (width 64: about ResNet-50's work) under bf16 through `crema/torch_model.py`, in a package that this
benchmark writes and that takes the virtualenv of `tags`, whose profile must bring a torch with CUDA. Closed loop: so many
requests of 8 images that two full batches always wait. Beside it, in the same run, the same network with no server around it:
`forward` alone, its batch lying on the GPU, and `predict`, copies and answers included. The busy share is what `nvidia-smi`
(NVML) says, five times a second. Without a GPU nothing is measured; `--device cpu --width 4` shows only that it runs.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import math
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.measuring import machine, verdict
from envs.builder import environment_for
from tests.cluster.running_minion import ROOT, TOYS, RunningMinion, running_minion

LEAST_SHARE: Final = 0.95
REQUEST_ITEMS: Final = 8
WARM_S: Final = 2.0
TAGS: Final = ROOT / "model_packages" / "tags" / "3.1"

CARD: Final = """\
crema: 1
name: network
version: "1.0"
entrypoint: model:Net
python: ">=3.11"
input: {{kind: image, size: [224, 224]}}
output: {{type: json, schema: {{type: integer}}}}
batching: {{max_size: {batch}, in_flight: {in_flight}}}
gate: {{max_pending: {places}}}
slo: {{p99_ms: 60000}}
load_s: 300
examples: [{{image: examples/one.png, expect: examples/one.json}}]
"""

MODEL: Final = '''
import torch
from torch import nn

from torch_model import TorchModel


class Block(nn.Module):
    def __init__(self, inputs, middle, stride):
        super().__init__()
        out = 4 * middle
        self.path = nn.Sequential(
            nn.Conv2d(inputs, middle, 1, bias=False), nn.BatchNorm2d(middle), nn.ReLU(inplace=True),
            nn.Conv2d(middle, middle, 3, stride, 1, bias=False), nn.BatchNorm2d(middle), nn.ReLU(inplace=True),
            nn.Conv2d(middle, out, 1, bias=False), nn.BatchNorm2d(out),
        )
        self.past = nn.Identity()
        if stride > 1 or inputs != out:
            self.past = nn.Sequential(nn.Conv2d(inputs, out, 1, stride, bias=False), nn.BatchNorm2d(out))

    def forward(self, x):
        return torch.relu(self.path(x) + self.past(x))


class Net:
    """A bottleneck residual network of 3, 4, 6, 3 blocks with seeded random weights; the class it finds."""

    def load(self, ctx):
        torch.manual_seed(0)
        wide = WIDTH
        layers, inputs = [nn.Conv2d(3, wide, 7, 2, 3, bias=False), nn.BatchNorm2d(wide), nn.ReLU(), nn.MaxPool2d(3, 2, 1)], wide
        for stage, blocks in enumerate((3, 4, 6, 3)):
            for number in range(blocks):
                layers.append(Block(inputs, wide << stage, 2 if stage and not number else 1))
                inputs = 4 * (wide << stage)
        net = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, 1000))
        mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
        self.model = TorchModel(net, ctx.device, mean=mean, std=std, bf16=True)

    def predict(self, batch, params):
        return self.model(batch).argmax(1).tolist()
'''


def write_package(folder: Path, batch: int, in_flight: int, width: int) -> Path:
    """The package; its folder."""
    package = folder / "network" / "1.0"
    (package / "examples").mkdir(parents=True)
    places = 6 * batch
    (package / "model.yaml").write_text(CARD.format(batch=batch, in_flight=in_flight, places=places))
    (package / "model.py").write_text(MODEL.replace("WIDTH", str(width)))
    shutil.copy(ROOT / "crema" / "torch_model.py", package / "torch_model.py")
    shutil.copy(ROOT / "samples" / "chelsea.jpg", package / "examples" / "one.png")
    (package / "examples" / "one.json").write_text("0")
    return package


def alone(python: Path, package: Path, device: str, batch: int, seconds: float) -> dict[str, Any]:
    """What the network does with no server around it."""
    script = str(Path(__file__).with_name("gpu_forward.py"))
    done = subprocess.run(
        [str(python), script, str(package), device, str(batch), str(seconds)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=600,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@contextlib.contextmanager
def busy_shares() -> Iterator[list[float]]:
    """What NVML says of the first GPU while this is open: shares of the last moments in which a kernel ran."""
    shares: list[float] = []
    query = ["nvidia-smi", "-i", "0", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
    if shutil.which("nvidia-smi") is None:
        yield shares
        return
    with subprocess.Popen([*query, "-lms", "200"], stdout=subprocess.PIPE, text=True) as asked:
        try:
            yield shares
        finally:
            asked.terminate()
            said = asked.communicate()[0]
            shares += [float(line) / 100 for line in said.splitlines() if line.strip().isdigit()]


async def flood(minion: RunningMinion, callers: int, until: float) -> int:
    """Requests of 8 images, `callers` of them always under way; how many images were answered by `until`."""
    pixels = np.random.default_rng(0).integers(0, 256, (REQUEST_ITEMS, 224, 224, 3), np.uint8).tobytes()
    item = {"shape": [224, 224, 3], "dtype": "uint8", "params": {}}
    message = {"kind": "infer", "items": [item] * REQUEST_ITEMS}
    answered = 0

    async def caller() -> None:
        nonlocal answered
        while time.monotonic() < until:
            header, _ = await minion.channel.call(message, pixels)
            assert header["status"] == 200, header
            if time.monotonic() < until:
                answered += REQUEST_ITEMS

    await asyncio.gather(*(caller() for _ in range(callers)))
    return answered


async def served(package: Path, python: Path, args: argparse.Namespace) -> dict[str, float]:
    """The same network behind a minion."""
    callers = math.ceil(4 * args.batch / REQUEST_ITEMS)
    options = ("--python", str(python), "--device", args.device)
    async with running_minion(str(TOYS / package.parent), *options) as minion:
        await flood(minion, callers, time.monotonic() + WARM_S)
        with busy_shares() as shares:
            images = await flood(minion, callers, time.monotonic() + args.seconds)
        batches = await minion.metric("crema_batch_size_count")
        return {
            "images": images / args.seconds,
            "busy": statistics.fmean(shares) if shares else math.nan,
            "batch": await minion.metric("crema_batch_size_sum") / max(1.0, batches),
            "reserved": await minion.metric("crema_gpu_memory_bytes", kind="reserved") / 2**20,
        }


def main() -> int:
    """→ exit status."""
    parser = argparse.ArgumentParser(description="A minion's throughput on a GPU beside the bare network's.")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--device", default="cuda:0")
    args = parser.parse_args()
    if args.device != "cpu" and shutil.which("nvidia-smi") is None and not Path("/dev/nvidia0").exists():
        print("no GPU on this machine: nothing was measured")
        return 0
    python = environment_for(TAGS).python
    met = True
    with tempfile.TemporaryDirectory() as folder:
        packages = {
            depth: write_package(Path(folder) / f"in-flight-{depth}", args.batch, depth, args.width)
            for depth in (1, 2)
        }
        bare = alone(python, packages[1], args.device, args.batch, args.seconds / 2)
        if not bare["cuda"]:
            print(
                "the virtualenv's torch sees no CUDA device: nothing was measured; build it with CREMA_PROFILE=pypi"
            )
            return 0
        print(f"{machine()}; {bare['device']}; batches of {args.batch}, bf16")
        print(f"  alone: forward {bare['forward']:.0f} images/s, predict {bare['predict']:.0f} images/s")
        for depth, package in packages.items():
            found = asyncio.run(served(package, python, args))
            print(
                f"  in_flight {depth}: {found['images']:.0f} images/s, mean batch {found['batch']:.1f}, GPU busy"
                f" {found['busy']:.0%}, {found['images'] / bare['predict']:.1%} of predict, reserved {found['reserved']:.0f} MiB"
            )
            share = found["images"] / bare["forward"]
            met &= verdict(f"in_flight {depth}: share of forward alone", LEAST_SHARE, share, at_least=True)
    return 0 if met else 1


if __name__ == "__main__":
    raise SystemExit(main())
