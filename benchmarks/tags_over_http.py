"""W2: a JPEG over HTTP → decode → small CNN → tags, through the whole cluster, against the same work in one process.

    .venv/bin/python -m benchmarks.tags_over_http [--photos 300] [--rounds 5] [--sizes 640x480,1600x1200]

The CNN is a MobileNet v1 of width 0.5 (0.3 GFLOP, random weights, one torch thread), top 5 of 1000, in a package that this benchmark writes and
that takes the virtualenv of `tags`. 16 callers, batches of at most 8. Ours = CPU of every process of the cluster, supervisor included. Bare
work = Pillow's full decode and resize and the same forward pass, in one process of the same virtualenv, in batches of 1 or of 8, whichever is cheaper.
Both are measured in turn in one run. The virtualenv is built first where it is missing.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import statistics
import subprocess
import tempfile
from pathlib import Path
from typing import Final

import aiohttp
import numpy as np
import PIL
from PIL import Image

from benchmarks.measuring import cpu_seconds, machine, spread, verdict
from benchmarks.preprocess import make_photo
from tests.cluster.running import ROOT, RunningCluster, running_cluster

CALLERS: Final = 16
GOALS: Final = {(640, 480): 1.10, (1600, 1200): 0.63}

CARD: Final = """\
crema: 1
name: mobile
version: "1.0"
entrypoint: model:Mobile
python: ">=3.11"
input: {kind: image, size: [224, 224]}
output: {type: tags}
batching: {max_size: 8}
slo: {p99_ms: 5000}
resources: {device: cpu}
examples: [{image: examples/one.png, expect: examples/one.json}]
"""

MODEL: Final = '''
import torch
from torch import nn


def block(wide, out, stride):
    return nn.Sequential(
        nn.Conv2d(wide, wide, 3, stride, 1, groups=wide, bias=False), nn.BatchNorm2d(wide), nn.ReLU(inplace=True),
        nn.Conv2d(wide, out, 1, bias=False), nn.BatchNorm2d(out), nn.ReLU(inplace=True),
    )


class Mobile:
    """MobileNet v1 of width 0.5 with seeded random weights."""

    def load(self, ctx):
        torch.set_num_threads(1)
        torch.manual_seed(0)
        plan = [(32, 1), (64, 2), (64, 1), (128, 2), (128, 1), (256, 2), *[(256, 1)] * 5, (512, 2), (512, 1)]
        layers, wide = [nn.Conv2d(3, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU(inplace=True)], 16
        for out, stride in plan:
            layers.append(block(wide, out, stride))
            wide = out
        layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(wide, 1000)]
        self.net = nn.Sequential(*layers).eval().to(memory_format=torch.channels_last)

    def predict(self, batch, params):
        with torch.inference_mode():
            x = torch.from_numpy(batch).permute(0, 3, 1, 2).float().div_(127.5).sub_(1.0)
            best = self.net(x).softmax(1).topk(5)
        return [
            {"tags": [{"name": f"class {i}", "confidence": c} for i, c in zip(ids, confidences)]}
            for ids, confidences in zip(best.indices.tolist(), best.values.tolist())
        ]
'''

# Run by the package's own Python with Pillow's folder on its path; prints CPU seconds per photo.
BARE: Final = """
import io, sys, time
sys.path[:0] = [sys.argv[1], sys.argv[2]]
import numpy as np
from PIL import Image
from model import Mobile
photo, batch, rounds = open(sys.argv[3], "rb").read(), int(sys.argv[4]), int(sys.argv[5])
model = Mobile(); model.load(None)
room = np.zeros((batch, 224, 224, 3), np.uint8)
def work():
    for index in range(batch):
        picture = Image.open(io.BytesIO(photo)).convert("RGB")
        width, height = picture.size
        side = min(width, height)
        left, top = (width - side) / 2, (height - side) / 2
        room[index] = np.asarray(picture.resize((224, 224), Image.Resampling.BILINEAR, (left, top, left + side, top + side)))
    return model.predict(room, [{}] * batch)
