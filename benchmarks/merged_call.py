"""W4: CPU seconds of one thousand calls that three echo models answer and the coordinator merges, 16 callers.

    .venv/bin/python -m benchmarks.merged_call [--calls 4000] [--rounds 5]

A real cluster with everything on. The photo is tiny, so that the models get tensors of 120 bytes; the preprocessor's
CPU is left out, and shown beside; its decoders' is not counted at all, because they are replaced meanwhile.
"""

from __future__ import annotations

import argparse
import io
import statistics
import tempfile
from pathlib import Path

import uvloop
from PIL import Image

from benchmarks.efficiency import all_cpu_s
from benchmarks.fanout import call
from benchmarks.measuring import machine, spread, verdict
from tests.cluster.running import running_cluster
from tests.cluster.toy_packages import write_package

CALLERS = 16
MODELS = ("one", "two", "three")
ECHO = """
class Toy:
    def load(self, ctx):
        pass
    def predict(self, batch, params):
        return [{"score": number / 255} for number in batch[:, 0, 0, 0].tolist()]
"""


def write_echo(packages: Path, name: str) -> Path:
    """A package that answers each item with one number of it, in batches of up to 32."""
    package = write_package(packages, name)
    card = package / "model.yaml"
    card.write_text(
        card.read_text().replace("size: [16, 16]", "size: [8, 5]").replace("max_size: 8", "max_size: 32")
    )
    (package / "model.py").write_text(ECHO)
    return package


def main() -> bool:
    """Print goal, figure, verdict and every tier's share."""
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("--calls", type=int, default=4000)
    arguments.add_argument("--rounds", type=int, default=5)
    args = arguments.parse_args()
    kept = io.BytesIO()
    Image.new("RGB", (8, 5), (51, 51, 51)).save(kept, "PNG")
    photo = kept.getvalue()
    request = (
        f"POST /v1/analyze?models={','.join(MODELS)} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(photo)}\r\n\r\n"
    ).encode() + photo
    with tempfile.TemporaryDirectory() as folder:
        packages = [write_echo(Path(folder) / "packages", name) for name in MODELS]
        with running_cluster(Path(folder) / "site", packages) as cluster:
            port = int(cluster.url.rpartition(":")[2])
            uvloop.run(call(port, request, args.calls, CALLERS))
            totals, spent = [], {}
            for _ in range(args.rounds):
                before = all_cpu_s(cluster)
                uvloop.run(call(port, request, args.calls, CALLERS))
                after = all_cpu_s(cluster)
                spent = {
                    name: (after[name] - before[name]) / args.calls * 1000
                    for name in after
                    if name != "decoder"
                }
                totals.append(sum(s for name, s in spent.items() if name != "preprocessor"))
    print(f"W4 three echo models in one call, {CALLERS} callers; {machine()}")
    print("      CPU s per 1000 calls: " + ", ".join(f"{name} {s:.3f}" for name, s in spent.items()))
    print(f"      without the preprocessor {spread(totals)}")
    return verdict("W4 CPU per 1000 merged calls", 0.30, statistics.median(totals), " s")


if __name__ == "__main__":
    raise SystemExit(0 if main() else 1)
