"""The tier around the decode: images per second on 1 and 2 cores, and the share of CPU that is not the decode.

    .venv/bin/python -m benchmarks.preprocess [--rounds 15] [--seconds 0.7] [--cores 1,2]

A real preprocessor over its channel, host included, on cores of its own, with as many decoders as it has cores; twice as many
callers on the other cores, where there are any. Bare decode = the same function on the same photo in as many processes on the same
cores (two threads of one core slow each other), with nothing around it, in CPU time (schedstat), measured before and after each turn
of the tier: the machine's speed drifts by more than the share within seconds. Share = what host and decoders use beyond the mean of
the two, of all that they use.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image, ImageFilter

from benchmarks.measuring import cpu_seconds, machine, spread, verdict
from crema.host.channel_client import ChannelClient
from crema.host.process import raise_malloc_thresholds

ROOT: Final = Path(__file__).resolve().parent.parent
SPEC: Final = {"size": [224, 224], "fit": "cover", "filter": "bilinear"}
SIZES: Final = ((640, 480), (1600, 1200))
CORES: Final = sorted(os.sched_getaffinity(0))
# of the tier's CPU, at 1600x1200
MOST_SHARE: Final = 0.10


def make_photo(size: tuple[int, int]) -> bytes:
    """A JPEG with detail like a photo's, about 2 bits per pixel."""
    rng = np.random.default_rng(1)
    noise = Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), np.uint8))
    base = Image.open(ROOT / "samples" / "rocket.jpg").convert("RGB").resize(size, Image.Resampling.LANCZOS)
    mixed = Image.blend(base, noise.filter(ImageFilter.GaussianBlur(1.2)), 0.25)
    kept = io.BytesIO()
    mixed.save(kept, "JPEG", quality=85)
    return kept.getvalue()


@contextmanager
def on_cores(count: int) -> Iterator[None]:
    """What is started within runs on the first `count` cores; this process afterwards on the others, if there are any."""
    os.sched_setaffinity(0, CORES[:count])
    try:
        yield
    finally:
        os.sched_setaffinity(0, CORES[count:] or CORES)


class BareDecode:
    """The decode alone, in as many processes as the tier has decoders, each with the tier's allocator."""

    def __init__(self, photo: bytes, seconds: float, processes: int) -> None:
        self._turns = [(photo, seconds)] * processes
        self._pool = multiprocessing.get_context("spawn").Pool(processes)
        self.cpu_s()

    def cpu_s(self) -> float:
        """CPU seconds of one decode, over one turn of `seconds`."""
        return statistics.mean(self._pool.starmap(_bare, self._turns, chunksize=1))

    def end(self) -> None:
        """End the processes and wait for them."""
        self._pool.terminate()
        self._pool.join()


def _bare(photo: bytes, seconds: float) -> float:
    from preprocessor.colour import Profiles
    from preprocessor.decode import decode
    from preprocessor.spec import parse_specs

    raise_malloc_thresholds()
    specs, profiles = parse_specs([SPEC], 1 << 26), Profiles()
    for _ in range(5):
        decode(photo, specs, profiles)
    count, start, ends = 0, cpu_seconds(os.getpid()), time.monotonic() + seconds
    while time.monotonic() < ends:
        decode(photo, specs, profiles)
        count += 1
    return (cpu_seconds(os.getpid()) - start) / count


@dataclass
class Tier:
    """One running preprocessor."""

    process: subprocess.Popen[bytes]
    client: ChannelClient
    decoders: list[int]

    def cpu_s(self) -> tuple[float, float]:
        """CPU seconds so far of the host, and of its decoders."""
        return cpu_seconds(self.process.pid), sum(map(cpu_seconds, self.decoders))


def spawn(workers: int) -> tuple[subprocess.Popen[bytes], dict[str, int]]:
    """A preprocessor on free ports, and these."""
    read, write = os.pipe()
    command = [sys.executable, "-m", "preprocessor", "--channel", "127.0.0.1:0", "--http", "127.0.0.1:0"]
    command += ["--workers", str(workers), "--log-level", "error"]
    command += ["--parent-pid", str(os.getpid()), "--announce-fd", str(write)]
    process = subprocess.Popen(command, cwd=ROOT, pass_fds=[write])
    os.close(write)
    with os.fdopen(read) as pipe:
        return process, json.loads(pipe.readline())


