"""The coordinator's table of contents: what it listens on, which parts it is made of, how it starts and drains."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Any, Final

import structlog

from coordinator.api_v1 import ApiV1
from coordinator.description import description_routes
from coordinator.directory import Directory
from coordinator.fanout import Ways
from coordinator.gate import Gate
from coordinator.journal import Journal
from coordinator.version_figures import figures_route
from coordinator.visit import TIER, Observer
from crema.host.metrics import Metrics
from crema.host.service import Route, Service, health_routes, metrics_route

DRAIN_S: Final = 25.0
EXIT_WITHIN_S: Final = 29.0
# A coordinator nobody has called for this long has nobody to keep waiting for when it stops.
QUIET_S: Final = 10.0

log = structlog.get_logger(__name__)


class App:
    """One coordinator. Building it starts nothing: `start()`, then `drain()`."""

    def __init__(
        self,
        routing: Path,
        *,
        token: str | None = None,
        journal: Journal | None = None,
        can_fetch: bool = False,
    ) -> None:
        self.directory = Directory(routing, token=token)
        self.ways = Ways(self.directory)
        self.gate = Gate()
        self.metrics = Metrics()
        self.journal = Journal(TIER) if journal is None else journal
        self.is_draining = False
        self._follower: asyncio.Task[None] | None = None
        self.observer = Observer(self.metrics, self.journal, self.gate)
        self.api = ApiV1(self.ways, self.gate, self.observer, can_fetch=can_fetch)
        self.public = Service(self.public_routes(), cancels_handlers=True)
        self.operations = Service(self.operations_routes())

    def public_routes(self) -> list[Route]:
        """What callers reach. Nothing of operations is among it."""
        return [*self.api.routes, *health_routes(self.readiness), *description_routes()]

    def operations_routes(self) -> list[Route]:
        """What operators reach."""
        return [
            metrics_route(self.metrics, self._refresh_metrics),
            figures_route(self.observer.figures),
            *health_routes(self.readiness),
        ]

    async def start(
        self, listen: tuple[str, int], operations: tuple[str, int], *, reuse_port: bool = False
    ) -> dict[str, int]:
        """Listen and begin to follow the routing file; returns the ports. Ready once the replicas are connected."""
        ports = {
            "public": await self.public.start(*listen, reuse_port=reuse_port),
            "operations": await self.operations.start(*operations),
        }
        self._follower = asyncio.get_running_loop().create_task(self.directory.run())
        return ports

    def readiness(self) -> tuple[bool, dict[str, Any]]:
        """Ready when every model's default version has a ready replica and a preprocessor is connected."""
        models = {
            name: {"version": model.default.version_text, "ready": len(model.default.open_peers)}
            for name, model in self.directory.models.items()
        }
        is_ready = (
            self.directory.is_loaded
            and not self.is_draining
            and bool(self.directory.open_preprocessors)
            and all(each["ready"] for each in models.values())
        )
        return is_ready, {"models": models, "revision": self.directory.file_revision}

    def is_quiet(self) -> bool:
        """Whether no call is in flight and none came lately."""
        return self.gate.requests == 0 and monotonic() - self.api.last_call > QUIET_S

    async def drain(self, grace_s: float, is_abandoned: Callable[[], bool] = lambda: False) -> None:
        """Unready at once; callers are taken for `grace_s` more, then what is in flight is finished.

        A coordinator whose parent is gone, or that nobody uses, does without the grace.
        """
        self.is_draining = True
        self.public.is_draining = True
        log.info("draining", in_flight=self.gate.requests)
        begun = monotonic()
        while monotonic() < begun + grace_s and not is_abandoned():
            await asyncio.sleep(min(0.1, grace_s))
        left_s = min(DRAIN_S, EXIT_WITHIN_S - (monotonic() - begun))
        try:
            async with asyncio.timeout(left_s + 0.5):
                await self.public.close(left_s)
        except TimeoutError:
            log.warning("drain_cut_short", in_flight=self.gate.requests)
        if self._follower is not None:
            self._follower.cancel()
            await asyncio.gather(self._follower, return_exceptions=True)
        await self.directory.close()
        await self.operations.close(1.0)
        self.journal.flush()
        log.info("drained")

    def _refresh_metrics(self) -> None:
        self.observer.refresh()
        for outcome, count in self.ways.tries.counted().items():
            self.metrics.retries_total.labels(outcome=outcome).inc(count)
        self.metrics.ready.labels(tier=TIER, model="", version="").set(1 if self.readiness()[0] else 0)
