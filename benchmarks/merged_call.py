"""W4: CPU seconds of one thousand calls that three echo models answer and the coordinator merges, 16 callers.

    .venv/bin/python -m benchmarks.merged_call [--calls 4000] [--rounds 5]

Coordinator and three minions, everything on, with a stub in the preprocessor's place, which is left out; in turn with the
least that does the same work in as many processes (benchmarks.bare_cluster). Then a whole cluster, whose preprocessor and
decoders share the machine: their CPU is left out, too, but not what they cost the others. The photo is tiny, so that the
models get tensors of 120 bytes.
"""

from __future__ import annotations

import argparse
import io
import statistics
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from time import monotonic

import aiohttp
import uvloop
from PIL import Image

from benchmarks.bare_cluster import bare_cluster
from benchmarks.efficiency import all_cpu_s
from benchmarks.fanout import call, child, coordinator, first_line, request_of, wait_ready
from benchmarks.measuring import cpu_seconds, machine, spread, verdict
from benchmarks.minion_cpu import Started, worker_pid
from tests.cluster.running import running_cluster
from tests.cluster.toy_packages import write_package

CALLERS = 16
MODELS = ("one", "two", "three")
WIDTH, HEIGHT = 8, 5
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
        card.read_text()
        .replace("size: [16, 16]", f"size: [{WIDTH}, {HEIGHT}]")
        .replace("max_size: 8", "max_size: 32")
    )
    (package / "model.py").write_text(ECHO)
    return package


class Side:
    """What is called at a port, and the processes whose CPU counts, by tier."""

    def __init__(self, port: int, request: bytes, tiers: dict[str, list[int]]) -> None:
        self._port = port
        self._request = request
        self._tiers = tiers
        self.totals: list[float] = []
        self.shares: dict[str, float] = {}
        self.rate = 0.0

    def run(self, calls: int) -> None:
        """One round; CPU seconds per 1000 calls are kept, in all and by tier."""
        before, began = self._cpu_s(), monotonic()
        uvloop.run(call(self._port, self._request, calls, CALLERS))
        self.rate = calls / (monotonic() - began)
        self.shares = {tier: (s - before[tier]) / calls * 1000 for tier, s in self._cpu_s().items()}
        self.totals.append(sum(self.shares.values()))

    def _cpu_s(self) -> dict[str, float]:
        return {tier: sum(map(cpu_seconds, pids)) for tier, pids in self._tiers.items()}

    def tell(self, name: str) -> None:
        """Print what was kept, the tiers' shares as they were in the last round."""
        shares = ", ".join(f"{tier} {s:.3f}" for tier, s in self.shares.items())
        print(f"      {name} {spread(self.totals)}: {shares}; {self.rate:.0f} calls/s")


async def worker_pids(minions: list[Started]) -> list[int]:
    """The workers, once all are ready."""
    async with aiohttp.ClientSession() as session:
        return [await worker_pid(session, minion.ports["http"]) for minion in minions]


def without_preprocessor(calls: int, rounds: int) -> float:
    """CPU seconds per 1000 calls of coordinator and minions, the median; printed beside the bare cluster's."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        stubs = stack.enter_context(
            child("benchmarks.fanout", "--stubs", "120", str(HEIGHT), str(WIDTH), "3")
        )
        minions = []
        for name in MODELS:
            package = write_echo(folder / "packages", name)
            minion = Started(
                "-m", "minion", "--package", str(package), "--python", sys.executable,
                "--channel", "127.0.0.1:0", "--http", "127.0.0.1:0", "--log-level", "error",
            )  # fmt: skip
            stack.callback(minion.stop)
            minions.append(minion)
        workers = uvloop.run(worker_pids(minions))
        ports = [first_line(stubs)[0], *(minion.ports["channel"] for minion in minions)]
        pid, port = stack.enter_context(coordinator(folder, ports, [WIDTH, HEIGHT], MODELS))
        request = request_of(120, MODELS)
        uvloop.run(wait_ready(port, request))
        hosts = [minion.process.pid for minion in minions]
        ours = Side(port, request, {"coordinator": [pid], "hosts": hosts, "workers": workers})
        bare_port, bare_pids = stack.enter_context(bare_cluster())
        bare = Side(bare_port, request, bare_pids)
        for each in (port, bare_port):
            uvloop.run(call(each, request, calls // 2, CALLERS))
        for _ in range(rounds):
            for side in (ours, bare):
                side.run(calls)
    ours.tell("without a preprocessor")
    bare.tell("the bare cluster")
    return statistics.median(ours.totals)


def beside_preprocessor(calls: int, rounds: int) -> float:
    """The same of a whole cluster."""
    kept = io.BytesIO()
    Image.new("RGB", (WIDTH, HEIGHT), (51, 51, 51)).save(kept, "PNG")
    photo = kept.getvalue()
    request = (
        f"POST /v1/analyze?models={','.join(MODELS)} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(photo)}\r\n\r\n"
    ).encode() + photo
    with tempfile.TemporaryDirectory() as folder:
        packages = [write_echo(Path(folder) / "packages", name) for name in MODELS]
        with running_cluster(Path(folder) / "site", packages) as cluster:
            port = int(cluster.url.rpartition(":")[2])
            uvloop.run(call(port, request, calls, CALLERS))
            totals, spent = [], {}
            for _ in range(rounds):
                before, began = all_cpu_s(cluster), monotonic()
                uvloop.run(call(port, request, calls, CALLERS))
                rate, after = calls / (monotonic() - began), all_cpu_s(cluster)
                # decoders are replaced meanwhile
                spent = {
                    name: (after[name] - before[name]) / calls * 1000 for name in after if name != "decoder"
                }
                totals.append(sum(s for name, s in spent.items() if name != "preprocessor"))
    shares = ", ".join(f"{name} {s:.3f}" for name, s in spent.items())
    print(f"      beside a preprocessor {spread(totals)}: {shares}; {rate:.0f} calls/s")
    return statistics.median(totals)


def main() -> bool:
    """Print goal, figures, verdicts and every tier's share."""
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("--calls", type=int, default=4000)
    arguments.add_argument("--rounds", type=int, default=5)
    args = arguments.parse_args()
    print(f"W4 three echo models in one call, {CALLERS} callers, CPU s per 1000 calls; {machine()}")
    left_out = without_preprocessor(args.calls, args.rounds)
    beside = beside_preprocessor(args.calls, args.rounds)
    met = verdict("W4 per 1000 merged calls, the preprocessor left out", 0.30, left_out, " s")
    return verdict("W4 the same, the preprocessor on the same cores", 0.30, beside, " s") and met


if __name__ == "__main__":
    raise SystemExit(0 if main() else 1)
