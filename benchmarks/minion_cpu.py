"""W1: CPU seconds of a minion (host + worker) per 1000 small requests, through its channel and through its HTTP door.

    .venv/bin/python -m benchmarks.minion_cpu [--requests 20000] [--rounds 3]

The echo toy (uint8[128] in, one number out), 64 in flight. Beside them, in the same run: a bare aiohttp server that
answers a POST of the same size. Channel and HTTP are two different jobs: each is held against its own goal and never
against the other.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp
import msgpack
import uvloop
from aiohttp import web

from benchmarks.measuring import cpu_seconds, machine, spread, verdict
from crema.host.channel_client import ChannelClient

ROOT = Path(__file__).resolve().parent.parent
IN_FLIGHT = 64
PIXELS = bytes(128)


async def in_turns(total: int, call: Callable[[], Awaitable[None]], callers: int = IN_FLIGHT) -> None:
    """`total` calls by `callers` callers, each waiting for its answer before the next call."""
    left = total

    async def caller() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            await call()

    await asyncio.gather(*(caller() for _ in range(callers)))


class Started:
    """A process of ours that announces its ports; stopped by `stop`."""

    def __init__(self, *argv: str) -> None:
        read_end, write_end = os.pipe()
        self.process = subprocess.Popen(
            [sys.executable, *argv, "--parent-pid", str(os.getpid()), "--announce-fd", str(write_end)],
            pass_fds=(write_end,),
            cwd=ROOT,
        )
        os.close(write_end)
        with os.fdopen(read_end) as pipe:
            self.ports: dict[str, int] = json.loads(pipe.readline())

    def stop(self) -> None:
        """End it and wait."""
        self.process.terminate()
        self.process.wait()


async def worker_pid(session: aiohttp.ClientSession, http: int) -> int:
    """The pid of the worker, once it is ready."""
    for _ in range(200):
        async with session.get(f"http://127.0.0.1:{http}/readyz") as answer:
            body = await answer.json()
        if body["ready"]:
            return int(body["workers"][0]["pid"])
        await asyncio.sleep(0.05)
    raise SystemExit("the echo model did not become ready")


async def through_channels(ports: list[str], requests: int, cpu: Callable[[], float]) -> float:
    """CPU seconds per 1000 requests, 64 in flight, spread over one connection per entry of `ports`."""
    clients = [ChannelClient(address, "coordinator", "minion") for address in ports]
    for client in clients:
        client.start()
        await client.wait_open(5)
    turn = 0

    async def call() -> None:
        nonlocal turn
        turn += 1
        header, _ = await clients[turn % len(clients)].call(
            {
                "kind": "infer",
                "items": [{"shape": [128], "dtype": "uint8", "params": {}}],
                "remaining_ms": 5000.0,
            },
            PIXELS,
        )
        if header["status"] != 200:
            raise SystemExit(f"refused: {header}")

    await in_turns(requests // 10, call)
    before = cpu()
    await in_turns(requests, call)
    spent = cpu() - before
    for client in clients:
        await client.close()
    return spent / requests * 1000


async def through_http(url: str, body: bytes, requests: int, cpu: Callable[[], float]) -> float:
    """CPU seconds per 1000 POSTs of `body`, 64 connections."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=IN_FLIGHT)) as session:

        async def call() -> None:
            async with session.post(url, data=body) as answer:
                await answer.read()
                if answer.status != 200:
                    raise SystemExit(f"refused: {answer.status}")

        await in_turns(requests // 10, call)
        before = cpu()
        await in_turns(requests, call)
        return (cpu() - before) / requests * 1000


async def serve_bare(announce_fd: int) -> None:
    """The bare aiohttp server: reads a body, answers 100 bytes."""

    async def echo(request: web.BaseRequest) -> web.StreamResponse:
        await request.read()
        return web.Response(body=b"x" * 100)

    loop = asyncio.get_running_loop()
    server = await loop.create_server(web.Server(echo, access_log=None), "127.0.0.1", 0)
    with os.fdopen(announce_fd, "w") as pipe:
        pipe.write(json.dumps({"http": server.sockets[0].getsockname()[1]}) + "\n")
    await server.serve_forever()


async def measure(requests: int, rounds: int) -> bool:
    """Run all rounds interleaved, print goals, figures, verdicts."""
    minion = Started(
        "-m", "minion", "--package", "tests/models/echo/1.0", "--python", sys.executable,
        "--channel", "127.0.0.1:0", "--http", "127.0.0.1:0", "--log-level", "warning",
    )  # fmt: skip
    bare = Started("-m", "benchmarks.minion_cpu", "--bare")
    rows: dict[str, list[float]] = {
        "channel, 1 connection": [],
        "channel, 64 connections": [],
        "door": [],
        "bare aiohttp": [],
    }
    try:
        async with aiohttp.ClientSession() as session:
            worker = await worker_pid(session, minion.ports["http"])

        def of_minion() -> float:
            return cpu_seconds(minion.process.pid) + cpu_seconds(worker)

        def of_bare() -> float:
            return cpu_seconds(bare.process.pid)

        address = f"127.0.0.1:{minion.ports['channel']}"
        door = f"http://127.0.0.1:{minion.ports['http']}/v1/infer"
        body = msgpack.packb({"items": [{"shape": [128], "dtype": "uint8", "data": PIXELS}]})
        for _ in range(rounds):
            rows["channel, 1 connection"].append(await through_channels([address], requests, of_minion))
            rows["channel, 64 connections"].append(
                await through_channels([address] * IN_FLIGHT, requests, of_minion)
            )
            rows["door"].append(await through_http(door, body, requests // 4, of_minion))
            rows["bare aiohttp"].append(
                await through_http(f"http://127.0.0.1:{bare.ports['http']}/", PIXELS, requests // 4, of_bare)
            )
        host_share = cpu_seconds(minion.process.pid) / of_minion()
    finally:
        minion.stop()
        bare.stop()
    print(f"W1 echo, CPU seconds per 1000 requests, {IN_FLIGHT} in flight, host + worker; {machine()}")
    for name, figures in rows.items():
        print(f"      {name:<24} {spread(figures)}")
    print(f"      the host's share of the minion's CPU: {host_share:.2f}")
    goals = (("channel, 1 connection", 0.05), ("channel, 64 connections", 0.05), ("door", 0.20))
    met = [verdict(f"W1 {name}", goal, statistics.median(rows[name]), " s") for name, goal in goals]
    return all(met)


def main() -> bool:
    """Parse, measure, print goal, figure, verdict."""
    parser = argparse.ArgumentParser(description="CPU seconds per 1000 small requests through a minion.")
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--bare", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--announce-fd", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--parent-pid", type=int, help=argparse.SUPPRESS)
    args, _ = parser.parse_known_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        if args.bare:
            runner.run(serve_bare(args.announce_fd))
            return True
        return runner.run(measure(args.requests, args.rounds))


if __name__ == "__main__":
    raise SystemExit(not main())
