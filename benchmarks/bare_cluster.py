"""The least that does W4's work, in as many processes: what the same calls cost on this machine with no policy at all.

One aiohttp server that asks a stub for the pixels and then three hosts at once, and merges; each host hands what waits to its
worker, one batch at a time. No deadlines, no gates, no versions, no retries, no checks, no metrics, no log.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import msgpack
import msgspec
import numpy as np
import uvloop
from aiohttp import web

from crema.host.process import die_with_parent, raise_malloc_thresholds

ITEM_BYTES: Final = 120
HOSTS: Final = ("one", "two", "three")
_PREFIX: Final = struct.Struct("<II")

OnFrame = Callable[["Frames", dict[str, Any], bytes], None]


def frame(header: dict[str, Any], payload: bytes = b"") -> bytes:
    """Lengths, a msgpack map, and bytes."""
    packed = msgpack.packb(header)
    return _PREFIX.pack(len(packed), len(payload)) + packed + payload


class Frames(asyncio.Protocol):
    """Both ends of every connection."""

    def __init__(self, on_frame: OnFrame) -> None:
        self._on_frame = on_frame
        self._kept = b""
        self.transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        data = self._kept + data
        position = 0
        while len(data) - position >= 8:
            header, payload = _PREFIX.unpack_from(data, position)
            end = position + 8 + header + payload
            if len(data) < end:
                break
            at = position + 8 + header
            self._on_frame(self, msgpack.unpackb(data[position + 8 : at]), data[at:end])
            position = end
        self._kept = data[position:]


async def serve_pixels(folder: Path) -> None:
    """Answers every frame with the pixels of a tiny photo."""

    def on_frame(peer: Frames, header: dict[str, Any], payload: bytes) -> None:
        peer.transport.write(frame({"id": header["id"]}, b"\x33" * ITEM_BYTES))

    await asyncio.get_running_loop().create_unix_server(lambda: Frames(on_frame), str(folder / "pixels"))
    await _ready()


async def serve_host(folder: Path, name: str) -> None:
    """Takes items; hands all that wait to its worker, whenever that is free."""
    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair()
    command = [sys.executable, "-m", "benchmarks.bare_cluster", "worker", str(folder), str(theirs.fileno())]
    worker = subprocess.Popen(command, pass_fds=[theirs.fileno()])  # noqa: ASYNC220 - before anything is served
    (folder / f"{name}.pid").write_text(str(worker.pid))
    theirs.close()
    waiting: list[tuple[Frames, int, bytes]] = []
    running: list[tuple[Frames, int, bytes]] = []
    is_due = False

    def pump() -> None:
        nonlocal is_due, running
        is_due = False
        if waiting and not running:
            running, waiting[:] = waiting[:32], waiting[32:]
            to_worker.transport.write(
                frame({"n": len(running)}, b"".join(pixels for _, _, pixels in running))
            )

    def on_item(peer: Frames, header: dict[str, Any], payload: bytes) -> None:
        nonlocal is_due
        waiting.append((peer, header["id"], payload))
        if not is_due:
            is_due = True
            loop.call_soon(pump)

    def on_outcomes(peer: Frames, header: dict[str, Any], payload: bytes) -> None:
        nonlocal running
        done, running = running, []
        pump()
        answers: dict[Frames, list[bytes]] = {}
        for (caller, key, _), output in zip(done, header["outputs"], strict=True):
            answers.setdefault(caller, []).append(frame({"id": key, "output": output}))
        for caller, frames in answers.items():
            caller.transport.write(b"".join(frames))

    to_worker = Frames(on_outcomes)
    await loop.create_unix_connection(lambda: to_worker, sock=ours)
    await loop.create_unix_server(lambda: Frames(on_item), str(folder / name))
    await _ready()


def serve_worker(descriptor: int) -> None:
    """Runs the echo model."""
    connection = socket.socket(fileno=descriptor)
    kept = b""
    while received := connection.recv(65536):
        kept += received
        while len(kept) >= 8:
            header, payload = _PREFIX.unpack_from(kept)
            at, end = 8 + header, 8 + header + payload
            if len(kept) < end:
                break
            batch = np.frombuffer(kept[at:end], np.uint8).reshape(-1, ITEM_BYTES)
            kept = kept[end:]
            connection.sendall(
                frame({"outputs": [{"score": number / 255} for number in batch[:, 0].tolist()]})
            )


async def serve_callers(folder: Path) -> None:
    """The public side: one photo in, three answers merged."""
    loop = asyncio.get_running_loop()
    waiting: dict[int, asyncio.Future[Any]] = {}
    last = 0

    def on_answer(peer: Frames, header: dict[str, Any], payload: bytes) -> None:
        waiting.pop(header["id"]).set_result(payload or header["output"])

    async def connected(name: str) -> Frames:
        _, peer = await loop.create_unix_connection(lambda: Frames(on_answer), str(folder / name))
        return peer

    pixels = await connected("pixels")
    hosts = [await connected(name) for name in HOSTS]

    def ask(peer: Frames, payload: bytes) -> asyncio.Future[Any]:
        nonlocal last
        last += 1
        answer = waiting[last] = loop.create_future()
        peer.transport.write(frame({"id": last, "shape": [8, 5, 3], "dtype": "uint8"}, payload))
        return answer

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        tensor = await ask(pixels, await request.read())
        asked = [ask(host, tensor) for host in hosts]
        merged = {name: await answer for name, answer in zip(HOSTS, asked, strict=True)}
        return web.Response(body=msgspec.json.encode({"results": merged}), content_type="application/json")

    server = await loop.create_server(web.Server(handler, access_log=None), "127.0.0.1", 0)
    await _ready(server.sockets[0].getsockname()[1])


async def _ready(port: int = 0) -> None:
    print(json.dumps({"port": port}), flush=True)
    await asyncio.Event().wait()


@contextmanager
def bare_cluster() -> Iterator[tuple[int, dict[str, list[int]]]]:
    """(port, the pids by tier) while it runs. The stub for pixels is not among them."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))

        def start(*what: str) -> tuple[int, int]:
            command = [sys.executable, "-m", "benchmarks.bare_cluster", what[0], str(folder), *what[1:]]
            process = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
            stack.callback(process.terminate)
            assert process.stdout is not None
            return int(json.loads(process.stdout.readline())["port"]), process.pid

        start("pixels")
        hosts = [start("host", name)[1] for name in HOSTS]
        workers = [int((folder / f"{name}.pid").read_text()) for name in HOSTS]
        port, pid = start("callers")
        yield port, {"coordinator": [pid], "hosts": hosts, "workers": workers}


def main() -> None:
    """One of its processes."""
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("role", choices=["pixels", "host", "worker", "callers"])
    arguments.add_argument("folder", type=Path)
    arguments.add_argument("which", nargs="?")
    args = arguments.parse_args()
    die_with_parent(os.getppid())
    raise_malloc_thresholds()
    if args.role == "worker":
        serve_worker(int(args.which))
    elif args.role == "host":
        uvloop.run(serve_host(args.folder, args.which))
    elif args.role == "pixels":
        uvloop.run(serve_pixels(args.folder))
    else:
        uvloop.run(serve_callers(args.folder))


if __name__ == "__main__":
    main()
