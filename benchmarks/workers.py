"""What more workers cost in memory: the proportional set size (PSS) of 1, 2 and 4 workers.

    .venv/bin/python -m benchmarks.workers

Three packages: one that maps its weights with numpy; a torch network whose safetensors weights are mapped and not copied
(`load_state_dict(..., assign=True)`); and `tags@3.1` as it is, whose weights are small. The two with torch take the
virtualenv of `tags`, which is built first where it is missing.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import struct
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.measuring import machine, verdict
from envs.builder import environment_for
from tests.cluster.running_minion import ROOT, TOYS, RunningMinion, eventually, running_minion

WEIGHTS_MB = 128
COUNTS = (1, 2, 4)
TAGS = ROOT / "model_packages" / "tags" / "3.1"
# Of the weights, what each further worker may cost beyond an interpreter of its own.
MOST_SHARE = 0.05

MODEL = '''
import json, struct
import numpy as np

class Mapped:
    """Reads all of its weights once, so that all of their pages are in memory."""

    def load(self, ctx):
        path = ctx.path("weights/w.safetensors")
        with path.open("rb") as file:
            start = 8 + struct.unpack("<Q", file.read(8))[0]
        self.weights = np.memmap(path, np.float32, "r", offset=start)

    def predict(self, batch, params):
        return [int(self.weights.sum()) for _ in batch]
'''


TORCH_MODEL = '''
import torch
from safetensors.torch import load_file


class Mapped:
    """A stack of linear layers that uses its weights where the file is mapped."""

    def load(self, ctx):
        torch.set_num_threads(1)
        weights = load_file(ctx.path("weights/w.safetensors"))
        weights.pop("w", None)
        with torch.device("meta"):
            layers = [torch.nn.Linear(1024, 1024, bias=False) for _ in weights]
        self.net = torch.nn.Sequential(*layers)
        self.net.load_state_dict(weights, assign=True)

    @torch.inference_mode()
    def predict(self, batch, params):
        x = torch.from_numpy(batch).float().repeat(1, 8)
        return [int(row.isfinite().all()) for row in self.net(x)]
'''


def write_weights(path: Path, weights_mb: int) -> None:
    """A safetensors file of random layers of 4 MiB each; without weights one of 4 bytes."""
    chance = np.random.default_rng(0)
    layers = [
        chance.standard_normal((1024, 1024), np.float32) / 32 for _ in range(weights_mb * 2**20 // 2**22)
    ]
    tensors = {f"{number}.weight": layer for number, layer in enumerate(layers)} or {
        "w": np.zeros(1, np.float32)
    }
    header, end = {}, 0
    for name, tensor in tensors.items():
        offsets = [end, end := end + tensor.nbytes]
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": offsets}
    head = json.dumps(header).encode()
    head += b" " * (-len(head) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(head)) + head)
        for tensor in tensors.values():
            file.write(tensor.tobytes())


def write_package(package: Path, workers: int, weights_mb: int, model: str) -> None:
    """A package whose weights are one safetensors file; without weights an interpreter with its libraries is left."""
    (package / "weights").mkdir(parents=True)
    (package / "examples").mkdir()
    write_weights(package / "weights" / "w.safetensors", weights_mb)
    (package / "model.py").write_text(model)
    np.save(package / "examples" / "one.npy", np.zeros(128, np.uint8))
    (package / "examples" / "one.json").write_text("0")
    (package / "model.yaml").write_text(
        f"""\
crema: 1
name: mapped
version: "1.0"
entrypoint: model:Mapped
python: ">=3.11"
input: {{kind: tensor, shape: [128], dtype: uint8}}
output: {{type: json, schema: {{type: integer}}}}
batching: {{max_size: 1}}
workers: {workers}
examples: [{{tensor: examples/one.npy, expect: examples/one.json}}]
"""
    )


def pss_mb(pid: int) -> float:
    """Proportional set size of a process in MiB: what it shares counts in proportion."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    raise AssertionError("the kernel says nothing of the proportional set size")


async def measured(package: Path, workers: int, *options: str) -> float:
    """MiB of all workers of a minion together, once all are ready."""

    async def pids(minion: RunningMinion) -> list[int]:
        _, body = await minion.readiness()
        ready = [each["pid"] for each in body["workers"] if each["state"] == "ready"]
        return ready if len(ready) == workers else []

    # a path from the root replaces the toys' folder
    async with running_minion(str(TOYS / package), *options) as minion:
        return sum(map(pss_mb, await eventually(lambda: pids(minion), 120.0)))


def mapped(workers: int, weights_mb: int, model: str, *options: str) -> float:
    """MiB of the workers of a package that is written for it."""
    with tempfile.TemporaryDirectory() as folder:
        write_package(Path(folder) / "mapped" / "1.0", workers, weights_mb, model)
        return asyncio.run(measured(Path(folder) / "mapped", workers, *options))


def tags(workers: int, *options: str) -> float:
    """MiB of the workers of `tags@3.1`, with this many of them."""
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder) / "tags" / "1.0"
        shutil.copytree(TAGS, package)
        manifest = (package / "model.yaml").read_text().replace('version: "3.1"', 'version: "1.0"')
        (package / "model.yaml").write_text(f"{manifest}workers: {workers}\n")
        return asyncio.run(measured(package.parent, workers, *options))


def show(name: str, total: dict[int, float], bare: dict[int, float] | None = None) -> None:
    """The lines of one package."""
    print(f"{name}; PSS of all workers of a minion together, MiB")
    for n, amount in total.items():
        without = f"   without weights {bare[n]:7.1f}" if bare else ""
        print(f"  {n} workers: {amount:7.1f}{without}   {amount / total[1]:.2f}x of one")


def share(total: dict[int, float], bare: dict[int, float]) -> float:
    """What each further worker costs beyond an interpreter of its own, as a share of the weights."""
    first, last = COUNTS[0], COUNTS[-1]
    return ((total[last] - bare[last]) - (total[first] - bare[first])) / (last - first) / WEIGHTS_MB


def main() -> int:
    """→ exit status."""
    print(machine())
    met = True
    with_torch = ("--python", str(environment_for(TAGS).python))
    for name, model, options in (("numpy", MODEL, ()), ("torch", TORCH_MODEL, with_torch)):
        total = {n: mapped(n, WEIGHTS_MB, model, *options) for n in COUNTS}
        bare = {n: mapped(n, 0, model, *options) for n in COUNTS}
        show(f"{name}, {WEIGHTS_MB} MiB of weights, mapped", total, bare)
        met &= verdict(f"{name}: weights per further worker, share", MOST_SHARE, share(total, bare))
    show("tags@3.1, 4 MiB of weights", {n: tags(n, *with_torch) for n in COUNTS})
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