async def start_tier(workers: int) -> Tier:
    """A preprocessor, connected, all of its decoders ready."""
    process, ports = spawn(workers)
    client = ChannelClient(f"127.0.0.1:{ports['channel']}", "coordinator", "preprocessor")
    client.start()
    if not await client.wait_open(20):
        raise SystemExit(f"the preprocessor does not take connections: {client.last_error}")
    for _ in range(200):
        health = await _health(ports["http"])
        ready = [each["pid"] for each in health["workers"] if each["state"] == "ready"]
        if len(ready) == workers:
            return Tier(process, client, ready)
        await asyncio.sleep(0.05)
    raise SystemExit("the decoders did not become ready")


async def _health(port: int) -> dict[str, Any]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    answer = await reader.read()
    writer.close()
    told: dict[str, Any] = json.loads(answer.partition(b"\r\n\r\n")[2])
    return told


async def keep_busy(tier: Tier, photo: bytes, seconds: float) -> tuple[int, float]:
    """Photos answered and seconds passed, with two callers per decoder."""
    done, start = 0, time.monotonic()
    ends = start + seconds

    async def caller() -> None:
        nonlocal done
        while time.monotonic() < ends:
            answer, _ = await tier.client.call({"kind": "preprocess", "specs": [SPEC]}, photo)
            if answer["status"] != 200:
                raise SystemExit(f"{answer['status']}: {answer.get('error')}")
            done += 1

    await asyncio.gather(*(caller() for _ in range(2 * len(tier.decoders))))
    return done, time.monotonic() - start


async def measured(cores: int, size: tuple[int, int], rounds: int, seconds: float) -> float:
    """Print images/s and the CPU of each process; return the share that is not the decode."""
    photo = make_photo(size)
    with on_cores(cores):
        tier = await start_tier(cores)
        alone = BareDecode(photo, seconds, cores)
    rates, hosts, decoders, bares, shares = [], [], [], [], []
    try:
        await keep_busy(tier, photo, 0.5)
        earlier = alone.cpu_s()
        for _ in range(rounds):
            before = tier.cpu_s()
            done, took = await keep_busy(tier, photo, seconds)
            host, decoder = (now - then for now, then in zip(tier.cpu_s(), before, strict=True))
            later = alone.cpu_s()
            bare, earlier = (earlier + later) / 2, later
            rates.append(done / took)
            hosts.append(host / done * 1e3)
            decoders.append(decoder / done * 1e3)
            bares.append(bare * 1e3)
            shares.append(1 - bare * done / (host + decoder))
    finally:
        alone.end()
        await tier.client.close()
        tier.process.terminate()
        tier.process.wait(30)
    print(
        f"      {size[0]}x{size[1]}, {len(photo) // 1000} KB, {cores} core(s): {spread(rates)} images/s; CPU ms per image:"
        f" host {spread(hosts)}, decoder {spread(decoders)}, bare decode {spread(bares)}"
    )
    return statistics.median(shares)


def main() -> bool:
    """Print the table, goals, figures, verdicts; whether all are met."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=0.7, help="of load per round")
    parser.add_argument("--cores", default="1,2", help="how many the tier has, one run each; default: 1,2")
    args = parser.parse_args()
    print(f"the preprocessing tier around the decode; {machine()}")
    met = True
    for size in SIZES:
        for cores in map(int, args.cores.split(",")):
            share = asyncio.run(measured(cores, size, args.rounds, args.seconds))
            name = f"share of our own code, {size[0]}x{size[1]}, {cores} core(s)"
            if size == SIZES[1]:
                met &= verdict(name, MOST_SHARE, share)
            else:
                print(f"      {name}: {share:.3g} (no goal)")
    return met


if __name__ == "__main__":
    raise SystemExit(not main())
