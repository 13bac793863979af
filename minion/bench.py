"""`python -m minion.bench`: measures a model version through its real worker, without a server. Started by `crema bench`.

It writes one JSON object per line to standard output, and nothing else:

    {"loaded": {"seconds", "memory_bytes"}}
    {"measured": {"n", "seconds", "worst_seconds", "runs", "memory_bytes"}}    one per size, smallest first
    {"stopped": {"n", "problem"}}                                              a size found no memory: the end
    {"failed": {"problem"}}                                                    nothing further; exit status 1

Seconds are from hand-over to outcomes, as cost curves learn them; memory is the worker's peak so far.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import statistics
import sys
import time
from pathlib import Path
from typing import Any, Final

import numpy as np

from crema.host.channel import Buffer
from crema.host.channel_lost import ChannelLost
from crema.host.light_ring import make_light_ring
from crema.host.logs import configure_logs
from crema.host.manifest import Manifest, ManifestError, load_manifest
from crema.host.process import die_with_parent, raise_malloc_thresholds
from crema.loaded_model import read_examples
from crema.names import CHANNELS
from minion.arena import Arena, arena_for, offset_of
from minion.run_folder import RunFolder, remove_abandoned
from minion.worker_process import WorkerLost, WorkerPlan, WorkerProcess

# A size is measured for this long, and within these numbers of runs; a run before them pays for what is set up lazily.
_SIZE_S: Final = 0.4
_LEAST_RUNS: Final = 3
_MOST_RUNS: Final = 50
# A size that took this long is not run again only to reach the least number.
_LONGEST_SIZE_S: Final = 10.0
# For one batch, where the manifest does not say when a worker hangs.
_BATCH_S: Final = 120.0
# Every size up to here, then two in each doubling.
_EVERY_SIZE: Final = 8


class BenchFailed(Exception):
    """The model could not be measured; the text says why."""


class NoMemory(Exception):
    """A batch found no memory."""


class Bench:
    """One worker, run alone with `items`: the pixels of one item each, repeated as needed to fill a batch, and lying where
    they would have been received."""

    def __init__(self, plan: WorkerPlan, items: list[bytes], batch_s: float) -> None:
        self._worker = WorkerProcess(plan, self._answered)
        self._pixels = [
            received(plan.arena, items[n % len(items)]) for n in range(plan.card["batching"]["max_size"])
        ]
        self._batch_s = batch_s
        self._answer: asyncio.Future[dict[str, Any]] | None = None
        self._batches = 0

    async def start(self) -> dict[str, Any]:
        """Load the model; what `loaded` says. Raises BenchFailed."""
        try:
            loaded = await self._worker.start()
        except WorkerLost as lost:
            raise BenchFailed(lost.problem) from None
        return {"seconds": loaded.seconds, "memory_bytes": peak_bytes(self._worker.pid or 0)}

    async def measure(self, n: int) -> dict[str, Any]:
        """Batches of `n` items; what `measured` says. Raises BenchFailed, or NoMemory."""
        began = time.monotonic()
        await self._run(n)
        seconds: list[float] = []
        measured_from = time.monotonic()
        while len(seconds) < _MOST_RUNS:
            seconds.append(await self._run(n))
            now = time.monotonic()
            enough = len(seconds) >= _LEAST_RUNS and now - measured_from >= _SIZE_S
            if enough or now - began >= _LONGEST_SIZE_S:
                break
        return {
            "n": n,
            "seconds": statistics.median(seconds),
            "worst_seconds": max(seconds),
            "runs": len(seconds),
            "memory_bytes": peak_bytes(self._worker.pid or 0),
        }

    async def close(self) -> None:
        """Stop the worker."""
        await self._worker.close()

    async def _run(self, n: int) -> float:
        """One batch; its seconds."""
        self._batches += 1
        pixels = self._pixels[:n]
        at = [offset_of(each) for each in pixels]
        answer = self._answer = asyncio.get_running_loop().create_future()
        ended = asyncio.ensure_future(self._worker.ended())
        started = time.monotonic()
        try:
            try:
                self._worker.run(self._batches, pixels, None, at=None if None in at else at)
            except ChannelLost:
                raise BenchFailed(f"a batch of {n}: {(await ended).problem}") from None
            await asyncio.wait({answer, ended}, timeout=self._batch_s, return_when=asyncio.FIRST_COMPLETED)
            seconds = time.monotonic() - started
            if not answer.done() and not ended.done():
                self._worker.end("hung", f"it was not answered within {self._batch_s:g} s")
                await ended
            if not answer.done():
                raise BenchFailed(f"a batch of {n}: {ended.result().problem}")
        finally:
            ended.cancel()
        failure = answer.result().get("error")
        if failure is None:
            return seconds
        problem = f"a batch of {n}: {failure.get('message')}"
        if failure.get("trouble") == "memory":
            raise NoMemory(problem)
        raise BenchFailed("\n".join(part for part in (problem, failure.get("traceback")) if part))

    def _answered(self, header: dict[str, Any], payload: Buffer) -> None:
        if self._answer is not None and not self._answer.done() and header["id"] == self._batches:
            self._answer.set_result(header)


def received(arena: Arena | None, item: bytes) -> Buffer:
    """An item's pixels, in the arena if there is room."""
    block = None if arena is None else arena.take(len(item))
    if block is None:
        return item
    block[:] = item
    return block


