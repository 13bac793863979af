"""A coordinator, a preprocessor and minions as real processes without a supervisor: a test writes the routing file.

Each photo carries its number in its pixels and each answer tells it, so that an answer that belongs to another request
is seen. What is started is stopped by its own pid.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from PIL import Image

from tests.coordinator.stub_tiers import model_row, version_row, write_routing

ROOT = Path(__file__).resolve().parents[2]

CARD = """\
crema: 1
name: {name}
version: "{version}"
summary: Tells the number that a photo carries
entrypoint: model:Toy
python: ">=3.11"
input: {{kind: image, size: [8, 8]}}
output: {{type: json, schema: {{type: object}}}}
batching: {{max_size: 8}}
slo: {{p99_ms: 2000}}
resources: {{device: cpu}}
examples:
  - {{image: examples/one.png, expect: examples/one.json}}
"""
DEADLY = 0xDEAD00
"""The number of a photo that ends the worker."""
MODEL = """
import ctypes, time
class Toy:
    def load(self, ctx):
        pass
    def predict(self, batch, params):
        time.sleep({sleep_s})
        numbers = [int(i[4, 4, 0]) << 16 | int(i[4, 4, 1]) << 8 | int(i[4, 4, 2]) for i in batch]
        if 0xDEAD00 in numbers:
            ctypes.string_at(0)
        return [{{"number": number, "version": "{version}"}} for number in numbers]
