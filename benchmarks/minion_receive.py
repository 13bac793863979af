"""P4: CPU of a minion (host + worker) per 150 KB tensor, from its channel into the batch array, beside a bare framed receive.

    .venv/bin/python -m benchmarks.minion_receive [--requests 3000] [--rounds 7]

Both sides get the same frames over TCP from the same client, 32 in flight, in turn. The bare side is a process with one
`asyncio.BufferedProtocol` on uvloop, allocator tuned, that receives each payload into one preallocated buffer and answers eight
bytes. The minion's side is everything that a request costs it: header, gate, batch, the worker's copy, outcome, answer.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import struct
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

import uvloop

from benchmarks.measuring import cpu_seconds, machine, minor_faults, spread, verdict
from benchmarks.minion_cpu import Started, worker_pid
from benchmarks.wide_package import ITEM_BYTES, SHAPE, write_wide_package
from crema import wire
from crema.host.process import raise_malloc_thresholds

GOAL: Final = 2.5
IN_FLIGHT: Final = 32
PIXELS: Final = bytes([7]) + bytes(ITEM_BYTES - 1)


class Bare(asyncio.BufferedProtocol):
    """The least that receives frames: prefix and header into a small buffer, the payload into one preallocated buffer."""

    def __init__(self) -> None:
        self._head = memoryview(bytearray(4096))
        self._payload = memoryview(bytearray(ITEM_BYTES))
        self._filled = self._received = 0
        self._in_payload = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport

    def get_buffer(self, sizehint: int) -> memoryview:
        if self._in_payload:
            return self._payload[self._received :]
        if self._filled < 8:
            return self._head[self._filled : 8]
        header_bytes = wire.PREFIX.unpack_from(self._head)[0]
        return self._head[self._filled : 8 + header_bytes]

    def buffer_updated(self, nbytes: int) -> None:
        if self._in_payload:
            self._received += nbytes
            if self._received == ITEM_BYTES:
                self._in_payload = False
                self._filled = self._received = 0
                self._transport.write(b"answered")
            return
        self._filled += nbytes
        if self._filled >= 8 and self._filled == 8 + wire.PREFIX.unpack_from(self._head)[0]:
            self._in_payload = True


class Caller(asyncio.BufferedProtocol):
    """Sends `count` frames, 32 in flight. `is_framed`: whether answers are frames without payload, or eight bytes each."""

    def __init__(self, count: int, *, is_framed: bool) -> None:
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._left_to_send = count
        self._left = count + (1 if is_framed else 0)  # the minion's hello
        self._is_framed = is_framed
        self._buffer = memoryview(bytearray(256 * 1024))
        self._filled = 0
        self._id = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport
        if self._is_framed:
            self._transport.write(wire.encode_header(wire.hello("coordinator")))
        for _ in range(IN_FLIGHT):
            self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(exc or ConnectionError("closed"))

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer[self._filled :]

    def buffer_updated(self, nbytes: int) -> None:
        self._filled += nbytes
        position = 0
        while self._filled - position >= 8:
            size = 8
            if self._is_framed:
                header_bytes, payload_bytes = struct.unpack_from("<II", self._buffer, position)
                size += header_bytes + payload_bytes
            if self._filled - position < size:
                break
            if self._is_framed and b"retry_after" in bytes(self._buffer[position : position + size]):
                raise SystemExit("the minion refused a request")
            position += size
            self._left -= 1
            if not self._left:
                self.done.set_result(None)
                self._transport.close()
                return
            if self._left_to_send:
                self._send()
        self._buffer[: self._filled - position] = self._buffer[position : self._filled].tobytes()
        self._filled -= position

    def _send(self) -> None:
        if not self._left_to_send:
            return
        self._left_to_send -= 1
        self._id += 1
        header = {
            "v": wire.WIRE_VERSION,
            "kind": "infer",
            "id": self._id,
            "items": [{"shape": SHAPE, "dtype": "uint8", "params": {}}],
            "remaining_ms": 5000.0,
        }
        self._transport.writelines([wire.encode_header(header, ITEM_BYTES), PIXELS])


async def send(port: int, count: int, *, is_framed: bool) -> None:
    """`count` tensors, each answered."""
    loop = asyncio.get_running_loop()
    _, caller = await loop.create_connection(lambda: Caller(count, is_framed=is_framed), "127.0.0.1", port)
    await caller.done


async def serve_bare(announce_fd: int) -> None:
    """The bare side."""
    server = await asyncio.get_running_loop().create_server(Bare, "127.0.0.1", 0)
    with os.fdopen(announce_fd, "w") as pipe:
        pipe.write(f'{{"channel": {server.sockets[0].getsockname()[1]}}}\n')
    await server.serve_forever()


async def measure(requests: int, rounds: int, package: Path) -> bool:
    """Both sides in turn."""
    import aiohttp

    minion = Started(
        "-m", "minion", "--package", str(package), "--python", sys.executable,
        "--channel", "127.0.0.1:0", "--http", "127.0.0.1:0", "--log-level", "warning",
    )  # fmt: skip
    bare = Started("-m", "benchmarks.minion_receive", "--bare")
    try:
        async with aiohttp.ClientSession() as session:
            worker = await worker_pid(session, minion.ports["http"])
        host = minion.process.pid

        async def side(port: int, pids: list[int], *, is_framed: bool) -> list[float]:
            before = [cpu_seconds(pid) for pid in pids]
            await send(port, requests, is_framed=is_framed)
            return [(cpu_seconds(pid) - was) / requests * 1e6 for pid, was in zip(pids, before, strict=True)]

        async def ours() -> list[float]:
            return await side(minion.ports["channel"], [host, worker], is_framed=True)

        async def plain() -> list[float]:
            return await side(bare.ports["channel"], [bare.process.pid], is_framed=False)

        await ours()
        await plain()
        faults = minor_faults(host) + minor_faults(worker)
        rows = [(await ours(), await plain()) for _ in range(rounds)]
        faults = minor_faults(host) + minor_faults(worker) - faults
    finally:
        minion.stop()
        bare.stop()
    hosts, workers, bares = (
        [row[0][0] for row in rows],
        [row[0][1] for row in rows],
        [row[1][0] for row in rows],
    )
    both = [sum(row[0]) for row in rows]
    print(f"P4 CPU per 150 KB tensor into the batch array, {IN_FLIGHT} in flight; {machine()}")
    print(
        f"      minion {spread(both)} µs: host {spread(hosts)}, worker {spread(workers)}; bare {spread(bares)} µs"
    )
    print(f"      {faults / requests / rounds:.2f} page faults per tensor")
    ratio = statistics.median(both) / statistics.median(bares)
    return verdict("P4 host and worker over a bare framed receive", GOAL, ratio, "x")


def main() -> bool:
    """Parse, measure, print goal, figure, verdict."""
    parser = argparse.ArgumentParser(description="CPU of a minion per received 150 KB tensor.")
    parser.add_argument("--requests", type=int, default=3000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--bare", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--announce-fd", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--parent-pid", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    raise_malloc_thresholds()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        if args.bare:
            runner.run(serve_bare(args.announce_fd))
            return True
        with tempfile.TemporaryDirectory() as folder:
            return runner.run(measure(args.requests, args.rounds, write_wide_package(Path(folder))))


if __name__ == "__main__":
    raise SystemExit(not main())
