"""A worker in a thread and its host's end of the socket; and packages of a few lines."""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgpack

from crema import wire
from crema.host.manifest import load_manifest
from crema.link import Link
from crema.shared_pixels import SharedPixels
from crema.worker_loop import Worker

TOYS = Path(__file__).parent.parent / "models"


class Host:
    """The host's end of a worker that runs in a thread."""

    def __init__(self, toy: str = "echo", *, shared: SharedPixels | None = None, **more: Any) -> None:
        ours, theirs = socket.socketpair()
        ours.settimeout(20)
        self.link = Link(ours)
        self.socket = ours
        self.worker = Worker(Link(theirs), shared)
        self.thread = threading.Thread(target=self._serve, args=(theirs,))
        self.thread.start()
        assert self.link.read_header() == (wire.hello("worker"), 0)
        self.link.send(wire.hello("minion"))
        package = TOYS / toy / "1.0"
        header = {"v": 1, "kind": "load", "id": 0, "package": str(package), "device": "cpu", **more}
        self.link.send(header, msgpack.packb(load_manifest(package).card()))
        self.loaded = self.answer()[0]

    def _serve(self, theirs: socket.socket) -> None:
        try:
            self.worker.serve()
        except (EOFError, wire.WireError):
            pass
        finally:
            theirs.close()

    def answer(self) -> tuple[dict[str, Any], list[Any]]:
        """The next answer and its outcomes."""
        header, size = self.link.read_header()
        payload = bytearray(size)
        self.link.read_into(memoryview(payload))
        outcomes, end = [], 0
        for each in header.get("sizes", []):
            outcomes.append(msgpack.unpackb(payload[end : end + each]))
            end += each
        return header, outcomes

    def run(self, *first_bytes: int, params: Any = None) -> tuple[dict[str, Any], list[Any]]:
        """A batch of items that begin with these bytes."""
        self.send(*first_bytes, params=params)
        return self.answer()

    def send(self, *first_bytes: int, params: Any = None, batch: int = 1, **more: Any) -> None:
        """Only hand it over."""
        if params is not None:
            self.link.send({"v": 1, "kind": "params", "id": batch}, msgpack.packb(params))
        pixels = b"".join(bytes([first]) + bytes(127) for first in first_bytes)
        self.link.send({"v": 1, "kind": "run", "id": batch, "n": len(first_bytes), **more}, pixels)

    def run_at(self, at: Any, *first_bytes: int, n: int | None = None, **more: Any) -> None:
        """Hand over a batch of which only the items that begin with these bytes come with the frame."""
        pixels = b"".join(bytes([first]) + bytes(127) for first in first_bytes)
        n = len(at) if n is None else n
        self.link.send({"v": 1, "kind": "run", "id": 1, "n": n, "at": at, **more}, pixels)

    def skip(self, batch: int, *indexes: int) -> None:
        self.link.send({"v": 1, "kind": "skip", "id": batch, "items": list(indexes)})

    def close(self) -> None:
        self.socket.close()
        self.thread.join(20)
        assert not self.thread.is_alive()


def start(hosts: list[Host], toy: str = "echo", **more: Any) -> Host:
    host = Host(toy, **more)
    hosts.append(host)
    return host


@contextmanager
def modules_forgotten(*names: str) -> Iterator[None]:
    """Every package calls its module `model`: what is imported meanwhile does not stay."""
    path = list(sys.path)
    yield
    sys.path[:] = path
    for name in names:
        sys.modules.pop(name, None)


@contextmanager
def hosts_closed() -> Iterator[list[Host]]:
    """A list for hosts, which are closed with this."""
    started: list[Host] = []
    yield started
    for host in started:
        host.close()


def write_model(folder: Path, predict: str, *, load: str = "pass") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "model.py").write_text(
        f"class Toy:\n    def load(self, ctx):\n        {load}\n    def predict(self, batch, params):\n        {predict}\n"
    )
    return folder


def card(**more: Any) -> dict[str, Any]:
    return {
        "entrypoint": "model:Toy",
        "input": {"kind": "tensor", "shape": [4], "dtype": "uint8"},
        "output": {"type": "json", "schema": True},
        "params": {},
        "batching": {"max_size": 4},
        "examples": [],
        **more,
    }
