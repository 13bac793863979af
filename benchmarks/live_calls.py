"""Calls to a small cluster at given moments, and what its answers say of their hops: the live side of the simulator."""

from __future__ import annotations

import asyncio
import io
import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from PIL import Image

from benchmarks.lean_caller import LeanCaller
from loadtest.figures import Kind, Outcomes
from tests.cluster.small_cluster import SmallCluster

SLO_MS: Final = 500.0
DEADLINE_MS: Final = 5000
SIZE: Final = 8
CONNECTIONS: Final = 128
# A round in which the sender itself came later than this (p99) was short of a core: its latencies are this machine's.
MOST_LATE_MS: Final = 2.0
MOST_ROUNDS: Final = 3


@dataclass(frozen=True)
class Setup:
    """A cluster: its models as (name, replicas), and what each takes for a batch."""

    name: str
    models: tuple[tuple[str, int], ...]
    sleep_s: float

    @property
    def capacity(self) -> float:
        """Calls a second of the narrowest model."""
        return min(replicas for _, replicas in self.models) * SIZE / self.sleep_s


@dataclass
class Measured:
    """What a run found at each hop, in milliseconds."""

    outcomes: Outcomes
    sent_before: int
    """Calls to the same cluster."""
    total_ms: list[float] = field(default_factory=list)
    outside_ms: list[float] = field(default_factory=list)
    preprocess_ms: list[float] = field(default_factory=list)
    hop_ms: list[float] = field(default_factory=list)
    batch_ms: dict[str, dict[int, list[float]]] = field(default_factory=dict)
    late_ms: float = 0.0


def photo() -> bytes:
    """A small JPEG: what is compared is queues, and this machine has to decode them all."""
    file = io.BytesIO()
    Image.effect_mandelbrot((64, 48), (-2, -1.5, 1, 1.5), 40).convert("RGB").save(file, "JPEG")
    return file.getvalue()


class LiveCalls:
    """Calls to all models of `setup` in a small cluster."""

    def __init__(self, cluster: SmallCluster, setup: Setup) -> None:
        self.setup = setup
        self.sent = 0
        """All that there were."""
        self._port = int(cluster.url.rpartition(":")[2])

    async def send(
        self, moments: Sequence[float], warm_up_s: float = 0.0, *, is_read: bool = False
    ) -> Measured:
        """Those due after `warm_up_s` are counted, and their answers read if that is wanted."""
        measured = Measured(Outcomes(SLO_MS / 1000), self.sent)
        self.sent += len(moments)

        def answered(due_at: float, status: int, body: bytes) -> None:
            seconds = caller.seconds_since(due_at)
            if due_at < warm_up_s:
                return
            kind: Kind = "ok" if status == 200 else "refused" if status == 429 else "failed"
            measured.outcomes.add(kind, seconds, "" if status == 200 else str(status))
            if is_read and status == 200:
                read(measured, json.loads(body), seconds * 1000)

        names = ",".join(name for name, _ in self.setup.models)
        path = f"/v1/analyze?models={names}&deadline_ms={DEADLINE_MS}&on_error=fail"
        caller = LeanCaller(self._port, path, photo(), answered)
        try:
            await caller.send(moments, CONNECTIONS)
        finally:
            caller.close()
        measured.late_ms = statistics.quantiles(caller.late_s, n=100)[98] * 1000
        return measured

    async def least_disturbed(self, moments: Sequence[float]) -> Measured:
        """The same calls again while the sender itself came late; the round in which it was least so."""
        rounds: list[Measured] = []
        for _ in range(MOST_ROUNDS):
            rounds.append(await self.send(moments, 1.0))
            if rounds[-1].late_ms <= MOST_LATE_MS:
                break
            # what was refused keeps replicas out for a moment
            await asyncio.sleep(2.0)
        return min(rounds, key=lambda each: each.late_ms)


def read(measured: Measured, body: dict[str, Any], seen_ms: float) -> None:
    """What an answer says of its hops."""
    timing = body["timing"]
    measured.total_ms.append(timing["total_ms"])
    measured.outside_ms.append(seen_ms - timing["total_ms"])
    measured.preprocess_ms.append(timing["preprocess_ms"])
    for part in body["results"].values():
        told = part["timing"]
        measured.hop_ms.append(told["total_ms"] - told["queue_ms"] - told["inference_ms"])
        sizes = measured.batch_ms.setdefault(part["model"], {})
        sizes.setdefault(told["batch_size"], []).append(told["inference_ms"])