"""
SPEC = {"kind": "image", "size": [8, 8], "fit": "cover", "filter": "bilinear"}


def photo(number: int) -> bytes:
    """A picture of one colour: the number."""
    file = io.BytesIO()
    Image.new("RGB", (8, 8), (number >> 16, number >> 8 & 255, number & 255)).save(file, "PNG")
    return file.getvalue()


def card(model: str, version: str, summary: str) -> dict[str, Any]:
    """As the routing file has it."""
    return {
        "name": model, "version": version, "summary": summary, "input": SPEC, "output": {"type": "json"}, "params": {},
        "slo": {"p99_ms": 2000},
    }  # fmt: skip


@dataclass
class Started:
    """A process that has announced its ports."""

    process: subprocess.Popen[bytes]
    ports: dict[str, int]

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.ports['channel']}"

    def send(self, number: int) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@dataclass(frozen=True)
class Ended:
    """One call. `status` None: the connection broke."""

    number: int
    began: float
    seconds: float
    status: int | None
    body: dict[str, Any]


class SmallCluster:
    """Use `small_cluster`. `url` is the public API's."""

    def __init__(self, folder: Path) -> None:
        self.url = ""
        self.routing = folder / "routing.json"
        self.ended: list[Ended] = []
        self._folder = folder
        self._started: list[Started] = []
        self.preprocessor: Started
        self.coordinator: Started
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        self._revision = 0
        self._shown = ""
        self._number = 0

    async def open(self) -> None:
        self.preprocessor = await self._start(
            "preprocessor", "--channel", "127.0.0.1:0", "--http", "127.0.0.1:0", "--workers", "1"
        )
        self.route({})
        self.coordinator = await self._start(
            "coordinator", "--routing", str(self.routing), "--listen", "127.0.0.1:0", "--operations", "127.0.0.1:0",
            "--grace-s", "0",
        )  # fmt: skip
        self.url = f"http://127.0.0.1:{self.coordinator.ports['public']}"

    async def minion(self, model: str, version: str = "1.0", sleep_s: float = 0.02) -> Started:
        """A minion that is ready."""
        package = self._folder / f"{sleep_s}" / model / version
        if not package.exists():
            (package / "examples").mkdir(parents=True)
            (package / "model.yaml").write_text(CARD.format(name=model, version=version))
            (package / "model.py").write_text(MODEL.format(sleep_s=sleep_s, version=version))
            (package / "CHANGES.md").write_text(f"# {version}\n\nFirst.\n")
            (package / "requirements.in").write_text("")
            (package / "examples" / "one.png").write_bytes(photo(1))
            (package / "examples" / "one.json").write_text(json.dumps({"number": 1, "version": version}))
        started = await self._start(
            "minion", "--package", str(package), "--python", sys.executable, "--channel", "127.0.0.1:0",
            "--http", "127.0.0.1:0",
        )  # fmt: skip
        url = f"http://127.0.0.1:{started.ports['http']}/readyz"
        async with asyncio.timeout(30):
            while True:
                async with self._session.get(url) as answer:
                    if answer.status == 200:
                        return started
                await asyncio.sleep(0.02)

    async def restarts(self, minion: Started) -> int:
        """How many of its workers a minion has replaced."""
        async with self._session.get(f"http://127.0.0.1:{minion.ports['http']}/readyz") as answer:
            return int((await answer.json())["restarts"])

    def route(self, models: dict[str, dict[str, list[str]]], default: str | None = None) -> None:
        """Write the routing file: model → version → addresses."""
        self._revision += 1
        # told apart by what /v1/models shows of it
        self._shown = f"revision {self._revision}"
        rows = {
            model: model_row(
                default or next(iter(versions)),
                {
                    version: version_row(replicas, card(model, version, self._shown))
                    for version, replicas in versions.items()
                },
            )
            for model, versions in models.items()
        }
        write_routing(self.routing, rows, [self.preprocessor.address], [], self._revision)

    async def until_routed(self, model: str, version: str, replicas: int = 1) -> float:
        """Until the routing written last is in force with so many connected replicas; how long that took."""
        began = time.monotonic()
        async with asyncio.timeout(10):
            while True:
                async with self._session.get(f"{self.url}/v1/models/{model}") as answer:
                    shown = await answer.json()
                ready = [
                    each["ready"]
                    for each in shown.get("versions", [])
                    if (each["version"], each["summary"]) == (version, self._shown)
                ]
                if ready == [replicas]:
                    return time.monotonic() - began
                await asyncio.sleep(0.01)

    async def call(self, models: str, deadline_ms: int = 2000) -> Ended:
        """One call with a number of its own; kept in `ended`."""
        self._number += 1
        ended = await self.show(self._number, models, deadline_ms)
        self.ended.append(ended)
        return ended

    async def show(self, number: int, models: str, deadline_ms: int = 2000) -> Ended:
        """One call with a photo that carries this number."""
        began = time.monotonic()
        url = f"{self.url}/v1/analyze?models={models}&deadline_ms={deadline_ms}"
        status, body = None, {}
        try:
            async with self._session.post(url, data=photo(number)) as answer:
                body = await answer.json(content_type=None)
                status = answer.status
        except aiohttp.ClientError as error:
            body = {"error": repr(error)}
        return Ended(number, began, time.monotonic() - began, status, body)

    @contextlib.asynccontextmanager
    async def load(self, models: str, per_s: float, deadline_ms: int = 2000) -> AsyncIterator[None]:
        """Calls at a steady pace, whatever becomes of those before; all have ended afterwards."""
        calls: list[asyncio.Task[Ended]] = []

        async def run() -> None:
            due = time.monotonic()
            while True:
                calls.append(asyncio.create_task(self.call(models, deadline_ms)))
                due += 1 / per_s
                await asyncio.sleep(max(0.0, due - time.monotonic()))

        clock = asyncio.create_task(run())
        try:
            yield
        finally:
            clock.cancel()
            await asyncio.gather(clock, return_exceptions=True)
            async with asyncio.timeout(30):
                await asyncio.gather(*calls)

    def assert_ledger(self, allowed: frozenset[int] = frozenset({200})) -> None:
        """Every call has ended as allowed, and every output is that of its own photo and of the version that it names."""
        for each in self.ended:
            assert each.status in allowed, each
            for part in each.body.get("results", {}).values():
                if part["status"] == "ok":
                    assert part["output"] == {"number": each.number, "version": part["version"]}, each

    async def _start(self, tier: str, *arguments: str) -> Started:
        def start() -> Started:
            reading, writing = os.pipe()
            with (self._folder / f"{tier}.log").open("ab") as log:
                process = subprocess.Popen(
                    [sys.executable, "-m", tier, *arguments, "--parent-pid", str(os.getpid()),
                     "--announce-fd", str(writing)],
                    pass_fds=(writing,), cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                )  # fmt: skip
            os.close(writing)
            with os.fdopen(reading) as pipe:
                announced = pipe.readline()
            assert announced, (self._folder / f"{tier}.log").read_text()
            return Started(process, json.loads(announced))

        started = await asyncio.to_thread(start)
        self._started.append(started)
        return started

    async def close(self) -> None:
        await self._session.close()
        for each in reversed(self._started):
            each.kill()


@contextlib.asynccontextmanager
async def small_cluster(folder: Path) -> AsyncIterator[SmallCluster]:
    """A coordinator and a preprocessor that route nothing yet."""
    cluster = SmallCluster(folder)
    try:
        await cluster.open()
        yield cluster
    finally:
        await cluster.close()
