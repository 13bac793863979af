"""What more workers cost in memory: the proportional set size (PSS) of 1, 2 and 4 workers with mapped weights.

.venv/bin/python -m benchmarks.workers
"""

from __future__ import annotations

import asyncio
import json
import struct
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.measuring import machine, verdict
from tests.cluster.running_minion import TOYS, RunningMinion, eventually, running_minion

WEIGHTS_MB = 128
COUNTS = (1, 2, 4)
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


def write_package(package: Path, workers: int, weights_mb: int) -> None:
    """A package whose weights are one safetensors file of zeros; without weights an interpreter with numpy is left."""
    (package / "weights").mkdir(parents=True)
    (package / "examples").mkdir()
    data = bytes(weights_mb << 20) or bytes(4)
    header = json.dumps(
        {"w": {"dtype": "F32", "shape": [len(data) // 4], "data_offsets": [0, len(data)]}}
    ).encode()
    (package / "weights" / "w.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + data)
    (package / "model.py").write_text(MODEL)
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


async def measured(workers: int, weights_mb: int) -> float:
    """MiB of all workers of a minion together, once all are ready."""

    async def pids(minion: RunningMinion) -> list[int]:
        _, body = await minion.readiness()
        ready = [each["pid"] for each in body["workers"] if each["state"] == "ready"]
        return ready if len(ready) == workers else []

    with tempfile.TemporaryDirectory() as folder:
        write_package(Path(folder) / "mapped" / "1.0", workers, weights_mb)
        # a path from the root replaces the toys' folder
        async with running_minion(str(TOYS / folder / "mapped")) as minion:
            return sum(map(pss_mb, await eventually(lambda: pids(minion))))


def main() -> int:
    """→ exit status."""
    print(machine())
    total = {n: asyncio.run(measured(n, WEIGHTS_MB)) for n in COUNTS}
    bare = {n: asyncio.run(measured(n, 0)) for n in COUNTS}
    print(f"weights {WEIGHTS_MB} MiB, mapped; PSS of all workers of a minion together, MiB")
    for n in COUNTS:
        print(
            f"  {n} workers: {total[n]:7.1f}   without weights {bare[n]:7.1f}   {total[n] / total[1]:.2f}x of one"
        )
    per_worker = ((total[4] - bare[4]) - (total[1] - bare[1])) / 3 / WEIGHTS_MB
    return 0 if verdict("weights per further worker, share", MOST_SHARE, per_worker) else 1


if __name__ == "__main__":
    sys.exit(main())
