"""P1, P2: coordinator CPU per three-model call, against a bare aiohttp request of the same size in the same run.

    .venv/bin/python -m benchmarks.fanout [--rounds 15]

The coordinator is the real process, logs and metrics on, with a stub preprocessor and three stub minions behind the real
channel; the bare side is an aiohttp application that reads the body and answers as many bytes as the coordinator does.
Both run on uvloop with the allocator tuned (P3). The preparing hop is included: four upstream requests per call.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import uvloop
from aiohttp import web

from benchmarks.measuring import cpu_seconds, interleaved, machine, minor_faults, spread, verdict
from crema import wire
from crema.host.channel import Buffer, Channel
from crema.host.channel_server import ChannelServer
from crema.host.process import die_with_parent, raise_malloc_thresholds

CONNECTIONS = 32
SMALL = 120
LARGE = 150_528
MODELS = ("tags", "aesthetics", "captions")
OUTPUTS: dict[str, Any] = {
    "tags": {"tags": [{"name": f"tag {n}", "confidence": 0.9 - n / 100} for n in range(5)]},
    "aesthetics": {"score": 0.731},
    "captions": {"caption": {"text": "a boat on a lake at dusk", "confidence": 0.6}},
}
LOAD = {"pending": 1, "places": 64, "expected_wait_ms": 0.5}


class StubTier:
    """Answers every request at once: the cheapest peer there can be."""

    def __init__(self, role: Any, answer: dict[str, Any], payload: bytes = b"") -> None:
        self.server = ChannelServer(self, role, frozenset({"coordinator"}))
        self._answer = answer
        self._payload = payload

    def channel_opened(self, channel: Channel) -> None:
        pass

    def channel_closed(self, channel: Channel, error: Exception | None) -> None:
        pass

    def header_received(self, channel: Channel, header: dict[str, Any], payload_bytes: int) -> bool:
        return True

    def frame_received(self, channel: Channel, header: dict[str, Any], payload: Buffer) -> None:
        if header["kind"] != "cancel":
            channel.send(
                {"v": wire.WIRE_VERSION, "kind": "answer", "id": header["id"], **self._answer}, self._payload
            )


async def serve_stubs(size: int, extent: list[int]) -> None:
    """A preprocessor and three minions; prints their ports."""
    pixels = {"shape": extent, "dtype": "uint8"}
    image = {"format": "jpeg", "width": 640, "height": 480, "bytes": size}
    timing = {"queue_ms": 0.1, "decode_ms": 4.0}
    prepared = {"status": 200, "image": image, "tensors": [pixels], "timing": timing, "load": LOAD}
    tiers = [StubTier("preprocessor", prepared, bytes(extent[0] * extent[1] * extent[2]))]
    for model in MODELS:
        inferred = {"queue_ms": 0.4, "inference_ms": 12.0, "batch_size": 8}
        outcomes = [{"ok": OUTPUTS[model]}]
        answer = {
            "status": 200,
            "model": model,
            "version": "1.0",
            "outcomes": outcomes,
            "timing": inferred,
            "load": LOAD,
        }
        tiers.append(StubTier("minion", answer))
    print(json.dumps([await tier.server.start("127.0.0.1", 0) for tier in tiers]), flush=True)
    await asyncio.Event().wait()


async def serve_bare(answer_bytes: int, listening: socket.socket | None = None) -> None:
    """What the coordinator is compared with: read the body, answer the same number of bytes; prints its port."""

    async def handler(request: web.Request) -> web.Response:
        await request.read()
        return web.Response(body=b"x" * answer_bytes, content_type="application/json")

    app = web.Application(client_max_size=32 << 20)
    app.router.add_post("/v1/analyze", handler)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0) if listening is None else web.SockSite(runner, listening)
    await site.start()
    assert site._server is not None
    print(json.dumps([site._server.sockets[0].getsockname()[1]]), flush=True)  # type: ignore[attr-defined]
    await asyncio.Event().wait()


class Caller(asyncio.Protocol):
    """One keep-alive connection with one request in flight, from a shared allowance."""

    def __init__(self, request: bytes, allowance: list[int], done: asyncio.Future[None]) -> None:
        self._request = request
        self._allowance = allowance
        self._done = done
        self._buffer = b""
        self.answer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport

    def begin(self) -> None:
        """Send the next request, if any is left."""
        if self._allowance[0] > 0:
            self._allowance[0] -= 1
            self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head_end = self._buffer.find(b"\r\n\r\n")
        if head_end < 0:
            return
        head = self._buffer[:head_end].lower()
        mark = head.find(b"content-length: ") + 16
        length = int(head[mark:].split(b"\r\n", 1)[0])
        if len(self._buffer) < head_end + 4 + length:
            return
        if not head.startswith(b"http/1.1 200"):
            self._done.set_exception(AssertionError(self._buffer.decode(errors="replace")))
            return
        self.answer, self._buffer = self._buffer[head_end + 4 :], b""
        self._allowance[1] -= 1
        if self._allowance[1] == 0:
            self._done.set_result(None)
        self.begin()


async def call(port: int, request: bytes, count: int, connections: int = CONNECTIONS) -> bytes:
    """`count` requests over as many connections, one in flight on each; returns one answer's body."""
    loop = asyncio.get_running_loop()
    allowance = [count, count]
    done: asyncio.Future[None] = loop.create_future()
    pairs = [
        await loop.create_connection(lambda: Caller(request, allowance, done), "127.0.0.1", port)
        for _ in range(min(connections, count))
    ]
    for _, caller in pairs:
        caller.begin()
    await done
    for transport, _ in pairs:
        transport.close()
    return next(caller.answer for _, caller in pairs if caller.answer)