for _ in range(3): work()
start = time.process_time()
for _ in range(rounds): work()
print((time.process_time() - start) / (rounds * batch))
"""


def write_package(packages: Path) -> Path:
    """The package, with the lock of `tags`, so that no other virtualenv has to be built."""
    package = packages / "mobile" / "1.0"
    (package / "examples").mkdir(parents=True)
    (package / "model.yaml").write_text(CARD)
    (package / "model.py").write_text(MODEL)
    (package / "CHANGES.md").write_text("# 1.0\n\nFirst.\n")
    tags = sorted((ROOT / "model_packages" / "tags").iterdir())[-1]
    for file in tags.glob("requirements*"):
        shutil.copy(file, package)
    Image.new("RGB", (32, 32), (51, 51, 51)).save(package / "examples" / "one.png")
    (package / "examples" / "one.json").write_text(json.dumps({"tags": []}))
    return package


def pillow_alone(folder: Path) -> Path:
    """A folder from which another virtualenv's Python can import our Pillow and nothing else of ours."""
    site = Path(PIL.__file__).resolve().parent.parent
    folder.mkdir()
    for name in ("PIL", "pillow.libs"):
        if (site / name).exists():
            shutil.copytree(site / name, folder / name)
    return folder


def bare_s(python: str, pillow: Path, package: Path, photo: Path, batch: int, rounds: int) -> float:
    """CPU seconds per photo of the bare work."""
    command = [python, "-c", BARE, str(pillow), str(package), str(photo), str(batch), str(rounds)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def all_cpu_s(cluster: RunningCluster) -> dict[str, float]:
    """CPU seconds so far of every process, by what it is."""
    spent: dict[str, float] = {}
    for process in cluster.status()["processes"]:
        if process["pid"]:
            name = process.get("role") or process["tier"]
            spent[name] = spent.get(name, 0.0) + cpu_seconds(process["pid"])
    return spent


async def analyse(url: str, photo: bytes, photos: int) -> list[int]:
    """`photos` calls by 16 callers; the size of each one's batch."""
    sizes: list[int] = []
    left = iter(range(photos))
    target = f"{url}/v1/analyze?models=mobile&deadline_ms=25000"

    async with aiohttp.ClientSession() as session:

        async def caller() -> None:
            for _ in left:
                async with session.post(target, data=photo) as response:
                    answer = await response.json(content_type=None)
                    if response.status != 200:
                        raise SystemExit(f"{response.status}: {answer}")
                    sizes.append(answer["results"]["mobile"]["timing"]["batch_size"])

        await asyncio.gather(*(caller() for _ in range(CALLERS)))
    return sizes


def compare(cluster: RunningCluster, folder: Path, size: tuple[int, int], photos: int, rounds: int) -> float:
    """Print the table of one size of photo; return ours over bare."""
    photo = folder / f"{size[0]}.jpg"
    photo.write_bytes(make_photo(size))
    [worker] = cluster.pids("minion", "worker")
    python = Path(f"/proc/{worker}/cmdline").read_bytes().split(b"\0")[0].decode()
    [package] = (cluster.folder / "model_packages" / "mobile").iterdir()
    asyncio.run(analyse(cluster.url, photo.read_bytes(), 64))
    ratios: list[float] = []
    bares: list[float] = []
    parts: dict[str, list[float]] = {}
    for _ in range(rounds):
        bare = min(
            bare_s(python, folder / "pillow", package, photo, batch, max(1, 64 // batch)) for batch in (1, 8)
        )
        before = all_cpu_s(cluster)
        batches = asyncio.run(analyse(cluster.url, photo.read_bytes(), photos))
        after = all_cpu_s(cluster)
        spent = {name: (after[name] - before[name]) / photos for name in after}
        ratios.append(sum(spent.values()) / bare)
        bares.append(bare * 1e3)
        for name, seconds in spent.items():
            parts.setdefault(name, []).append(seconds * 1e3)
    each = ", ".join(f"{name} {statistics.median(figures):.2f}" for name, figures in parts.items())
    print(
        f"      {size[0]}x{size[1]}, {photo.stat().st_size // 1000} KB: CPU ms per call: bare {spread(bares)}; ours {each}"
    )
    print(f"      mean batch {np.mean(batches):.1f}; ours over bare {spread(ratios)}")
    return statistics.median(ratios)


def main() -> bool:
    """Print the table, goals, figures, verdicts; whether all are met."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--photos", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sizes", default="640x480,1600x1200")
    args = parser.parse_args()
    print(f"W2, JPEG over HTTP to tags, {CALLERS} callers; {machine()}")
    met = True
    with tempfile.TemporaryDirectory() as folder:
        pillow_alone(Path(folder) / "pillow")
        packages = [write_package(Path(folder) / "made")]
        with running_cluster(Path(folder) / "site", packages, python=None, patience_s=900) as cluster:
            for text in args.sizes.split(","):
                width, height = map(int, text.split("x"))
                ratio = compare(cluster, Path(folder), (width, height), args.photos, args.rounds)
                met &= verdict(
                    f"W2 {text}, all processes over the bare work", GOALS[width, height], ratio, "x"
                )
    return met


if __name__ == "__main__":
    raise SystemExit(not main())
