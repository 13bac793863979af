"""A dispatcher around a worker that is only a list of what it was handed, with a clock that tests turn."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, cast

import msgpack

from crema.errors import CremaError
from crema.host.channel import Buffer
from crema.host.channel_lost import ChannelLost
from crema.host.metrics import Metrics
from crema.outcomes import OutcomePacker
from minion.arena import Arena
from minion.batcher import Batcher
from minion.cost_curve import CostCurve
from minion.dispatcher import Dispatcher
from minion.gate import Gate
from minion.meters import Meters
from minion.request import Done, Item, Request, RequestReader
from minion.state import Life
from minion.worker_process import Loaded, WorkerLost, WorkerProcess
from tests.minion.cards import tensor_card

PLACES, MAX_SIZE, SLO_S = 8, 4, 0.5
ITEM = {"shape": [4], "dtype": "uint8"}
RAISED = {"code": "model_failed", "kind": "ValueError", "message": "ValueError: no", "traceback": "…"}
NUMBER = OutcomePacker({"type": "json", "schema": True})


class FakeWorker:
    """Keeps the batches it is given: (id, pixels, params)."""

    def __init__(self) -> None:
        self.batches: list[tuple[int, list[bytes], list[dict[str, Any]] | None]] = []
        self.until: list[list[float | None] | None] = []
        self.at: list[list[int | None] | None] = []
        self.skipped: list[tuple[int, list[int]]] = []
        self.is_lost = False
        self.is_killed = False
        self.ended_for: list[str] = []

    def run(
        self,
        batch_id: int,
        pixels: Sequence[Buffer],
        params: list[dict[str, Any]] | None,
        until: list[float | None] | None = None,
        at: list[int | None] | None = None,
    ) -> None:
        self.batches.append((batch_id, [bytes(each) for each in pixels], params))
        self.until.append(until)
        self.at.append(at)
        if self.is_lost:
            raise ChannelLost("gone")

    def skip(self, batch_id: int, indexes: list[int]) -> None:
        self.skipped.append((batch_id, indexes))

    def kill(self) -> None:
        self.is_killed = True

    def end(self, reason: str, problem: str) -> None:
        self.ended_for.append(reason)


class Rig:
    """A dispatcher and everything around it."""

    def __init__(self, in_flight: int = 1) -> None:
        self.now = 1000.0
        self.life = Life()
        self.curve = CostCurve(MAX_SIZE, SLO_S)
        self.gate = Gate(PLACES, SLO_S, self.curve)
        self.metrics = Metrics()
        self.batcher: Batcher[Item] = Batcher()
        self.served = 0
        self.dispatcher = Dispatcher(
            self.life,
            self.gate,
            self.batcher,
            self.curve,
            Meters(self.metrics, "toy", "1.0"),
            slo_s=SLO_S,
            served=self._count_served,
            in_flight=in_flight,
            now=lambda: self.now,
        )
        self.worker = FakeWorker()
        self.arena: Arena | None = None
        self.answers: dict[int, tuple[list[Any], Done]] = {}
        self._reader = RequestReader(tensor_card(params={"words": {"type": "integer", "default": 1}}))
        self._next = 0

    def _count_served(self, worker: WorkerProcess) -> None:
        self.served += 1

    def answer(self, request: Request, done: Done) -> None:
        assert request.key not in self.answers, "answered twice"
        self.answers[request.key] = ([msgpack.unpackb(each) for each in request.outcomes], done)

    def flush(self) -> None:
        pass

    def ready(self, curve: tuple[tuple[int, float], ...] = (), **more: Any) -> None:
        self.worker = FakeWorker()
        self.dispatcher.worker_ready(cast(WorkerProcess, self.worker), Loaded(0.5, curve, **more))

    def lose(self, *, ready_in: float = 0.2, was_ready: bool = True) -> None:
        lost = WorkerLost("crashed", "the worker died: it was killed by SIGKILL")
        self.dispatcher.worker_lost(lost, was_ready, self.now + ready_in)

    def ask(self, n: int = 1, **message: Any) -> Request | CremaError:
        """Admit and submit a request whose pixels say its number."""
        self._next += 1
        request = self._reader.read({"items": [ITEM] * n, **message}, self, self._next, self.now)
        error = self.dispatcher.admit(request)
        if error is not None:
            return error
        request.take_pixels(self._received(bytes([self._next]) * 4 * n))
        self.dispatcher.submit(request)
        return request

    def asked(self, n: int = 1, **message: Any) -> Request:
        request = self.ask(n, **message)
        assert isinstance(request, Request)
        return request

    def ask_for(self, *numbers: int) -> Request:
        """Admit and submit a request with an item for each number, whose pixels say that number."""
        self._next += 1
        request = self._reader.read({"items": [ITEM] * len(numbers)}, self, self._next, self.now)
        assert self.dispatcher.admit(request) is None
        request.take_pixels(self._received(b"".join(bytes([number]) * 4 for number in numbers)))
        self.dispatcher.submit(request)
        return request

    def _received(self, pixels: bytes) -> Buffer:
        block = None if self.arena is None else self.arena.take(len(pixels))
        if block is None:
            return pixels
        block[:] = pixels
        return block

    def finish(
        self,
        after_s: float = 0.02,
        *,
        batch: int = -1,
        skipped: Sequence[int] = (),
        gpu_memory: Any = None,
        **error: Any,
    ) -> None:
        """The worker answers its newest batch (or another): the first byte of each item that it did not skip, or an error."""
        self.now += after_s
        batch_id, pixels, _ = self.worker.batches[batch]
        if error:
            self.dispatcher.worker_answered({"id": batch_id, "error": error}, b"")
            return
        outcomes = [NUMBER.pack(each[0]) for index, each in enumerate(pixels) if index not in skipped]
        header: dict[str, Any] = {"id": batch_id, "sizes": [len(each) for each in outcomes]}
        if gpu_memory is not None:
            header["gpu_memory"] = gpu_memory
        if skipped:
            header["skipped"] = list(skipped)
        self.dispatcher.worker_answered(header, b"".join(outcomes))

    def work(self, guilty: Sequence[int] = (), *, trouble: str | None = None, most: int = MAX_SIZE) -> int:
        """The worker answers until it has nothing more to do; returns how many batches that were.

        A batch raises when it holds an item of a guilty number, or more than `most` items.
        """
        runs = 0
        while runs < len(self.worker.batches) and runs < 1000:
            runs += 1
            pixels = self.worker.batches[-1][1]
            if len(pixels) > most or any(each[0] in guilty for each in pixels):
                error = {**RAISED, "trouble": trouble} if trouble else RAISED
                self.finish(**error)
            else:
                self.finish()
        self.worker.batches.clear()
        return runs

    def value(self, name: str, **labels: str) -> float:
        bound = {"tier": "minion", "model": "toy", "version": "1.0", **labels}
        self.dispatcher.refresh()
        return self.metrics.registry.get_sample_value(f"crema_{name}", bound) or 0.0


async def turn() -> None:
    """Let what is due at the end of this turn of the loop happen."""
    await asyncio.sleep(0)