@contextmanager
def child(*arguments: str, **options: Any) -> Iterator[subprocess.Popen[str]]:
    """A process of ours that ends with this block."""
    process = subprocess.Popen(
        [sys.executable, "-m", *arguments], stdout=subprocess.PIPE, text=True, **options
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def first_line(process: subprocess.Popen[str]) -> Any:
    """What a child prints when it listens."""
    assert process.stdout is not None
    return json.loads(process.stdout.readline())


@contextmanager
def coordinator(
    folder: Path, ports: list[int], size: list[int], names: Sequence[str] = MODELS
) -> Iterator[tuple[int, int]]:
    """The real coordinator in front of a preprocessor and minions at `ports` → (pid, public port)."""
    card = {
        "input": {"kind": "image", "size": size, "fit": "cover", "filter": "bilinear"},
        "output": {"type": "json"},
        "params": {},
    }
    models = {}
    for model, port in zip(names, ports[1:], strict=True):
        row = {"replicas": [f"127.0.0.1:{port}"], "wanted": 1, "state": "ready", "card": card}
        models[model] = {"default": "1.0", "labels": {}, "versions": {"1.0": row}}
    routing = folder / "routing.json"
    routing.write_text(
        json.dumps(
            {
                "format": 1,
                "revision": 1,
                "default_models": list(names),
                "preprocessors": [f"127.0.0.1:{ports[0]}"],
                "models": models,
            }
        )
    )
    reading, writing = os.pipe()
    arguments = [
        "coordinator",
        "--routing",
        str(routing),
        "--listen",
        "127.0.0.1:0",
        "--operations",
        "127.0.0.1:0",
    ]
    arguments += ["--parent-pid", str(os.getpid()), "--announce-fd", str(writing)]
    with (folder / "log").open("w") as log, child(*arguments, pass_fds=(writing,), stderr=log) as process:
        os.close(writing)
        with os.fdopen(reading) as pipe:
            announced = json.loads(pipe.readline())
        yield process.pid, announced["public"]


def request_of(size: int, names: Sequence[str] = MODELS) -> bytes:
    """A raw photo of `size` bytes; the stubs never look at it."""
    body = b"\xff\xd8\xff\xe0" + bytes(size - 4)
    return (
        f"POST /v1/analyze?models={','.join(names)} HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n"
    ).encode() + body


def compare(size: int, extent: list[int], count: int, rounds: int) -> float:
    """The ratio of the coordinator's CPU per call to the bare request's, for photos and tensors of one size."""
    request = request_of(size)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        stubs = stack.enter_context(child("benchmarks.fanout", "--stubs", str(size), *map(str, extent)))
        pid, port = stack.enter_context(coordinator(folder, first_line(stubs), [extent[1], extent[0]]))
        answer = uvloop.run(wait_ready(port, request))
        bare = stack.enter_context(child("benchmarks.fanout", "--bare", str(len(answer))))
        [bare_port] = first_line(bare)
        keep_apart([pid, bare.pid], [os.getpid(), stubs.pid])

        def side(of_pid: int, of_port: int) -> float:
            before = cpu_seconds(of_pid)
            uvloop.run(call(of_port, request, count))
            return (cpu_seconds(of_pid) - before) / count * 1e6

        sides = [lambda: side(pid, port), lambda: side(bare.pid, bare_port)]
        interleaved(sides, 2)
        faults = minor_faults(pid)
        ours, plain = interleaved(sides, rounds)
        faults = minor_faults(pid) - faults
    print(
        f"      coordinator {spread(ours)} µs, bare {spread(plain)} µs; "
        f"{faults / count / rounds:.2f} page faults per call"
    )
    return statistics.median(ours) / statistics.median(plain)


def keep_apart(measured: list[int], others: list[int]) -> None:
    """Give what is measured a core that the load generator and the stubs do not disturb, where there are two."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) > 1:
        for pid in measured:
            os.sched_setaffinity(pid, cores[:1])
        for pid in others:
            os.sched_setaffinity(pid, cores[1:])


async def wait_ready(port: int, request: bytes) -> bytes:
    """The answer to the first call that succeeds."""
    for _ in range(100):
        try:
            return await call(port, request, 1)
        except AssertionError:
            await asyncio.sleep(0.05)
    raise SystemExit("the coordinator did not become ready")


def main() -> bool:
    """Print goal, figure, verdict."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--stubs", nargs=4, type=int, help=argparse.SUPPRESS)
    parser.add_argument("--bare", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--listen-fd", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.stubs or args.bare:
        die_with_parent(os.getppid())
        raise_malloc_thresholds()
        shared = None if args.listen_fd is None else socket.socket(fileno=args.listen_fd)
        uvloop.run(
            serve_stubs(args.stubs[0], args.stubs[1:]) if args.stubs else serve_bare(args.bare, shared)
        )
        return True
    cores = os.sched_getaffinity(0)
    print(f"P1, P2 fan-out to three models, {CONNECTIONS} calls in flight; {machine()}")
    small = compare(SMALL, [4, 4, 3], args.count, args.rounds)
    met = verdict("P1 coordinator CPU per call, small bodies, over a bare aiohttp request", 3.0, small, "x")
    os.sched_setaffinity(0, cores)
    large = compare(LARGE, [224, 224, 3], args.count // 2, args.rounds)
    return verdict("P2 the same with 150 KB in and 150 KB to each model", 3.5, large, "x") and met


if __name__ == "__main__":
    raise SystemExit(0 if main() else 1)