def ladder(max_size: int) -> list[int]:
    """The sizes to measure: 1, 2, … 8, then 12, 16, 24, 32, 48, … and `max_size`."""
    sizes = {n for n in range(1, _EVERY_SIZE + 1) if n <= max_size} | {max_size}
    size = _EVERY_SIZE
    while size < max_size:
        sizes |= {n for n in (size + size // 2, 2 * size) if n <= max_size}
        size *= 2
    return sorted(sizes)


def peak_bytes(pid: int) -> int:
    """The most resident memory that a process ever had; 0 when it is gone."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def items_of(manifest: Manifest, warmup: Path | None) -> list[bytes]:
    """The examples as the worker gets them; noise for an image model whose examples were not made into tensors."""
    card = manifest.card()
    spec = card["input"]
    if spec["kind"] == "image":
        width, height = spec["size"]
        shape, dtype = (height, width, CHANNELS[spec.get("colour", "rgb")]), np.dtype(np.uint8)
    else:
        shape, dtype = tuple(spec["shape"]), np.dtype(spec["dtype"]).newbyteorder("<")
    examples = read_examples(card, manifest.package_dir, None if warmup is None else str(warmup), shape)
    if not examples:
        examples = [np.random.default_rng(0).integers(0, 256, shape, np.uint8)]
    return [np.ascontiguousarray(example, dtype).tobytes() for example in examples]


async def bench(args: argparse.Namespace, manifest: Manifest) -> None:
    """Measure every size. Raises BenchFailed."""
    remove_abandoned()
    folder = RunFolder()
    try:
        plan = WorkerPlan(
            python=args.python,
            package_dir=manifest.package_dir,
            card=manifest.card(),
            light_ring=make_light_ring(folder.path / "light"),
            run_folder=folder.path,
            device=args.device,
            warmup=args.warmup,
            load_s=manifest.load_s,
            workers=manifest.workers,
            arena=arena_for(manifest.batching.max_size, manifest.input.item_bytes),
        )
        try:
            items = items_of(manifest, args.warmup)
        except (OSError, ValueError) as error:
            raise BenchFailed(f"the examples cannot be used: {error}") from None
        measuring = Bench(plan, items, manifest.watchdog_s or _BATCH_S)
        try:
            say("loaded", await measuring.start())
            for n in ladder(manifest.batching.max_size):
                try:
                    say("measured", await measuring.measure(n))
                except NoMemory as error:
                    if n == 1:
                        raise BenchFailed(str(error)) from None
                    say("stopped", {"n": n, "problem": str(error)})
                    break
        finally:
            await measuring.close()
    finally:
        folder.remove()


async def until_told(args: argparse.Namespace, manifest: Manifest) -> None:
    """Measure, and clean up on the first SIGINT or SIGTERM: a Ctrl-C brings both. Raises CancelledError then."""
    task = asyncio.current_task()
    assert task is not None
    told: list[int] = []

    def stop(number: int) -> None:
        if not told:
            task.cancel()
        told.append(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop, number)
    await bench(args, manifest)


def say(event: str, what: dict[str, Any]) -> None:
    """One line for whoever started us."""
    print(json.dumps({event: what}), flush=True)


def main() -> None:
    """Parse, measure, and say how it went."""
    parser = argparse.ArgumentParser(
        prog="python -m minion.bench", description="Measure batches of one model version."
    )
    parser.add_argument("--package", type=Path, required=True, help="folder of the model version")
    parser.add_argument("--python", type=Path, required=True, help="interpreter of the model's virtualenv")
    parser.add_argument("--warmup", type=Path, help=".npz with tensors to run")
    parser.add_argument("--device", default="cpu", help="cpu or cuda:N; default: cpu")
    parser.add_argument("--parent-pid", type=int, help="end when this parent process dies")
    args = parser.parse_args()
    if args.parent_pid is not None:
        die_with_parent(args.parent_pid)
    raise_malloc_thresholds()
    configure_logs("minion", "error", stream=sys.stderr)
    for name in ("package", "python", "warmup"):
        path = getattr(args, name)
        if path is not None:
            # not resolved: a virtualenv's interpreter is a link, and is recognised by where the link is
            setattr(args, name, path.absolute())
    try:
        asyncio.run(until_told(args, load_manifest(args.package)))
    except (BenchFailed, ManifestError) as error:
        say("failed", {"problem": str(error)})
        sys.exit(1)
    except (asyncio.CancelledError, KeyboardInterrupt):
        sys.exit(1)


if __name__ == "__main__":
    main()
