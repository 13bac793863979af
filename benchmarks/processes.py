"""P15: CPU per call of two coordinator processes on one port, against one process in the same run.

    .venv/bin/python -m benchmarks.processes [--rounds 9]

Both sides are real coordinators with the stubs of `benchmarks.fanout`, logs and metrics on: one alone, and two that share
the listening sockets and the folder of figures as `crema up` starts them. None is tied to a core: two processes are meant
for two cores, and on one they would pay for taking turns. A bare aiohttp server, alone and as two processes on one port, is
measured in the same run: what two of those cost more is the machine's.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import uvloop

from benchmarks.fanout import SMALL, call, child, coordinator, first_line, request_of, wait_ready
from benchmarks.measuring import cpu_seconds, interleaved, machine, spread, verdict
from crema.host.config import Address
from crema.host.metrics import SHARED_FOLDER_VARIABLE
from deploy.ports import listening

LOOPBACK = Address("127.0.0.1", 0)


@contextmanager
def two_coordinators(folder: Path, routing: Path) -> Iterator[tuple[list[int], int]]:
    """Two processes of one coordinator → (pids, public port)."""
    with ExitStack() as stack:
        public, operations = (stack.enter_context(listening(LOOPBACK)) for _ in range(2))
        figures = folder / "figures"
        figures.mkdir()
        pids = []
        for number in range(2):
            reading, writing = os.pipe()
            process = stack.enter_context(
                child(
                    "coordinator", "--routing", str(routing), "--announce-fd", str(writing),
                    "--parent-pid", str(os.getpid()),
                    "--listen-fd", str(public.fileno()), "--operations-fd", str(operations.fileno()),
                    pass_fds=(writing, public.fileno(), operations.fileno()),
                    env={**os.environ, SHARED_FOLDER_VARIABLE: str(figures)},
                    stderr=stack.enter_context((folder / f"log-{number}").open("w")),
                )
            )  # fmt: skip
            os.close(writing)
            with os.fdopen(reading) as pipe:
                json.loads(pipe.readline())
            pids.append(process.pid)
        yield pids, public.getsockname()[1]


@contextmanager
def bare_servers(number: int, answer_bytes: int) -> Iterator[tuple[list[int], int]]:
    """So many processes of a bare server on one port → (pids, port)."""
    with ExitStack() as stack:
        shared = stack.enter_context(listening(LOOPBACK))
        pids = []
        for _ in range(number):
            process = stack.enter_context(
                child(
                    "benchmarks.fanout", "--bare", str(answer_bytes), "--listen-fd", str(shared.fileno()),
                    pass_fds=(shared.fileno(),),
                )
            )  # fmt: skip
            first_line(process)
            pids.append(process.pid)
        yield pids, shared.getsockname()[1]


class Side:
    """What is measured: the processes behind one port."""

    def __init__(self, pids: list[int], port: int, request: bytes, count: int) -> None:
        self.pids = pids
        self.busier: list[float] = []
        """The busier process's share of the work, per round."""
        self._port = port
        self._request = request
        self._count = count

    def __call__(self) -> float:
        """CPU per call, in microseconds."""
        before = [cpu_seconds(pid) for pid in self.pids]
        uvloop.run(call(self._port, self._request, self._count))
        used = [cpu_seconds(pid) - was for pid, was in zip(self.pids, before, strict=True)]
        self.busier.append(max(used) / sum(used))
        return sum(used) / self._count * 1e6


def main() -> bool:
    """Print goal, figure, verdict."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--count", type=int, default=1000)
    args = parser.parse_args()
    print(f"P15 one coordinator process and two on one port, three models; {machine()}")
    request = request_of(SMALL)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        stubs = stack.enter_context(child("benchmarks.fanout", "--stubs", str(SMALL), "4", "4", "3"))
        alone, port = stack.enter_context(coordinator(folder, first_line(stubs), [4, 4]))
        pids, shared_port = stack.enter_context(two_coordinators(folder, folder / "routing.json"))
        for each in (port, shared_port):
            answer = uvloop.run(wait_ready(each, request))
        sides = [
            Side(of, at, request, args.count)
            for of, at in (
                ([alone], port),
                (pids, shared_port),
                stack.enter_context(bare_servers(1, len(answer))),
                stack.enter_context(bare_servers(2, len(answer))),
            )
        ]
        measured: list[Callable[[], float]] = [*sides]
        interleaved(measured, 2)
        for side in sides:
            side.busier.clear()
        single, double, bare, bare_double = interleaved(measured, args.rounds)
    print(
        f"      one {spread(single)} µs, two {spread(double)} µs; the busier of the two did {statistics.median(sides[1].busier):.0%}"
    )
    print(
        f"      bare aiohttp: one {spread(bare)} µs, two {spread(bare_double)} µs: "
        f"{statistics.median(bare_double) / statistics.median(bare):.2f}x; the busier did {statistics.median(sides[3].busier):.0%}"
    )
    ratio = statistics.median(double) / statistics.median(single)
    return verdict("P15 two coordinator processes: CPU per call over that of one", 1.1, ratio, "x")


if __name__ == "__main__":
    raise SystemExit(0 if main() else 1)
