"""Memory: what 100,000 requests leave behind in a minion's host and worker, after a warm-up; and whether a leak would show.

    .venv/bin/python -m benchmarks.memory_growth [--requests 100000]

Small tensors through the channel, 64 in flight, with every twentieth request refused on purpose; then 150 KB tensors. Beside them, as a
negative control, the same with a model that keeps 1 KB per request: a check that does not catch it proves nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import tempfile
from pathlib import Path
from typing import Any, Final

import uvloop

from benchmarks.measuring import machine, verdict
from benchmarks.wide_package import ITEM_BYTES, SHAPE, write_wide_package
from crema.host.channel import Buffer
from tests.cluster.running_minion import RunningMinion, running_minion

MOST_MB: Final = 50.0
IN_FLIGHT: Final = 64
# As many as a busy replica has served before anybody looks; caches and the allocator's arenas have their size by then.
WARM_UP: Final = 10_000
PLAIN, DRIP = 7, 242
SMALL: Final[dict[str, Any]] = {"shape": [128], "dtype": "uint8"}
WIDE: Final[dict[str, Any]] = {"shape": SHAPE, "dtype": "uint8"}
WRONG: Final[dict[str, Any]] = {"shape": [127], "dtype": "uint8"}


async def send(
    minion: RunningMinion, count: int, item: dict[str, Any], pixels: bytes, *, wrong: int = 0
) -> None:
    """`count` requests of one item, 64 in flight; every `wrong`-th is refused. Raises AssertionError at a wrong answer."""
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    sent = answered = 0
    expected = [{"ok": pixels[0]}]

    def one_more() -> None:
        nonlocal sent
        sent += 1
        is_wrong = wrong and sent % wrong == 0
        header = {"kind": "infer", "items": [WRONG if is_wrong else item], "remaining_ms": 5000.0}
        minion.channel.submit(header, (pixels,), on_answer)

    def on_answer(header: dict[str, Any] | None, payload: Buffer, error: Exception | None) -> None:
        nonlocal answered
        answered += 1
        if header is None or not (header.get("outcomes") == expected or header["status"] == 400):
            if not done.done():
                done.set_exception(AssertionError(f"not answered as it should be: {header or error}"))
        elif sent < count:
            one_more()
        elif answered == count:
            done.set_result(None)

    for _ in range(min(IN_FLIGHT, count)):
        one_more()
    await done


def resident_bytes(pid: int) -> int:
    """Resident memory of a process, files mapped into it included."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()


async def growth_mb(
    toy: str, requests: int, item: dict[str, Any], pixels: bytes, *, wrong: int = 0, warm_up: int = WARM_UP
) -> tuple[float, float]:
    """MiB by which host and worker have grown over `requests` requests, after `warm_up` of them."""
    async with running_minion(toy, "--log-level", "warning") as minion:
        await send(minion, warm_up, item, pixels, wrong=wrong)
        pids = minion.process.pid, await minion.worker_pid()
        before = [resident_bytes(pid) for pid in pids]
        await send(minion, requests, item, pixels, wrong=wrong)
        assert await minion.worker_pid() == pids[1], "the worker was replaced meanwhile"
        host, worker = (resident_bytes(pid) - size for pid, size in zip(pids, before, strict=True))
    return host / 2**20, worker / 2**20


async def measure(requests: int) -> bool:
    """All three, one after the other."""
    small = await growth_mb("chaos", requests, SMALL, bytes([PLAIN]) + bytes(127), wrong=20)
    with tempfile.TemporaryDirectory() as folder:
        # a path from the root replaces the toys' folder
        toy = str(write_wide_package(Path(folder)).parent)
        wide = await growth_mb(toy, requests // 5, WIDE, bytes([PLAIN]) + bytes(ITEM_BYTES - 1), warm_up=2000)
    leaky = await growth_mb("chaos", requests, SMALL, bytes([DRIP]) + bytes(127))
    print(f"memory after {requests} small requests, and after {requests // 5} of 150 KB; {machine()}")
    for name, (host, worker) in (("small", small), ("150 KB", wide), ("leaky toy", leaky)):
        print(f"      {name:<10} host {host:+.1f} MiB, worker {worker:+.1f} MiB")
    met = verdict("growth of host and worker, small tensors", MOST_MB, sum(small), " MiB")
    met &= verdict("growth of host and worker, 150 KB tensors", MOST_MB, sum(wide), " MiB")
    return (
        verdict(
            "growth with a leak of 1 KB per request, which must show",
            MOST_MB,
            sum(leaky),
            " MiB",
            at_least=True,
        )
        and met
    )


def main() -> bool:
    """Parse, measure, print goal, figure, verdict."""
    parser = argparse.ArgumentParser(description="What many requests leave behind in a minion's memory.")
    parser.add_argument("--requests", type=int, default=100_000)
    args = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(measure(args.requests))


if __name__ == "__main__":
    raise SystemExit(not main())
