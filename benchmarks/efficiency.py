"""Efficiency: the CPU time of the bare work over the CPU time of all our processes, for the same photos.

    .venv/bin/python -m benchmarks.efficiency [--photos 200] [--callers 16]

One 1600x1200 photo and the three reference models. Bare work = Pillow's full decode and resize, once per photo, plus each model's
forward pass in its own virtualenv with nothing around it. Ours = coordinator, preprocessor, decoders, hosts and workers, read from
/proc while `crema up` answers. The models' virtualenvs are built first where they are missing.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
import json
import subprocess
import tempfile
import time
from pathlib import Path

import aiohttp
import numpy as np
from PIL import Image, ImageFilter

from benchmarks.measuring import cpu_seconds, machine
from crema.host.manifest import load_manifest
from tests.cluster.running import ROOT, RunningCluster, running_cluster

MODELS = ("tags", "aesthetics", "captions")
SIZE = (1600, 1200)
ROUNDS = 5


def make_photo() -> bytes:
    """A 1600x1200 JPEG with detail like a photo's, about 2 bits per pixel."""
    rng = np.random.default_rng(1)
    noise = Image.fromarray(rng.integers(0, 256, (SIZE[1], SIZE[0], 3), np.uint8))
    base = Image.open(ROOT / "samples" / "rocket.jpg").convert("RGB").resize(SIZE, Image.Resampling.LANCZOS)
    mixed = Image.blend(base, noise.filter(ImageFilter.GaussianBlur(1.2)), 0.25)
    kept = io.BytesIO()
    mixed.save(kept, "JPEG", quality=85)
    return kept.getvalue()


def bare_decode_s(photo: bytes, rounds: int = 30) -> float:
    """CPU seconds of one full decode and one antialiased resize to 224x224."""
    start = time.process_time()
    for _ in range(rounds):
        Image.open(io.BytesIO(photo)).convert("RGB").resize((224, 224), Image.Resampling.BILINEAR)
    return (time.process_time() - start) / rounds


def bare_forward_s(cluster: RunningCluster, model: str, batch: int) -> float:
    """CPU seconds per image of a model's forward pass, in its own virtualenv."""
    [worker] = cluster.pids("minion", "worker", model)
    python = Path(f"/proc/{worker}/cmdline").read_bytes().split(b"\0")[0].decode()
    [package] = (cluster.folder / "model_packages" / model).iterdir()
    manifest = load_manifest(package)
    defaults = {name: param.default for name, param in manifest.params.items()}
    script = str(ROOT / "benchmarks" / "bare_forward.py")
    command = [
        python,
        script,
        str(package),
        manifest.entrypoint,
        json.dumps(defaults),
        str(batch),
        str(max(2, 64 // batch)),
    ]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-1])


def all_cpu_s(cluster: RunningCluster) -> dict[str, float]:
    """CPU seconds so far, by tier, the supervisor left out."""
    spent: dict[str, float] = {}
    for process in cluster.status()["processes"]:
        if process["tier"] != "supervisor" and process["pid"]:
            name = process.get("role") or process["tier"]
            # a decoder may just be replaced
            with contextlib.suppress(FileNotFoundError):
                spent[name] = spent.get(name, 0.0) + cpu_seconds(process["pid"])
    return spent


async def analyse(url: str, photo: bytes, photos: int, callers: int) -> list[int]:
    """`photos` calls, `callers` at a time. → batch sizes seen."""
    sizes: list[int] = []
    left = iter(range(photos))
    target = f"{url}/v1/analyze?models={','.join(MODELS)}&deadline_ms=25000"

    async with aiohttp.ClientSession() as session:

        async def caller() -> None:
            for _ in left:
                while True:
                    async with session.post(target, data=photo) as response:
                        answer = await response.json(content_type=None)
                        if response.status == 200 and answer["status"] == "ok":
                            sizes.extend(part["timing"]["batch_size"] for part in answer["results"].values())
                            break
                        await asyncio.sleep(0.2)

        await asyncio.gather(*(caller() for _ in range(callers)))
    return sizes


def main() -> bool:
    """Print the table and the figure."""
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("--photos", type=int, default=150)
    arguments.add_argument("--callers", type=int, default=16)
    args = arguments.parse_args()
    photo = make_photo()
    packages = [path.parent for path in sorted((ROOT / "model_packages").glob("*/*/model.yaml"))]
    with (
        tempfile.TemporaryDirectory() as folder,
        running_cluster(Path(folder) / "site", packages, python=None, patience_s=900) as cluster,
    ):
        asyncio.run(analyse(cluster.url, photo, 40, args.callers))
        decode = bare_decode_s(photo)
        forward = {model: min(bare_forward_s(cluster, model, batch) for batch in (1, 8)) for model in MODELS}
        ratios = []
        for _ in range(ROUNDS):
            before = all_cpu_s(cluster)
            sizes = asyncio.run(analyse(cluster.url, photo, args.photos, args.callers))
            after = all_cpu_s(cluster)
            spent = {name: (after[name] - before[name]) / args.photos for name in after}
            ratios.append((decode + sum(forward.values())) / sum(spent.values()))
    print(f"efficiency, {SIZE[0]}x{SIZE[1]} JPEG of {len(photo) // 1024} KB, three models; {machine()}")
    print(
        f"      bare, ms of CPU per photo: full decode {decode * 1e3:.1f}, "
        + ", ".join(f"{m} {s * 1e3:.1f}" for m, s in forward.items())
    )
    print(
        "      ours, ms of CPU per photo: " + ", ".join(f"{name} {s * 1e3:.2f}" for name, s in spent.items())
    )
    print(f"      mean batch size {np.mean(sizes):.1f}")
    print(
        f"      efficiency {np.median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f}); above 1: scaled decoding saves more than all of our code costs"
    )
    return True


if __name__ == "__main__":
    raise SystemExit(not main())
